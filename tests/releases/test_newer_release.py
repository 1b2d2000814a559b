"""A release that is newer than the tables: judged as the newest, with a word about it, and not changed unasked."""

from __future__ import annotations

from dataclasses import replace

import pytest

from facts_fixtures import PLANS, read_facts
from kubeharden import migrate, readiness
from kubeharden.inputs.parameters import Parameters
from kubeharden.plan.decide import make_plan
from kubeharden.podsecurity.policies import read_policies
from kubeharden.releases import LAST, Release, release_table
from support import ROOT

NEWER = Release(LAST.major, LAST.minor + 2)
WORDS = f"{NEWER} is newer than the tables: judged as {LAST}, the newest that they know"


@pytest.mark.parametrize("component", ["kubelet", "kube-proxy", "kube-scheduler"])
def test_its_table_is_that_of_the_newest(component: str) -> None:
    newest, newer = release_table(component, LAST), release_table(component, NEWER)
    assert (newer.flags, newer.fields, newer.api_versions) == (
        newest.flags,
        newest.fields,
        newest.api_versions,
    )


def test_every_verdict_of_a_migration_says_so() -> None:
    made = migrate("kubelet", NEWER, ["kubelet", "--max-pods=50", "--kubeconfig=/k", "--client-ca-file=/ca"])
    settings = [*made.moved, *made.kept, *made.dropped, *made.hardened, *made.defaults]
    assert settings
    assert all(WORDS in setting.why for setting in settings)


def test_every_finding_on_it_says_so() -> None:
    findings = readiness("kubelet", LAST, NEWER, ["kubelet", "--bogus=1"])
    assert {finding.release.is_newer_than_tables for finding in findings} == {True}
    assert all(WORDS in f.why or f.release < NEWER for f in findings)


@pytest.mark.parametrize("accepted", [False, True])
def test_nothing_is_changed_unless_a_person_accepts_it(accepted: bool) -> None:
    facts = read_facts(PLANS / "containerd-1.36")
    facts = replace(facts, cluster=replace(facts.cluster, version=f"v{NEWER}.0"))
    parameters = Parameters(dns_ip="10.0.0.10", accept_unknown_release=accepted)
    plan = make_plan(facts, parameters, read_policies(ROOT / "parameters" / "pod-security.yaml"))
    refused = [remark for remark in plan.refused if str(NEWER) in str(remark)]
    assert bool(refused) is not accepted
    assert all("accept_unknown_release=True" in str(remark) for remark in refused)
