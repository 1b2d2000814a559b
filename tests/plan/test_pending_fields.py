"""Which fields of its config file a kubelet has not read: those that flags overrule are no such fields."""

from __future__ import annotations

from dataclasses import replace

import pytest

from facts_fixtures import PLANS, read_facts
from kubeharden.facts import FileFact, NodeFacts
from kubeharden.plan import NodeChange
from kubeharden.plan.proof import unproved
from kubeharden.plan.service_files import pending_fields

FACTS = read_facts(PLANS / "handbuilt-1.20")
NODE = FACTS.nodes[-1]
PATH = "/etc/kubernetes/begun.yaml"
HEAD = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"


@pytest.mark.parametrize(
    ("fields", "flags", "served", "pending"),
    [
        ("maxPods: 70\n", ["--max-pods=60"], {"maxPods": 60}, ()),
        ("maxPods: 70\n", ["--max-pods=60"], {"maxPods": 110}, ("maxPods",)),
        ("maxPods: 70\n", [], {"maxPods": 60}, ("maxPods",)),
        ("maxPods: 70\nregistryBurst: 8\n", ["--max-pods=60"], {"maxPods": 60}, ("registryBurst",)),
        ("featureGates: {A: true, B: true}\n", ["--feature-gates=A=false"],
         {"featureGates": {"A": False, "B": True}}, ()),
        ("featureGates: {A: true, B: true}\n", ["--feature-gates=A=false"],
         {"featureGates": {"A": False, "B": False}}, ("featureGates",)),
    ],
)  # fmt: skip
def test_a_field_that_a_flag_overrules_waits_for_no_restart(
    fields: str, flags: list[str], served: dict[str, object], pending: tuple[str, ...]
) -> None:
    old = NODE.services["kubelet"]
    service = replace(
        old,
        cmdline=("/usr/bin/kubelet", f"--config={PATH}", *flags),
        files={**old.files, PATH: FileFact(PATH, "644", "root", "root", HEAD + fields)},
        configz=served,
    )
    node = replace(NODE, services={**NODE.services, "kubelet": service})
    assert pending_fields(node, service) == pending


def test_a_rollback_to_a_file_that_a_flag_overrules_is_proved() -> None:
    """The change of a rollback has the old command line and the old file: what holds is the flag's value."""
    argv = ("/usr/bin/kubelet", f"--config={PATH}", "--max-pods=60")
    change = NodeChange("kubelet", NODE.name, "kubelet", expected_argv=argv, expected_config={"maxPods": 70})

    def seen(pods: int) -> NodeFacts:
        service = replace(NODE.services["kubelet"], cmdline=argv, configz={"maxPods": pods})
        return replace(NODE, services={**NODE.services, "kubelet": service})

    assert unproved(change, seen(60), NODE) == []
    assert unproved(change, seen(70), NODE) == ["maxPods is 70 in effect, not 60"]
