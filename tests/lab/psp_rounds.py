"""Rounds of the judge: random policies, grants, users and pods, told to a server and to kubeharden."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

from apiserver import ApiServer

from kubeharden.kube.rbac import Authorization, Identity
from kubeharden.podsecurity import PreparedPolicies, PspDecision, evaluate_psp, prepare_psps
from psp_pods import pod
from psp_policies import NAMESPACES, RBAC_API, TEAMS, USERS, allow, anything, grant, policy, use_of

Object = dict[str, Any]

# How many random pods; those of the first 2,000 are always the same.
COUNT, ALWAYS = "KUBEHARDEN_PSP_PODS", 2000
# This seed alone, to see a disagreement again.
ONE = "KUBEHARDEN_PSP_SEED"
PODS = 250  # in one round
POLICIES = 24
GRANTS = 20
MAKERS = "makers-of-pods"  # a group that may make pods, and that no grant names
ANYTHING = "0-anything"  # a policy that allows everything, and comes before all others
NOBODY = "nobody"  # a group that may use that policy, and no other
POLICY_API = "/apis/policy/v1beta1/podsecuritypolicies"
KINDS = ("roles", "clusterroles", "rolebindings", "clusterrolebindings")


@cache
def seeds() -> list[int]:
    """One seed a round: one that is asked for, or the first ones and fresh ones beyond."""
    if os.environ.get(ONE):
        return [int(os.environ[ONE])]
    rounds = -(-int(os.environ.get(COUNT) or ALWAYS) // PODS)
    fresh = random.SystemRandom()
    always = ALWAYS // PODS
    return [*range(min(rounds, always)), *(fresh.randrange(always, 10**9) for _ in range(always, rounds))]


@dataclass(frozen=True)
class Request:
    """Somebody makes a pod."""

    pod: Object
    user: str
    groups: tuple[str, ...]

    @property
    def path(self) -> str:
        return f"/api/v1/namespaces/{self.pod['metadata']['namespace']}/pods"


def prepare(server: ApiServer) -> None:
    """What is there in every round: namespaces, a group that may make pods, and a policy that allows everything."""
    makes = {"apiGroups": [""], "resources": ["pods"], "verbs": ["create", "get", "update"]}
    made = [("/api/v1/namespaces", {"metadata": {"name": namespace}}) for namespace in NAMESPACES]
    made += [(POLICY_API, anything(ANYTHING)), *allow(MAKERS, makes, MAKERS)]
    made += allow("anything", use_of(ANYTHING), NOBODY)
    for path, item in made:
        server.must("POST", path, item)


class Round:
    """The policies and grants of one seed, on the server while the context lasts."""

    def __init__(self, server: ApiServer, seed: int) -> None:
        self.server = server
        self.seed = seed
        self.rng = random.Random(seed)
        self.policies = [policy(self.rng, f"p{seed}-{number:02}") for number in range(POLICIES)]
        names = [item["metadata"]["name"] for item in self.policies]
        self._made = [(POLICY_API, item) for item in self.policies]
        for number in range(GRANTS):
            self._made += [
                (_collection(item), item) for item in grant(self.rng, names, f"g{seed}-{number:02}")
            ]
        self._prepared: dict[frozenset[str], PreparedPolicies] = {}

    @contextmanager
    def on_server(self) -> Iterator[None]:
        """Make everything, and wait until the server's plugin and authorizer have taken notice of it."""
        self.server.each(self._made, lambda pair: self.server.must("POST", *pair))
        self.server.await_true("the aggregated roles", self._aggregated)
        last = f"last-{self.seed}"
        made_last = [(POLICY_API, anything(last))]
        made_last += allow(f"{last}-a", use_of(last), f"{last}-a", NAMESPACES[0])
        made_last += allow(f"{last}-b", use_of(last), f"{last}-b")
        for path, item in made_last:
            self.server.must("POST", path, item)
        for group in (f"{last}-a", f"{last}-b"):
            self.server.await_true(f"what is bound to {group}", lambda group=group: self._admits(group))
        self._read()
        yield
        made = [*self._made, *made_last]
        self.server.each(
            made, lambda pair: self.server.must("DELETE", f"{pair[0]}/{pair[1]['metadata']['name']}")
        )

    def _aggregated(self) -> bool:
        roles = self.server.must("GET", f"{RBAC_API}/clusterroles")["items"]
        return all(role.get("rules") for role in roles if role["metadata"]["name"].endswith("-all"))

    def _admits(self, group: str) -> bool:
        """Whether the server admits a pod for somebody in this group, who may use the last policy and no other."""
        plain = {"metadata": {"name": group}, "spec": {"containers": [{"name": "main", "image": "app"}]}}
        path = f"/api/v1/namespaces/{NAMESPACES[0]}/pods?dryRun=All"
        reply = self.server.call("POST", path, plain, user=group, groups=(MAKERS, group))
        return reply.code == 201

    def _read(self) -> None:
        """Read the policies and roles as kubeharden does: as the server shows them."""
        objects = {"podsecuritypolicies": self.server.must("GET", POLICY_API)["items"]}
        objects |= {kind: self.server.must("GET", f"{RBAC_API}/{kind}")["items"] for kind in KINDS}
        self._authorization = Authorization(objects)
        self._objects = {item["metadata"]["name"]: item for item in objects["podsecuritypolicies"]}

    def usable(self, request: Request) -> frozenset[str]:
        """The names of the policies that either the pod's service account or the requester may use."""
        namespace, account = (
            request.pod["metadata"]["namespace"],
            request.pod["spec"].get("serviceAccountName"),
        )
        names = self._authorization.usable(Identity(request.user, frozenset(request.groups)), namespace)
        if account:
            names |= self._authorization.usable(Identity.of_service_account(namespace, account), namespace)
        return names

    def decide(self, request: Request, **how: Any) -> PspDecision:
        names = self.usable(request)
        if names not in self._prepared:
            self._prepared[names] = prepare_psps(self._objects[name] for name in names)
        return evaluate_psp(request.pod, self._prepared[names], **how)

    def requests(self) -> list[Request]:
        return [self.request(number) for number in range(PODS)]

    def request(self, number: int) -> Request:
        rng = self.rng
        groups = [MAKERS, "system:authenticated", *rng.sample(TEAMS, rng.choice([0, 0, 1]))]
        made = pod(rng, f"pod{self.seed}-{number}", rng.choice(NAMESPACES))
        return Request(made, rng.choice([*USERS, "carol", "carol"]), tuple(groups))


def _collection(item: Object) -> str:
    namespace = item["metadata"].get("namespace")
    return f"{RBAC_API}/{f'namespaces/{namespace}/' if namespace else ''}{item['kind'].lower()}s"
