"""A step is a module: one that is registered is known, planned, shown, carried out, proved and rolled back."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from kubeharden import runbook
from kubeharden.errors import ClusterError, ParameterError
from kubeharden.plan import steps
from kubeharden_rehearsal import Rehearsal
from pages import blocks
from support import ROOT

PAGE = ROOT / "docs" / "howto" / "step.md"
[MODULE] = [block.text for block in blocks(PAGE) if block.mark.startswith("file: lib/")]


@pytest.fixture
def registered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "marker.py"
    path.write_text(MODULE)
    spec = importlib.util.spec_from_file_location("marker", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(steps, "STEPS", (*steps.STEPS, module.STEP))


def test_the_order_of_steps_is_that_of_the_article() -> None:
    assert steps.names() == ("kubelet", "pod-security", "kube-proxy", "kube-scheduler")
    assert [step.name for step in steps.select_steps(["kube-proxy", "kubelet"])] == ["kubelet", "kube-proxy"]


@pytest.mark.usefixtures("registered")
def test_a_registered_step_is_planned_shown_applied_proved_and_rolled_back(
    article: Rehearsal, tmp_path: Path
) -> None:
    given = {
        "In": [""],
        "inventory": str(article.inventory),
        "output_dir": str(tmp_path / "records"),
    }
    run = runbook.start({**given, "steps": "[kubelet, marker]", "mode": "plan"})
    run.look()
    assert "Role kube-system/marker" in str(run.plan())
    run.close()

    run = runbook.start({**given, "steps": "[marker]"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run.cluster, "may", lambda verb, kind, *_: (verb, kind) != ("create", "Role"))
        with pytest.raises(ClusterError, match="create roles in kube-system"):
            run.check()
    run.check()
    run.look()
    assert "marks this cluster" in str(run.plan())
    assert "+kind: Role" in str(run.show("marker"))
    assert "carried out" in str(run.apply("marker"))
    assert run.cluster.get("Role", "marker", "kube-system")
    run.prove()
    run.finish()

    again = runbook.start({**given, "steps": "[marker]"})
    again.look()
    again.plan()
    assert "nothing was changed" in str(again.apply("marker"))
    again.close()

    named = {"record": str(run.record.folder), "accept_unvouched": ["Role kube-system/marker"]}
    back = runbook.start({**given, **named}, "rollback")
    back.look()
    back.plan()
    back.roll_back()
    assert back.cluster.get("Role", "marker", "kube-system") is None
    back.close()


@pytest.mark.usefixtures("registered")
def test_all_steps_are_those_that_are_registered(article: Rehearsal, tmp_path: Path) -> None:
    given = {
        "In": [""],
        "inventory": str(article.inventory),
        "output_dir": str(tmp_path / "records"),
    }
    run = runbook.start({**given, "mode": "plan"})
    assert run.parameters.steps == ("kubelet", "pod-security", "marker", "kube-proxy", "kube-scheduler")
    run.close()
    with pytest.raises(ParameterError, match="expected some of kubelet, pod-security, marker, kube-proxy"):
        runbook.start({**given, "steps": ["etcd"]})
