"""The rollback's notebook, run by papermill: what a run changed is put back, byte for byte.

What a rollback decides is in ``runs/test_rollback.py``.
"""

from __future__ import annotations

import json
from pathlib import Path

from kubeharden.edges.nodes.units import node_files
from kubeharden_rehearsal import Rehearsal
from support import ROOT, Papermill, wait_until


def files_of(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Mode and content of every file in the nodes' /etc, without the units that stay there between runs."""
    units = {node / path.lstrip("/") for node in folder.glob("nodes/*") for path in node_files("")}
    return {
        str(path.relative_to(folder)): (path.stat().st_mode, path.read_bytes())
        for path in folder.glob("nodes/*/etc/**/*")
        if path.is_file() and not path.is_symlink() and path not in units
    }


def decided(folder: Path) -> dict[tuple[str, ...], object]:
    """What people decide of the objects that the runbook writes."""
    kinds = ("PodSecurityPolicy", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")
    return {
        (item["kind"], item["metadata"].get("namespace", ""), item["metadata"]["name"]): (
            item.get("spec"),
            item.get("rules"),
            item.get("subjects"),
        )
        for item in json.loads((folder / "cluster.json").read_text())["items"]
        if item["kind"] in kinds
    }


def test_the_notebook_itself(article: Rehearsal, papermill: Papermill, tmp_path: Path) -> None:
    folder, inventory = article.directory, str(article.inventory)
    files, objects = files_of(folder), decided(folder)
    hard = papermill("-p", "dns_ip", "10.0.0.10", inventory=inventory)
    assert hard.status == 0, hard.output
    assert files_of(folder) != files
    wait_until(lambda: decided(folder) != objects)
    [record] = hard.records.iterdir()
    papermill.source = "rollback.ipynb"
    back = papermill(
        inventory=inventory, record=str(record), output_dir=str(tmp_path / "rollbacks"), cwd=ROOT
    )
    assert back.status == 0, back.output
    assert files_of(folder) == files
    wait_until(lambda: decided(folder) == objects)
    assert "Carried out: " in back.shown("run.finish()")
    # The warnings that came back with the flags are one line a service, not one a flag and node.
    notes = [line for line in back.shown("run.prove()").splitlines() if line.startswith("•")]
    [again] = [line for line in notes if "as it did before its flags went (--feature-gates, " in line]
    assert again.startswith("• kubelet on k8s-node1, k8s-master warns again")
    assert len(notes) < 8
