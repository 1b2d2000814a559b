"""The step pod-security: PodSecurityPolicies on old releases, Pod Security Admission on those that have it."""

from __future__ import annotations

from collections.abc import Sequence

from kubeharden.errors import ParameterError
from kubeharden.inputs.parameter_types import NONE
from kubeharden.inputs.parameters import Parameters
from kubeharden.plan.draft import Draft
from kubeharden.plan.step import POD_SECURITY, Right, Step
from kubeharden.plan.steps.psa import plan_admission
from kubeharden.plan.steps.psp import plan_policies
from kubeharden.podsecurity.default_policy import default_policy_objects
from kubeharden.podsecurity.policies import PolicySet, policy_objects
from kubeharden.releases import Release, feature

# The kinds that are deleted once Pod Security Admission has taken the place of the policies.
RETIRED = ("PodSecurityPolicy", "RoleBinding", "ClusterRoleBinding", "Role", "ClusterRole")
POLICY, ADMISSION = feature("PodSecurityPolicy"), feature("Pod Security Admission")


def uses_policies(parameters: Parameters, version: str) -> bool:
    """Return whether a cluster of this version gets PodSecurityPolicies rather than Pod Security Admission."""
    wanted = parameters.pod_security
    return wanted == "psp" or (wanted == "auto" and not ADMISSION.in_release(Release.parse(version)))


def plan_pod_security(draft: Draft) -> None:
    """Plan the step ``pod-security``.

    Raises:
        ParameterError: the cluster's release does not have what ``pod_security`` asks for.
    """
    release, wanted = Release.parse(draft.facts.cluster.version), draft.parameters.pod_security
    if wanted == "psp" and not POLICY.in_release(release):
        raise ParameterError(
            f"pod_security: 'psp' cannot be on Kubernetes {release}: there is no PodSecurityPolicy from "
            f"{POLICY.until} on; expected auto or psa. Nothing was touched"
        )
    if wanted == "psa" and not ADMISSION.in_release(release):
        raise ParameterError(
            f"pod_security: 'psa' cannot be on Kubernetes {release}: Pod Security Admission is on from "
            f"{ADMISSION.since} on; expected auto or psp. Nothing was touched"
        )
    policy = draft.parameters.default_policy
    if policy != NONE and not uses_policies(draft.parameters, draft.facts.cluster.version):
        raise ParameterError(
            f"default_policy: {policy!r} is a PodSecurityPolicy, and on Kubernetes {release} namespaces get levels "
            f"of Pod Security Admission; expected none (or pod_security psp, up to {POLICY.last}). Nothing was touched"
        )
    if uses_policies(draft.parameters, draft.facts.cluster.version):
        plan_policies(draft, draft.policies)
    else:
        plan_admission(draft, draft.policies)


def rights(parameters: Parameters, policies: PolicySet, version: str) -> Sequence[Right]:
    """Return the rights to write policies and who may use them, or to label namespaces and delete policies."""
    if uses_policies(parameters, version):
        objects = [*policy_objects(policies), *default_policy_objects(parameters.default_policy, version)]
        places = sorted({(o["kind"], o["metadata"].get("namespace", "")) for o in objects})
        return [Right(verb, kind, place) for kind, place in places for verb in ("create", "update")]
    return [
        Right("update", "Namespace"),
        *(Right("delete", kind, if_any="PodSecurityPolicy") for kind in RETIRED),
    ]


STEP = Step(POD_SECURITY, 10, plan_pod_security, rights)
