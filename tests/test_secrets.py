"""Secrets planted where they can come from never reach a byte that a run produces."""

from __future__ import annotations

from pathlib import Path

from kubeharden.rehearsal import Rehearsal
from support import Papermill, on_node

BOOTSTRAP_TOKEN = "k1u2b3.h4a5r6d7e8n9z0xy"
PASSWORD = "planted-etcd-password-77"
ENVIRONMENT = "planted-environment-secret-88"
KEY = "planted-private-key-material-99"


def planted(folder: Path) -> None:
    """Plant secrets in units, environment files and kubeconfigs of a rehearsal's nodes."""
    node = folder / "nodes" / "k8s-node1" / "etc"
    unit = node / "systemd/system/kubelet.service"
    lines = f'Environment="REGISTRY_PASSWORD={PASSWORD}"\nEnvironmentFile=/etc/default/kubelet\n'
    text = unit.read_text().replace("[Service]\n", f"[Service]\n# joined with {BOOTSTRAP_TOKEN}\n{lines}")
    unit.write_text(text)
    (node / "default").mkdir(exist_ok=True)
    (node / "default/kubelet").write_text(f"CLOUD_SECRET={ENVIRONMENT}\n")
    key = f"-----BEGIN RSA PRIVATE KEY-----\n{KEY}\n-----END RSA PRIVATE KEY-----\n"
    (node / "kubernetes/pki/planted.key").write_text(key)


def test_nothing_that_a_run_writes_holds_a_secret(papermill: Papermill, tmp_path: Path) -> None:
    folder = tmp_path / "rehearsal"
    with Rehearsal.start("article-1.10", folder) as rehearsal:
        planted(folder)
        on_node(rehearsal, "k8s-node1", "systemctl daemon-reload")
    # A failing node brings journal tails and error texts into the notebook, too.
    (folder / "nodes/k8s-node1/etc/kubernetes/pki/ca.crt").unlink()
    run = papermill("--log-output", rehearsal_dir=str(folder))
    assert run.status != 0
    assert "‹redacted sha256:" in run.notebook.read_text()
    produced = run.output.encode() + run.notebook.read_bytes()
    produced += b"".join(path.read_bytes() for path in run.records.rglob("*") if path.is_file())
    assert b"kubelet did not come up" in produced
    tokens = [
        line.split("token:")[1].strip().encode()
        for path in folder.rglob("*.kubeconfig")
        for line in path.read_text().splitlines()
        if "token:" in line
    ]
    assert tokens
    for secret in (BOOTSTRAP_TOKEN.encode(), PASSWORD.encode(), ENVIRONMENT.encode(), KEY.encode(), *tokens):
        assert secret not in produced
