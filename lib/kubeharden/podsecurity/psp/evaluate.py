"""Judge a pod by PodSecurityPolicies: whether one admits it, which, and what that one fills in.

Source: plugin/pkg/admission/security/podsecuritypolicy/admission.go of Kubernetes 1.20 (``computeSecurityContext``).
The policies are those that the pod's service account, or the user who creates the pod, may use. True to 1.11–1.24:
only the safe sysctls and seccomp differ between those releases (releases/features.yaml). 1.10 differs in sysctls alone,
which were annotations then.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from kubeharden.errors import ParameterError
from kubeharden.kube.manifests import annotations_of
from kubeharden.kube.names import PSP_ANNOTATION
from kubeharden.podsecurity.psp.pod import Object, check_pod, with_defaults
from kubeharden.podsecurity.psp.policy import read_policy
from kubeharden.podsecurity.psp.provider import Provider, UnusableError
from kubeharden.podsecurity.psp.validity import invalidities
from kubeharden.releases import Release

_MAY_NOT_CHANGE = "the policy would have to change the pod, and an update may not be changed"


@dataclass(frozen=True)
class PspDecision:
    """The decision of the API server's plugin.

    Attributes:
        admitted: whether the pod may be created, or updated.
        policy: the name of the policy that admits it, as the annotation kubernetes.io/psp names it; or None.
        pod: the pod as that policy fills it in, without that annotation; the pod as it was passed where nothing
            is filled in or nothing admits it.
        refusals: name of a policy → why it does not admit the pod, in the server's words. Policies that were
            not needed any more are not in it.
    """

    admitted: bool
    policy: str | None
    pod: Object
    refusals: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class PreparedPolicies:
    """Policies that were read once, to judge many pods.

    Attributes:
        providers: those that can be applied, by name.
        unusable: name → why the server passes over the policy.
    """

    providers: tuple[Provider, ...]
    unusable: dict[str, str]


def prepare_psps(psps: Iterable[Object], release: str | Release = "1.20") -> PreparedPolicies:
    """Read policies once, to judge many pods by them.

    Args:
        psps: PodSecurityPolicy objects.
        release: of the API server.

    Raises:
        ParameterError: a policy is wrong, or two have one name.
        UnknownReleaseError: the release is not known.
    """
    of_server = Release.parse(release)
    providers: dict[str, Provider] = {}
    unusable: dict[str, str] = {}
    for policy in map(read_policy, psps):
        name = policy.metadata.name
        if name in providers or name in unusable:
            raise ParameterError(f"PodSecurityPolicy {name} is there twice; names are unique in a cluster")
        try:
            providers[name] = Provider.of(policy, of_server)
        except UnusableError as error:
            unusable[name] = f"the API server passes over this policy: {error}"
    return PreparedPolicies(tuple(providers[name] for name in sorted(providers)), unusable)


def evaluate_psp(
    pod: Object,
    psps: Iterable[Object] | PreparedPolicies,
    *,
    operation: Literal["create", "update"] = "create",
    old: Object | None = None,
    release: str | Release = "1.20",
) -> PspDecision:
    """Judge a pod as the API server's PodSecurityPolicy plugin does.

    Policies are tried by name. The first that admits the pod as it is wins; if none does, the first that admits
    it after filling it in. An update may not be filled in, and the policy that the pod's annotation names is tried
    first.

    Args:
        pod: a Pod, or anything with metadata and spec, such as a pod template. The volume with the token of its
            service account is judged where it is there; the server adds it to a pod before it asks the policies.
        psps: the PodSecurityPolicy objects that the pod's identity may use, or what ``prepare_psps`` made of them.
        operation: ``create`` or ``update``.
        old: for an update, the pod before it. An update of nothing but owner references and finalizers is admitted
            without a policy.
        release: of the API server; prepared policies have theirs already.

    Raises:
        ParameterError: the pod or a policy is wrong.
        UnknownReleaseError: the release is not known.
    """
    if operation not in ("create", "update"):
        raise ParameterError(f"operation: expected create or update, not {operation!r}")
    check_pod(pod)
    prepared = psps if isinstance(psps, PreparedPolicies) else prepare_psps(psps, release)
    if operation == "create":
        return _create(pod, prepared)
    if old is not None and _only_for_garbage_collection(pod, old):
        return PspDecision(admitted=True, policy=None, pod=pod)
    return _update(pod, prepared)


def _create(pod: Object, prepared: PreparedPolicies) -> PspDecision:
    complete = with_defaults(pod)
    refusals = {name: [reason] for name, reason in prepared.unusable.items()}
    chosen: tuple[str, Object] | None = None
    for provider in prepared.providers:
        mutated = provider.mutate(complete)
        if reasons := provider.refusals(mutated):
            refusals[provider.name] = reasons
        elif mutated is complete:
            return PspDecision(admitted=True, policy=provider.name, pod=complete, refusals=refusals)
        elif chosen is None:
            chosen = provider.name, mutated
    if chosen is None:
        return PspDecision(admitted=False, policy=None, pod=pod, refusals=refusals)
    policy, mutated = chosen
    if reasons := invalidities(mutated):
        refusals[policy] = [f"invalid once the policy has filled it in: {reason}" for reason in reasons]
        return PspDecision(admitted=False, policy=None, pod=pod, refusals=refusals)
    return PspDecision(admitted=True, policy=policy, pod=mutated, refusals=refusals)


def _update(pod: Object, prepared: PreparedPolicies) -> PspDecision:
    complete = with_defaults(pod)
    refusals = {name: [reason] for name, reason in prepared.unusable.items()}
    hint = annotations_of(pod).get(PSP_ANNOTATION)
    for provider in sorted(prepared.providers, key=lambda p: p.name != hint):
        mutated = provider.mutate(complete)
        reasons = provider.refusals(mutated)
        if not reasons and mutated is complete:
            return PspDecision(admitted=True, policy=provider.name, pod=complete, refusals=refusals)
        refusals[provider.name] = reasons or [_MAY_NOT_CHANGE]
    return PspDecision(admitted=False, policy=None, pod=pod, refusals=refusals)


def _only_for_garbage_collection(pod: Object, old: Object) -> bool:
    """pkg/registry/rbac/helpers.go, ``IsOnlyMutatingGCFields``."""
    return _without_owners(pod) == _without_owners(old)


def _without_owners(pod: Object) -> Object:
    ignored = ("ownerReferences", "finalizers", "selfLink", "managedFields")
    metadata = {k: v for k, v in (pod.get("metadata") or {}).items() if k not in ignored}
    return {**pod, "metadata": metadata}
