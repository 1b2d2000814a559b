"""Levels and labels of namespaces: what they are chosen from, and what becomes of labels that are there already."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeharden.kube.names import POD_SECURITY_LABEL
from kubeharden.podsecurity.levels import (
    MODES,
    NamespaceLevel,
    labels_of,
    namespace_levels,
    stricter_or_same,
    with_labels,
)
from kubeharden.podsecurity.policies import NamespaceWish
from kubeharden.podsecurity.pss.standards import LEVELS

STRICT = {
    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    "containers": [
        {
            "name": "c",
            "image": "i",
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        }
    ],
}
ORDINARY = {"containers": [{"name": "c", "image": "i"}]}
HOST = {**ORDINARY, "hostNetwork": True}
SPECS = {"restricted": STRICT, "baseline": ORDINARY, "privileged": HOST}
VERSION = "v1.25"


def namespace(**labels: str) -> dict:
    pairs = {f"{POD_SECURITY_LABEL}/{key.replace('_', '-')}": value for key, value in labels.items()}
    return {"kind": "Namespace", "metadata": {"name": "shop", "labels": {"team": "blue", **pairs}}}


def announced(level: str, version: str = VERSION) -> dict[str, str]:
    return {"warn": level, "warn_version": version, "audit": level, "audit_version": version}


def enforced(level: str, version: str = VERSION) -> dict[str, str]:
    return {**announced(level, version), "enforce": level, "enforce_version": version}


def deployment(spec: dict, name: str = "web") -> dict:
    template = {"metadata": {}, "spec": spec}
    return {
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"template": template},
    }


def cron_job(spec: dict) -> dict:
    job = {"spec": {"template": {"metadata": {}, "spec": spec}}}
    return {
        "kind": "CronJob",
        "metadata": {"name": "nightly", "namespace": "shop"},
        "spec": {"jobTemplate": job},
    }


def pod(spec: dict, name: str = "p", phase: str = "Running", owner: tuple[str, str] | None = None) -> dict:
    meta: dict = {"name": name, "namespace": "shop"}
    if owner:
        meta["ownerReferences"] = [{"kind": owner[0], "name": owner[1], "controller": True}]
    return {"kind": "Pod", "metadata": meta, "spec": spec, "status": {"phase": phase}}


def level_of(
    item: dict | None = None, *, wish: str = "", enforce: bool = False, **there: list
) -> NamespaceLevel:
    wishes = [NamespaceWish(name="shop", level=wish, reason="because")] if wish else []
    objects = {"namespaces": [item or namespace()], **there}
    accepted = there.pop("accepted", ())
    [found] = namespace_levels(objects, VERSION, wishes, "baseline", enforce=enforce, accepted=accepted)
    return found


@pytest.mark.parametrize("level", LEVELS)
def test_the_strictest_level_that_admits_what_is_there(level: str) -> None:
    assert level_of(deployments=[deployment(SPECS[level])]).level == level
    assert level_of(pods=[pod(SPECS[level])]).level == level


def test_a_cron_job_without_a_pod_counts() -> None:
    found = level_of(cronjobs=[cron_job(HOST)], deployments=[deployment(STRICT)])
    assert found.level == "privileged"
    assert found.why == "baseline refuses CronJob nightly (spec.hostNetwork true)"


def test_a_pod_that_a_webhook_changed_counts_besides_its_template() -> None:
    made = pod(HOST, owner=("ReplicaSet", "web-1"))
    replica_set = {
        "kind": "ReplicaSet",
        "metadata": {
            "name": "web-1",
            "namespace": "shop",
            "ownerReferences": [{"kind": "Deployment", "name": "web", "controller": True}],
        },
        "spec": {"template": {"metadata": {}, "spec": STRICT}},
    }
    found = level_of(pods=[made], replicasets=[replica_set], deployments=[deployment(STRICT)])
    assert found.level == "privileged"
    assert "Deployment web (spec.hostNetwork true)" in found.why


def test_a_pod_that_has_ended_does_not_count() -> None:
    assert level_of(pods=[pod(HOST, phase="Succeeded"), pod(STRICT, "q")]).level == "restricted"


def test_an_empty_namespace_is_like_a_new_one_and_one_that_goes_away_is_left_alone() -> None:
    assert level_of().level == "baseline"
    going = {**namespace(), "status": {"phase": "Terminating"}}
    assert namespace_levels({"namespaces": [going]}, VERSION, [], "baseline") == []


def test_first_announced_then_enforced_then_done() -> None:
    there = {"deployments": [deployment(ORDINARY)]}
    first = level_of(**there)
    assert first.then == {
        "audit": "baseline",
        "audit-version": VERSION,
        "warn": "baseline",
        "warn-version": VERSION,
    }
    assert (first.pending, first.stage) == (True, "this run sets audit, warn; the next enforces")
    second = level_of(with_labels(namespace(), first.then), **there)
    assert second.then == {**first.then, "enforce": "baseline", "enforce-version": VERSION}
    third = level_of(with_labels(namespace(), second.then), **there)
    assert (third.now, third.pending, third.stage) == (third.then, False, "done")


def test_privileged_refuses_nothing_and_is_enforced_at_once() -> None:
    assert level_of(deployments=[deployment(HOST)]).then["enforce"] == "privileged"


def test_enforce_does_it_in_one_run() -> None:
    assert level_of(enforce=True, deployments=[deployment(STRICT)]).then["enforce"] == "restricted"


def test_what_came_since_the_announcement_makes_enforcing_wait() -> None:
    found = level_of(namespace(**announced("baseline")), enforce=True, deployments=[deployment(HOST)])
    assert (found.level, found.enforced) == ("baseline", False)
    assert [o.workload for o in found.offenders] == ["Deployment web"]
    assert "baseline is not enforced while it would refuse what is there: Deployment web" in found.remarks[0]


def test_what_is_accepted_does_not_make_it_wait() -> None:
    there = {"deployments": [deployment(HOST)], "accepted": ["shop/web"]}
    found = level_of(namespace(**announced("baseline")), **there)
    assert (found.offenders, found.then["enforce"]) == ((), "baseline")


def test_a_level_that_is_asked_for_counts_and_waits_if_it_must() -> None:
    found = level_of(wish="restricted", enforce=True, deployments=[deployment(ORDINARY)])
    assert (found.level, found.why, found.then["warn"]) == ("restricted", "asked for: because", "restricted")
    assert not found.enforced
    assert level_of(wish="privileged", deployments=[deployment(STRICT)]).then["enforce"] == "privileged"


def test_a_stricter_label_of_somebody_else_stays_and_is_reported() -> None:
    found = level_of(namespace(warn="restricted", warn_version="latest"), deployments=[deployment(ORDINARY)])
    assert (found.level, found.then["warn"], found.then["audit"]) == ("baseline", "restricted", "baseline")
    assert found.remarks == (
        "its label warn says restricted:latest, which is stricter than baseline: it stays",
    )
    second = level_of(with_labels(namespace(), found.then), deployments=[deployment(ORDINARY)])
    assert second.then["enforce"] == "baseline"


def test_a_stricter_level_that_is_enforced_stays_and_its_victims_are_named() -> None:
    found = level_of(namespace(**enforced("restricted")), deployments=[deployment(ORDINARY)])
    assert found.now == found.then
    assert found.remarks[0].startswith("restricted is enforced, and refuses what is there: Deployment web")


def test_a_looser_level_that_somebody_enforces_is_their_decision() -> None:
    found = level_of(namespace(**enforced("privileged")), deployments=[deployment(STRICT)])
    assert found.now == found.then
    assert found.why == "its enforce label says so; baseline would admit what is there"


@pytest.mark.parametrize("version", ["latest", "v1.24", "v1.30"])
def test_versions_are_pinned_to_the_clusters_stage_by_stage(version: str) -> None:
    there = {"deployments": [deployment(ORDINARY)]}
    first = level_of(namespace(**enforced("baseline", version)), **there)
    assert (first.then["warn-version"], first.then["enforce-version"]) == (VERSION, version)
    assert first.pending
    second = level_of(with_labels(namespace(), first.then), **there)
    assert second.then["enforce-version"] == VERSION


def test_a_label_that_is_no_level_is_reported_and_replaced() -> None:
    found = level_of(namespace(audit="strict"), deployments=[deployment(ORDINARY)])
    assert found.then["audit"] == "baseline"
    assert found.remarks == ("its label audit says 'strict', which is not a level and counts for nothing",)


def test_other_labels_stay() -> None:
    item = with_labels(namespace(warn="restricted"), {"enforce": "baseline"})
    assert item["metadata"]["labels"] == {"team": "blue", f"{POD_SECURITY_LABEL}/enforce": "baseline"}
    assert labels_of(item) == {"enforce": "baseline"}


@given(
    labels=st.dictionaries(
        st.sampled_from([f"{mode}{end}" for mode in MODES for end in ("", "_version")]),
        st.sampled_from([*LEVELS, "latest", "v1.24", VERSION, "nonsense"]),
    ),
    kinds=st.lists(st.sampled_from(LEVELS), max_size=3),
    wish=st.sampled_from(["", *LEVELS]),
    enforce=st.booleans(),
)
def test_whatever_is_there_the_runs_end_and_no_level_is_loosened(
    labels: dict[str, str], kinds: list[str], wish: str, enforce: bool
) -> None:
    item = namespace(**labels)
    there = {"deployments": [deployment(SPECS[kind], f"d{i}") for i, kind in enumerate(kinds)]}
    before = labels_of(item)
    for _ in range(4):
        found = level_of(item, wish=wish, enforce=enforce, **there)
        if "enforce" in found.then and "enforce" not in found.now:
            refused = [k for k in kinds if not stricter_or_same(k, found.then["enforce"])]
            assert not refused
        item = with_labels(item, found.then)
    assert found.then == found.now
    for mode in MODES:
        if before.get(mode) in LEVELS:
            assert stricter_or_same(found.then[mode], before[mode])
