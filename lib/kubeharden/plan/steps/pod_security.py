"""Which kind of pod security a cluster gets: policies up to 1.22, Pod Security Admission from 1.23 on."""

from __future__ import annotations

from kubeharden.errors import ParameterError
from kubeharden.inputs.parameters import NONE, Parameters
from kubeharden.plan.draft import Draft
from kubeharden.plan.steps.psa import plan_admission
from kubeharden.plan.steps.psp import plan_policies
from kubeharden.podsecurity import PolicySet
from kubeharden.releases import Release

# Pod Security Admission is on by default from 1.23 on; in 1.22 its feature gate is off, and labels have no effect.
ADMISSION_FIRST = Release(1, 23)
POLICY_LAST = Release(1, 24)


def uses_policies(parameters: Parameters, version: str) -> bool:
    """Whether a cluster of this version gets PodSecurityPolicies rather than Pod Security Admission."""
    wanted = parameters.pod_security
    return wanted == "psp" or (wanted == "auto" and Release.parse(version) < ADMISSION_FIRST)


def plan_pod_security(draft: Draft, policies: PolicySet) -> None:
    """Plan the step ``pod-security``.

    Raises:
        ParameterError: the cluster's release does not have what ``pod_security`` asks for.
    """
    release, wanted = Release.parse(draft.facts.cluster.version), draft.parameters.pod_security
    if wanted == "psp" and release > POLICY_LAST:
        raise ParameterError(
            f"pod_security: 'psp' cannot be on Kubernetes {release}: there is no PodSecurityPolicy from 1.25 on; "
            "expected auto or psa. Nothing was touched"
        )
    if wanted == "psa" and release < ADMISSION_FIRST:
        raise ParameterError(
            f"pod_security: 'psa' cannot be on Kubernetes {release}: Pod Security Admission is on from 1.23 on; "
            "expected auto or psp. Nothing was touched"
        )
    policy = draft.parameters.default_policy
    if policy != NONE and not uses_policies(draft.parameters, draft.facts.cluster.version):
        raise ParameterError(
            f"default_policy: {policy!r} is a PodSecurityPolicy, and on Kubernetes {release} namespaces get levels "
            "of Pod Security Admission; expected none (or pod_security psp, up to 1.24). Nothing was touched"
        )
    if uses_policies(draft.parameters, draft.facts.cluster.version):
        plan_policies(draft, policies)
    else:
        plan_admission(draft, policies)
