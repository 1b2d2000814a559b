"""What the server and kubeharden say of the same requests, compared."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from apiserver import ApiServer, Reply
from psp_rounds import MAKERS, NOBODY, POLICY_API, Request, Round

from kubeharden.kube.manifests import without_zero_values
from kubeharden.podsecurity import PspDecision, evaluate_psp, least_privileged_policy
from psp_examples import Example
from psp_pods import pod
from psp_policies import NAMESPACES, allow, use_of
from psp_stored import as_stored, comparable, sync_profiles

Object = dict[str, Any]


@dataclass
class Tally:
    """How often each outcome was seen, and every disagreement."""

    outcomes: Counter[str] = field(default_factory=Counter)
    disagreements: list[str] = field(default_factory=list)

    def count(self, outcome: str, disagreement: str, seed: int, what: object) -> None:
        self.outcomes[outcome] += 1
        if disagreement:
            self.disagreements.append(f"seed {seed}: {disagreement}\n{json.dumps(what, indent=1)}")


# Creating


def judge_creation(there: Round, tally: Tally) -> None:
    """Every pod of the round is created for show, and what the server says is compared."""
    requests = there.requests()
    answers = there.server.each(requests, lambda request: _create(there.server, request))
    for request, (reply, plain) in zip(requests, answers, strict=True):
        decision = there.decide(request)
        outcome, disagreement = compare(decision, reply, request.pod, plain)
        seen = {"request": vars(request), "ours": vars(decision), "server": reply.body, "plain": plain}
        tally.count(outcome, disagreement, there.seed, seen)


def _create(server: ApiServer, request: Request) -> tuple[Reply, Object]:
    """The server's answer, and what it makes of the pod where everything is allowed."""
    path = f"{request.path}?dryRun=All"
    reply = server.call("POST", path, request.pod, user=request.user, groups=request.groups)
    if reply.code != 201:
        return reply, {}
    plain = server.call("POST", path, request.pod, user="nobody", groups=(MAKERS, NOBODY))
    assert plain.code == 201, plain.message
    return reply, plain.body


def compare(decision: PspDecision, reply: Reply, sent: Object, plain: Object) -> tuple[str, str]:
    """What the outcome was, and how the server disagrees; empty if it does not."""
    if decision.admitted:
        if reply.code != 201:
            return (
                "disagreement",
                f"ours admits by {decision.policy}, the server says {reply.code}: {reply.message}",
            )
        wanted = as_stored(decision.pod, str(decision.policy), sent, plain)
        difference = (
            "" if wanted == comparable(reply.body) else f"the pods differ, ours: {json.dumps(wanted)}"
        )
        return "admitted as it is" if decision.pod == sent else "admitted filled in", difference
    reasons = [reason for found in decision.refusals.values() for reason in found]
    if any(reason.startswith("invalid once the policy has filled it in: ") for reason in reasons):
        wrong = "" if reply.code == 422 else f"ours says invalid, the server {reply.code}: {reply.message}"
        return "invalid once filled in", wrong
    if reply.code != 403:
        return "disagreement", f"ours refuses, the server says {reply.code}: {reply.message}"
    return "refused", _other_words(reasons, reply.message)


def _other_words(reasons: list[str], message: str) -> str:
    """What is left of the server's message without our reasons; policies come in any order there."""
    begin, end = "PodSecurityPolicy: unable to admit pod: [", "]"
    _, found, rest = message.partition(begin)
    if not found or not rest.endswith(end):
        return f"the server's words are others: {message}"
    rest = rest.removesuffix(end)
    for reason in sorted(reasons, key=len, reverse=True):
        if reason.startswith("the API server passes over this policy"):
            continue
        if reason not in rest:
            return f"the server does not say: {reason}\n  it says: {message}"
        rest = rest.replace(reason, "", 1)
    return f"only the server says: {rest.strip()}" if rest.strip() else ""


# Updating

UPDATES = 30  # in one round
VALIDATED_BY = "podsecuritypolicy.policy.k8s.io/validate-policy"


def judge_updates(there: Round, tally: Tally) -> None:
    """Pods that are really there, admitted by the policy that allows everything, are changed for show."""
    requests = [there.request(1000 + number) for number in range(UPDATES)]
    changes = [_change(there, request) for request in requests]
    replies = there.server.each(changes, lambda change: _update(there.server, *change[:2]))
    audited = {}

    def all_audited() -> bool:
        audited.update(there.server.audited())
        return all(reply.audit_id in audited for reply in replies)

    there.server.await_true("the audit log", all_audited)
    for (_, request, old), reply in zip(changes, replies, strict=True):
        decision = there.decide(request, operation="update", old=old)
        by = audited[reply.audit_id].get(VALIDATED_BY)
        ours = (200, decision.policy) if decision.admitted else (403, None)
        wrong = (
            ""
            if ours == (reply.code, by)
            else f"update: ours {ours}, the server ({reply.code}, {by}): {reply.message}"
        )
        outcome = "updated" if decision.admitted else "update refused"
        tally.count(
            outcome, wrong, there.seed, {"request": vars(request), "old": old, "ours": vars(decision)}
        )


def _change(there: Round, request: Request) -> tuple[str, Request, Object]:
    """A pod that is there, with something changed: the path, the request, and the pod before."""
    rng = there.rng
    reply = there.server.call("POST", request.path, request.pod, user="nobody", groups=(MAKERS, NOBODY))
    assert reply.code == 201, reply.message
    new = json.loads(json.dumps(reply.body))
    usable = sorted(there.usable(request))
    what = rng.choice(["label", "image", "finalizers", *["policy"] * 4 * bool(usable)])
    if what == "label":
        new["metadata"]["labels"] = {"changed": "yes"}
    elif what == "image":
        new["spec"]["containers"][0]["image"] = "other"
    elif what == "policy":
        new["metadata"]["annotations"]["kubernetes.io/psp"] = rng.choice(usable)
    else:
        new["metadata"]["finalizers"] = ["example.com/x"]
    path = f"{request.path}/{request.pod['metadata']['name']}?dryRun=All"
    return path, Request(new, request.user, request.groups), reply.body


def _update(server: ApiServer, path: str, request: Request) -> Reply:
    return server.call("PUT", path, request.pod, user=request.user, groups=request.groups)


# The least-privileged policy


def judge_least(server: ApiServer, seed: int) -> str:
    """Some pods, and the least-privileged policy for them on the server: what it does otherwise, empty if nothing.

    The server must take the policy, and admit each of the pods by it as it is.
    """
    rng = random.Random(seed)
    name = f"least-{seed}"
    pods = [pod(rng, f"{name}-{number}", NAMESPACES[0]) for number in range(rng.choice([1, 1, 2, 3, 5]))]
    for one in pods:
        sync_profiles(one)
    policy = least_privileged_policy(pods, name=name)
    with granted(server, policy) as stored:
        if without_zero_values(stored)["spec"] != without_zero_values(policy)["spec"]:
            return f"seed {seed}: the server keeps another policy: {json.dumps(stored)}"
        for one in pods:
            reply, plain = create_once_known(server, Request(one, name, (MAKERS, name)))
            if reply.code != 201:
                return f"seed {seed}: {reply.code} {reply.message}"
            if as_stored(one, name, one, plain) != comparable(reply.body):
                return f"seed {seed}: the pod was changed: {json.dumps(reply.body)}"
    return ""


@contextmanager
def granted(server: ApiServer, policy: Object) -> Iterator[Object]:
    """A policy on the server while the context lasts, for a group of its name: the policy as it is stored."""
    name = policy["metadata"]["name"]
    made = [(POLICY_API, policy), *allow(name, use_of(name), name)]
    stored, *_ = [server.must("POST", path, item) for path, item in made]
    yield stored
    for path, item in made:
        server.must("DELETE", f"{path}/{item['metadata']['name']}")


def create_once_known(server: ApiServer, request: Request) -> tuple[Reply, Object]:
    """As ``_create``; as long as the plugin does not know the policy and its grant, it refuses without a reason."""
    answers: list[tuple[Reply, Object]] = []

    def known() -> bool:
        answers.append(_create(server, request))
        return not answers[-1][0].message.endswith("unable to admit pod: []")

    server.await_true(f"the policy of {request.user}", known)
    return answers[-1]


# By example


def judge_example(server: ApiServer, example: Example, number: int) -> str:
    """How the server disagrees with an example and what kubeharden says of it; empty if it does not."""
    name = f"example-{number}"
    policy = {**example.policy, "metadata": {**example.policy["metadata"], "name": name}}
    request = Request(example.pod, name, (MAKERS, name))
    passed_over = any("passes over" in reason for reason in example.reasons)  # never a reason, then
    with granted(server, policy):
        reply, plain = _create(server, request) if passed_over else create_once_known(server, request)
    return compare(evaluate_psp(example.pod, [policy]), reply, example.pod, plain)[1]
