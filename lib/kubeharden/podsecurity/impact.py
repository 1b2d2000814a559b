"""Private. Impact: judge every workload's pods by what is going to be enforced, before it is.

Admission does not touch pods that run. What runs today and is refused tomorrow is found out when a pod ends, a node is
drained or a roll-out begins, unless somebody asks first.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from kubeharden.kube.admitted_pod import as_created
from kubeharden.kube.manifests import Object, Objects
from kubeharden.kube.rbac import Authorization
from kubeharden.kube.workloads import Workload, names_of, workloads
from kubeharden.podsecurity.psp.evaluate import PreparedPolicies, PspDecision, evaluate_psp, prepare_psps
from kubeharden.podsecurity.psp.least import least_privileged_policy
from kubeharden.podsecurity.psp.pod import with_defaults
from kubeharden.podsecurity.pss.standards import evaluate_pss, smallest_change
from kubeharden.releases import LAST, Release

NO_POLICY = "may use no policy"
_HOST = ("hostNetwork", "hostPID", "hostIPC")


@dataclass(frozen=True)
class WorkloadVerdict(Workload):
    """A workload, and the judgement of its pods.

    Attributes:
        policy: what admits them: the name of a PodSecurityPolicy, or a level such as ``baseline``; empty if refused.
        reasons: why they are refused.
        smallest_change: what would admit them; empty if they are.
        filled_in: what the policy that admits them puts into them. An image that runs as root, say, is admitted with
            ``runAsNonRoot`` filled in, and does not start.
        preset: the strictest ``default_policy`` that would admit them as they are, where they are refused.
    """

    policy: str = ""
    reasons: tuple[str, ...] = ()
    smallest_change: str = ""
    filled_in: tuple[str, ...] = ()
    preset: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"

    @property
    def runs(self) -> bool:
        """True if it has pods now."""
        return self.pods > 0

    @property
    def admitted(self) -> bool:
        """True if its pods would be admitted when they are made again."""
        return not self.reasons

    @property
    def names(self) -> frozenset[str]:
        """Return how a person may name it: ``Deployment shop/web``, or ``shop/web``."""
        return names_of(self.kind, self.namespace, self.name)

    @property
    def how_many(self) -> str:
        """``3 pods``, ``1 pod``, or ``no pod now``."""
        return f"{self.pods} pod{'s' if self.pods > 1 else ''}" if self.pods else "no pod now"

    @property
    def breaks(self) -> bool:
        """Return whether it is in use and would be refused."""
        return self.in_use and not self.admitted


def psp_impact(
    objects: Objects, release: Release, presets: Mapping[str, Object] | None = None
) -> list[WorkloadVerdict]:
    """Judge every workload by PodSecurityPolicies; sorted by namespace and name.

    Its pods are judged as the API server would, once the plugin is on, make them anew from their template.

    Args:
        objects: workloads, pods, service accounts, policies, Roles and bindings, as they are or as they will be.
        release: of the API server.
        presets: policies that are not there and could be, by the word that asks for them (``baseline``), the
            strictest first.

    Raises:
        ParameterError: a policy is wrong.
    """
    judge = _PspJudge(objects, release, presets or {})
    return [judge.of(workload) for workload in workloads(objects)]


def proposals(
    objects: Objects, release: Release, judged: Iterable[WorkloadVerdict]
) -> tuple[tuple[str, str], ...]:
    """Return the least-privileged policy for each service account whose workloads break, as an item of a policies file.

    It admits all that runs or would run under that account as it is, so that no pod of it depends on which of two
    policies is tried first.
    """
    wanted = {(j.namespace, j.service_account) for j in judged if j.breaks and j.service_account}
    accounts, pods = _accounts(objects), dict[tuple[str, str], list[dict[str, Any]]]()
    for workload in workloads(objects):
        key = workload.namespace, workload.service_account
        if key in wanted and workload.in_use:
            pods.setdefault(key, []).append(_create(workload, accounts, release))
    return tuple(_proposal(*key, pods[key], release) for key in sorted(pods))


def _proposal(namespace: str, account: str, pods: list[dict[str, Any]], release: Release) -> tuple[str, str]:
    policy = least_privileged_policy(pods, name=f"{namespace}-{account}", release=release)
    metadata = policy["metadata"]
    item = {
        **metadata,
        "spec": policy["spec"],
        "used_by": [{"namespace": namespace, "service_account": account}],
    }
    title = f"For policies: in the policies file, the least that service account {namespace}:{account} needs"
    plain = json.loads(json.dumps([item]))  # nothing in it twice, or YAML would write anchors
    return title, yaml.safe_dump(plain, sort_keys=False, default_flow_style=False)


def pss_impact(
    objects: Objects,
    levels: Mapping[str, str],
    version: str,
    release: Release = LAST,
) -> list[WorkloadVerdict]:
    """Judge every workload by Pod Security Admission; sorted by namespace and name.

    Args:
        levels: of each namespace; one that is not named is judged as ``privileged``.
        version: the policy version, such as ``v1.29`` or ``latest``.
        release: of the API server: what it puts into a pod first; at no level does that make a difference.

    Raises:
        ParameterError: there is no such level or version.
    """
    accounts = _accounts(objects)
    answers: dict[tuple[str, str], tuple[tuple[str, ...], str]] = {}
    result = []
    for workload in workloads(objects):
        level = levels.get(workload.namespace, "privileged")
        pod = _create(workload, accounts, release)
        key = level, _digest(pod)
        if key not in answers:
            violations = evaluate_pss(with_defaults(pod), level, version)
            reasons = [f"{v.field} is {v.found}; allowed: {v.allowed}" for v in violations]
            answers[key] = tuple(reasons), smallest_change(pod, level, version) if reasons else ""
        reasons_found, change = answers[key]
        policy = "" if reasons_found else level
        result.append(
            WorkloadVerdict(**vars(workload), policy=policy, reasons=reasons_found, smallest_change=change)
        )
    return result


def breaking(judged: Iterable[WorkloadVerdict], accepted: Collection[str] = ()) -> list[WorkloadVerdict]:
    """Return what is in use and would be refused, but for what is accepted: ``shop/web`` or ``Deployment shop/web``."""
    return [j for j in judged if j.breaks and j.names.isdisjoint(accepted)]


def idle_names(judged: Iterable[WorkloadVerdict], accepted: Iterable[str]) -> list[str]:
    """Return what is accepted and would not break: a misspelt name, or a workload that is admitted by now."""
    names = {name for j in judged if j.breaks for name in j.names}
    return [name for name in accepted if name not in names]


@dataclass(frozen=True)
class Impact:
    """The judgement of every workload by one kind of admission.

    Attributes:
        mechanism: ``PodSecurityPolicy`` or ``Pod Security Admission``.
        when: when that will be so: ``once the admission plugin PodSecurityPolicy is on``.
        proposals: title and YAML of policies that would admit what breaks, to be put into a policies file.
    """

    mechanism: str
    when: str
    judged: tuple[WorkloadVerdict, ...]
    proposals: tuple[tuple[str, str], ...] = ()

    @property
    def breaking(self) -> tuple[WorkloadVerdict, ...]:
        """Return what is in use and would be refused."""
        return tuple(breaking(self.judged))


class _PspJudge:
    def __init__(self, objects: Objects, release: Release, presets: Mapping[str, Object]) -> None:
        self.release = release
        self.authorization = Authorization(objects)
        self.accounts = _accounts(objects)
        self.policies = {
            policy["metadata"]["name"]: dict(policy) for policy in objects.get("podsecuritypolicies", ())
        }
        self.presets = {word: prepare_psps([dict(preset)], release) for word, preset in presets.items()}
        self._prepared: dict[frozenset[str], PreparedPolicies] = {}
        self._decisions: dict[tuple[frozenset[str], str], PspDecision] = {}

    def of(self, workload: Workload) -> WorkloadVerdict:
        pod = _create(workload, self.accounts, self.release)
        usable = frozenset(
            name for asker in workload.askers for name in self.authorization.usable(asker, workload.namespace)
        )
        decision = self._decide(pod, usable)
        if decision.admitted:
            filled_in = _filled_in(with_defaults(pod), decision.pod)
            return WorkloadVerdict(**vars(workload), policy=decision.policy or "", filled_in=filled_in)
        reasons = [f"{policy}: {why}" for policy, refusals in decision.refusals.items() for why in refusals]
        preset = "" if workload.mirror else self._preset(pod)
        change = self._smallest_change(workload, pod, usable, preset)
        return WorkloadVerdict(
            **vars(workload), reasons=tuple(reasons) or (NO_POLICY,), smallest_change=change, preset=preset
        )

    def _decide(self, pod: dict[str, Any], usable: frozenset[str]) -> PspDecision:
        key = usable, _digest(pod)
        if key not in self._decisions:
            if usable not in self._prepared:
                policies = [self.policies[name] for name in sorted(usable)]
                self._prepared[usable] = prepare_psps(policies, self.release)
            self._decisions[key] = evaluate_psp(pod, self._prepared[usable])
        return self._decisions[key]

    def _smallest_change(
        self, workload: Workload, pod: dict[str, Any], usable: frozenset[str], preset: str
    ) -> str:
        """Return a binding to the weakest policy that admits the pod, a preset, or a change of the pod."""
        fitting = self._fitting(pod, usable)
        ways = [self._binding(workload, fitting)] if fitting else []
        if not workload.mirror:
            ways += self._without_binding(pod, usable, preset)
        return "\nor ".join(ways) or "a policy of its own"

    def _fitting(self, pod: dict[str, Any], usable: frozenset[str]) -> str:
        """Return the weakest policy that admits the pod, preferring one that fills nothing in; empty if none does."""
        candidates = []
        for name, policy in self.policies.items():
            decision = None if name in usable else self._decide(pod, frozenset({name}))
            if decision is not None and decision.admitted:
                candidates.append(
                    (bool(_filled_in(with_defaults(pod), decision.pod)), _strength(policy), name)
                )
        return min(candidates)[2] if candidates else ""

    def _preset(self, pod: dict[str, Any]) -> str:
        """Return the strictest preset that admits the pod without filling anything in; empty if none does."""
        for word, preset in self.presets.items():
            decision = evaluate_psp(pod, preset)
            if decision.admitted and not _filled_in(with_defaults(pod), decision.pod):
                return word
        return ""

    def _without_binding(self, pod: dict[str, Any], usable: frozenset[str], preset: str) -> list[str]:
        """Return the preset that admits the pod as it is; or else the pod as a policy that is there would have it."""
        if preset:
            return [f"set default_policy={preset}"]
        if usable:
            return [f"change the pod so that {' or '.join(sorted(usable))} admits it (the reasons say what)"]
        change = smallest_change(pod, "baseline", f"v{self.release}")
        return [f"change the pod and set default_policy=baseline: {change}"] if change else []

    def _binding(self, workload: Workload, policy: str) -> str:
        roles = self.authorization.roles_for(policy, workload.namespace)
        role = roles[0] if roles else f"a Role there that lets {policy} be used"
        who = "group system:nodes" if workload.mirror else workload.identity
        return f"let {who} use {policy}: a RoleBinding in {workload.namespace} to {role}"


def _filled_in(before: Any, after: Any, path: str = "") -> tuple[str, ...]:
    """Return what a policy put into a pod: ``spec.securityContext.runAsNonRoot=true``."""
    if before == after:
        return ()
    if isinstance(after, Mapping):
        old = before if isinstance(before, Mapping) else {}
        inner = ((f"{path}.{key}" if path else key, old.get(key), value) for key, value in after.items())
    elif isinstance(after, list) and any(isinstance(item, Mapping) for item in after):
        old_items = before if isinstance(before, list) and len(before) == len(after) else [None] * len(after)
        inner = ((f"{path}[{n}]", old_items[n], item) for n, item in enumerate(after))
    else:
        return (f"{path}={json.dumps(after)}",)
    return tuple(part for where, was, is_now in inner for part in _filled_in(was, is_now, where))


def _create(
    workload: Workload, accounts: Mapping[tuple[str, str], Object], release: Release
) -> dict[str, Any]:
    """Return the pod that it makes; a mirror pod is as it is, since no account has a part in it."""
    if workload.mirror:
        return dict(workload.template)
    account = accounts.get((workload.namespace, workload.service_account))
    return as_created(workload.template, workload.namespace, account, release)


def _accounts(objects: Objects) -> dict[tuple[str, str], Object]:
    items = objects.get("serviceaccounts", ())
    return {(item["metadata"].get("namespace", "default"), item["metadata"]["name"]): item for item in items}


def _digest(pod: Object) -> str:
    """Return a text that is equal for two pods that are judged alike."""
    metadata = pod.get("metadata") or {}
    return json.dumps([pod.get("spec"), metadata.get("annotations")], sort_keys=True)


def _strength(policy: Object) -> tuple[object, ...]:
    """Return a sort key for how much a policy allows, least first; an estimate."""
    spec = policy.get("spec") or {}
    volumes = spec.get("volumes") or ()
    return (
        bool(spec.get("privileged")),
        sum(bool(spec.get(key)) for key in _HOST),
        len(spec.get("allowedCapabilities") or ()),
        "*" in volumes or "hostPath" in volumes,
        len(volumes),
        policy["metadata"]["name"],
    )
