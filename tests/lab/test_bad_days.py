"""Bad days (issue 3, 8): each refused before anything is written, with a message that says what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from cluster import kubectl
from machines import ssh
from pki import kubeconfig, sign
from places import INVENTORY, MASTER, PKI, existing
from runs import Runbook
from truth import look


@pytest.fixture
def inventory(tmp_path: Path) -> Callable[..., Path]:
    """Write an inventory that differs from the lab's in something."""

    def write(change: Callable[[dict], None]) -> Path:
        content = yaml.safe_load(INVENTORY.read_text())
        for key in ("identity_file", "known_hosts"):
            content["ssh"][key] = str(INVENTORY.parent / content["ssh"][key])
        content["kubeconfig"] = str(INVENTORY.parent / content["kubeconfig"])
        change(content)
        path = tmp_path / "inventory.yaml"
        path.write_text(yaml.safe_dump(content))
        return path

    return write


def refused(runbook: Runbook, inventory: Path, *words: str) -> str:
    """The words with which the runbook refuses to begin; and nothing was written."""
    before = look()
    run = runbook(inventory=inventory)
    after = look()
    assert run.status != 0, "it was carried out"
    assert after.files == before.files
    assert after.versions == before.versions
    assert after.starts == before.starts
    assert not any("run.look" in source for source, _ in run.cells()), "it came further than the preflight"
    message = run.error()
    for word in words:
        assert word in message, message[-3000:]
    return message


@pytest.mark.usefixtures("unhardened_lab")
class TestRefusedInThePreflight:
    def test_wrong_host_key(self, runbook: Runbook, inventory: Callable[..., Path], tmp_path: Path) -> None:
        names = [line.split()[0] for line in (INVENTORY.parent / "known_hosts").read_text().splitlines()]
        another = (INVENTORY.parent / "id_ed25519.pub").read_text()  # a key, and no node's
        wrong = tmp_path / "known_hosts"
        wrong.write_text("".join(f"{name} {another}" for name in names))
        path = inventory(lambda i: i["ssh"].update(known_hosts=str(wrong)))
        refused(runbook, path, MASTER, "host key", "known_hosts", "find out which")

    def test_unreachable_node(self, runbook: Runbook, inventory: Callable[..., Path]) -> None:
        def change(content: dict) -> None:
            content["ssh"]["connect_timeout"] = 3
            content["nodes"].append({"name": "k8s-gone", "host": "10.88.0.99"})

        refused(runbook, inventory(change), "k8s-gone", "10.88.0.99")

    def test_user_without_sudo(self, runbook: Runbook, inventory: Callable[..., Path]) -> None:
        for node in existing():
            ssh(
                node,
                "id guest >/dev/null 2>&1 || sudo useradd -m guest; "
                "sudo cp -r ~ops/.ssh ~guest/; sudo chown -R guest ~guest",
            )
        refused(
            runbook,
            inventory(lambda i: i["ssh"].update(user="guest")),
            "may not become root",
            "Give guest sudo",
        )

    def test_expired_kubeconfig(
        self, runbook: Runbook, inventory: Callable[..., Path], tmp_path: Path
    ) -> None:
        sign("expired", "/O=system:masters/CN=once", days=-1)
        path = tmp_path / "expired.kubeconfig"
        path.write_text(kubeconfig("expired", "once"))
        refused(runbook, inventory(lambda i: i.update(kubeconfig=str(path))), "expired")

    def test_user_who_may_not_create_policies(
        self, runbook: Runbook, inventory: Callable[..., Path], tmp_path: Path
    ) -> None:
        if not (PKI / "viewer.crt").exists():
            sign("viewer", "/CN=viewer")
        kubectl(
            "create",
            "clusterrolebinding",
            "viewer",
            "--clusterrole=cluster-reader-of-the-test",
            "--user=viewer",
            check=False,
        )
        kubectl(
            "create",
            "clusterrole",
            "cluster-reader-of-the-test",
            "--verb=get,list,watch",
            "--resource=*.*",
            check=False,
        )
        path = tmp_path / "viewer.kubeconfig"
        path.write_text(kubeconfig("viewer", "viewer"))
        refused(runbook, inventory(lambda i: i.update(kubeconfig=str(path))), "viewer", "podsecuritypolicies")
