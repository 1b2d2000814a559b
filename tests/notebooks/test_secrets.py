"""Secrets planted where they can come from never reach a byte that a run produces."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest
import yaml

from kubeharden.edges.nodes import SUDO_PASSWORD_VARIABLE
from kubeharden.plan.events import Finished, Observed
from kubeharden.records.folder import read_run
from kubeharden_rehearsal import Rehearsal
from rehearsals import Rehearsals
from support import ROOT, Executed, Papermill, on_node

NODE = "k8s-node1"
SECRETS = {
    "bootstrap token in a comment": "k1u2b3.h4a5r6d7e8n9z0xy",
    "key in a comment": "Pl4ntedCommentKey01",
    "variable of a unit, by its name": "planted-registry-password-02",
    "variable of a unit, called anything": "planted two words-03",
    "variable of a file, by its name": "planted-cloud-secret-04",
    "variable of a file, called anything": "planted-setting-05",
    "flag that is a password": "planted-storage-password-06",
    "flag with credentials in a URL": "planted-url-password-07",
    "flag with a header": "planted-header-08",
    "flag of the API server": "planted-client-id-09",
    "directive that nobody knows": "planted-directive-10",
    "private key": "planted-private-key-material-11",
    "sudo password": "planted-sudo-password-12",
    "line of a journal": "planted-journal-13",
    "Secret": "cGxhbnRlZC1zZWNyZXQtMTQ=",
    "variable of a pod": "planted-pod-variable-15",
    "password in the kubeconfig": "planted-kubeconfig-16",
}
# What a run never sees, or sees only where its form or what is around it gives it away: alone, it is like any word.
UNSEEN = ("private key", "line of a journal", "Secret")
# What a run must still show: a redaction that takes out everything is none.
SHOWN = (
    "--cluster-dns=10.0.0.10",
    "Restart=always",
    "clusterDomain: &#34;cluster.local",
    "/etc/kubernetes/pki/ca.crt",
)
# What somebody might add to a notebook to look at something.
DEBUG_CELLS = """
import logging, os, sys, traceback
unit = (nodes / "etc/systemd/system/kubelet.service").read_text()
print(unit, (nodes / "etc/default/kubelet").read_text())
print("to stderr:", {values}, file=sys.stderr)
---
for line in (nodes / "etc/kubernetes/pki/planted.key").read_text().splitlines():
    print(line, flush=True)
---
logging.warning("with arguments: %s", {values})
try:
    raise RuntimeError({values}[0])
except RuntimeError:
    logging.exception("with a traceback")
---
os.system("cat " + str(nodes / "etc/default/kubelet"))
---
{{"kind": "Secret", "metadata": {{"name": "x"}}, "data": {{"any": {secret}}}}}
---
print("copied:", __import__("base64").b64decode({secret}).decode())
---
run._facts
---
display({{"text/plain": "shown", "text/html": f"<b>{{{values}[3]}}</b>"}}, raw=True)
---
password = {values}[2]
raise ValueError("cannot use " + " ".join({values}))
"""


@dataclass
class Planted:
    """A running rehearsal with secrets in it, and an inventory that asks for a sudo password."""

    rehearsal: Rehearsal
    inventory: Path
    secrets: list[bytes]


def plant(folder: Path) -> None:
    """Put secrets into units, environment files, journals and objects of a rehearsal that does not run."""
    node = folder / "nodes" / NODE
    unit = node / "etc/systemd/system/kubelet.service"
    s = list(SECRETS.values())
    lines = (
        f"# joined with {s[0]}, key {s[1]}\n"
        f'Environment="REGISTRY_PASSWORD={s[2]}"\nEnvironment="NOTE={s[3]}"\n'
        f"EnvironmentFile=/etc/default/kubelet\nX-Planted={s[10]}\n"
    )
    flags = (
        f"--storage-driver-password={s[6]} --manifest-url=http://ops:{s[7]}@127.0.0.1/pods "
        f"--manifest-url-header=X-A:{s[8]}"
    )
    text = unit.read_text().replace("[Service]\n", f"[Service]\n{lines}")
    unit.write_text(text.replace("/usr/bin/kubelet ", f"/usr/bin/kubelet {flags} "))
    (node / "etc/default").mkdir(exist_ok=True)
    (node / "etc/default/kubelet").write_text(f"CLOUD_SECRET={s[4]}\nSETTING={s[5]}\n")
    key = f"-----BEGIN RSA PRIVATE KEY-----\n{s[11]}\n-----END RSA PRIVATE KEY-----\n"
    (node / "etc/kubernetes/pki/planted.key").write_text(key)
    cluster = json.loads((folder / "cluster.json").read_text())
    workload = next(item for item in cluster["items"] if item["kind"] in ("DaemonSet", "Deployment"))
    workload["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "A", "value": s[15]}]
    (folder / "cluster.json").write_text(json.dumps(cluster))
    cluster = json.loads((folder / "cluster.json").read_text())
    workload = next(item for item in cluster["items"] if item["kind"] in ("DaemonSet", "Deployment"))
    workload["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "A", "value": s[15]}]
    (folder / "cluster.json").write_text(json.dumps(cluster))
    apiserver = folder / "nodes/k8s-master/etc/systemd/system/kube-apiserver.service"
    text = apiserver.read_text()
    apiserver.write_text(
        text.replace("/usr/bin/kube-apiserver ", f"/usr/bin/kube-apiserver --oidc-client-id={s[9]} ")
    )


@pytest.fixture
def planted(rehearsals: Rehearsals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Planted]:
    folder = tmp_path / "rehearsal"
    rehearsals.copy("article-1.10", folder)
    plant(folder)
    journal = next(path for path in folder.rglob("journal.jsonl") if NODE in str(path))
    entry = json.loads(journal.read_text().splitlines()[-1])
    message = f'FLAG: --made-up="{SECRETS["line of a journal"]}" --token "{SECRETS["line of a journal"]}"'
    with journal.open("a") as file:
        file.write(
            json.dumps({**entry, "time": time.time(), "unit": "kubelet.service", "message": message}) + "\n"
        )
    monkeypatch.setenv(SUDO_PASSWORD_VARIABLE, SECRETS["sudo password"])
    with Rehearsal.start("article-1.10", folder) as rehearsal:
        for node, service in ((NODE, "kubelet"), ("k8s-master", "kube-apiserver")):
            on_node(rehearsal, node, f"systemctl daemon-reload; sudo systemctl restart {service}")
        inventory = yaml.safe_load(rehearsal.inventory.read_text())
        inventory["ssh"]["sudo"] = "password"
        config = rehearsal.inventory.parent / inventory["kubeconfig"]
        content = yaml.safe_load(config.read_text())
        content["users"].append(
            {"name": "other", "user": {"username": "o", "password": SECRETS["password in the kubeconfig"]}}
        )
        config.write_text(yaml.safe_dump(content))
        tokens = [user["user"]["token"].encode() for user in content["users"] if "token" in user["user"]]
        assert tokens
        edited = rehearsal.inventory.with_name("edited.yaml")
        edited.write_text(yaml.safe_dump(inventory))
        secrets = [*(s.encode() for s in SECRETS.values()), base64.b64decode(SECRETS["Secret"]), *tokens]
        yield Planted(rehearsal, edited, secrets)


def produced(run: Executed) -> bytes:
    """Every byte that a run produces."""
    files = [path.read_bytes() for path in run.records.rglob("*") if path.is_file()]
    return run.output.encode() + run.notebook.read_bytes() + b"".join(files)


def assert_clean(run: Executed, planted: Planted) -> None:
    everything = produced(run)
    for secret in planted.secrets:
        for spelling in (secret, json.dumps(secret.decode())[1:-1].encode()):
            place = everything.find(spelling)
            assert place < 0, everything[max(0, place - 200) : place + 80]


def test_a_run_that_looks_and_one_that_is_carried_out_hold_no_secret(
    papermill: Papermill, planted: Planted
) -> None:
    for mode in ("plan", "apply"):
        run = papermill("--log-output", inventory=str(planted.inventory), mode=mode)
        assert run.status == 0, run.output
        assert_clean(run, planted)
        for harmless in SHOWN:
            assert harmless in produced(run).decode(), harmless
        # The unit is shown as it was, but for what is secret in it.
        assert "--storage-driver-password=‹redacted sha256:" in run.notebook.read_text()
    [kept] = run.records.glob("*/files.json")
    redacted = {(entry["service"], entry["redacted"]) for entry in json.loads(kept.read_text())}
    assert {("kubelet", True), ("kube-apiserver", True), ("kube-proxy", False)} <= redacted


@pytest.mark.sample(1)
@pytest.mark.parametrize(("word", "mode"), [("node", "apply"), ("idle", "plan")])
def test_a_password_that_is_a_word_leaves_the_record_whole_and_stands_in_no_value(
    papermill: Papermill, article: Rehearsal, monkeypatch: pytest.MonkeyPatch, word: str, mode: str
) -> None:
    inventory = yaml.safe_load(article.inventory.read_text())
    inventory["ssh"]["sudo"] = "password"
    edited = article.inventory.with_name("edited.yaml")
    edited.write_text(yaml.safe_dump(inventory))
    monkeypatch.setenv(SUDO_PASSWORD_VARIABLE, word)
    run = papermill("--log-output", inventory=str(edited), mode=mode)
    assert run.status == 0, run.output
    [record] = [path.parent for path in run.records.glob("*/journal.jsonl")]
    past = read_run(record)
    assert past.problems == ()
    assert past.of(Finished)
    assert {node for event in past.of(Observed) for node in event.nodes} == {"k8s-master", "k8s-node1"}
    shown = "\n".join(text for _, text in run.cells())
    assert "k8s-node1" in shown
    kept = [json.loads(path.read_text()) for path in record.rglob("*.json")]
    outputs = [cell.get("outputs") for cell in json.loads(run.notebook.read_text())["cells"]]
    for text in texts([*past.journal.lines, *kept, *outputs]):
        assert not re.search(rf"(?<![A-Za-z0-9]){word}(?![A-Za-z0-9])", text), text


def texts(value: object) -> Iterator[str]:
    """Every text in plain data; the names of fields are none."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from texts(item)
    elif isinstance(value, str):
        yield value


def test_a_run_that_fails_holds_no_secret(papermill: Papermill, planted: Planted) -> None:
    (planted.rehearsal.directory / f"nodes/{NODE}/etc/kubernetes/pki/ca.crt").unlink()
    run = papermill("--log-output", inventory=str(planted.inventory))
    assert run.status != 0
    assert "kubelet did not come up" in run.output
    assert "its journal since the restart" in run.output  # and in that, a flag with a secret
    assert "Flag --storage-driver-password" in run.output
    assert_clean(run, planted)


def test_cells_that_somebody_adds_hold_no_secret(
    papermill: Papermill, planted: Planted, tmp_path: Path
) -> None:
    notebook = nbformat.read(ROOT / "notebooks/harden.ipynb", as_version=4)
    looked = next(n for n, cell in enumerate(notebook.cells) if cell.source == "run.look()")
    node = f"from pathlib import Path; nodes = Path({str(planted.rehearsal.directory / 'nodes' / NODE)!r})\n"
    # The secrets come from a file, so that they are not in the source of the cells.
    (tmp_path / "values.json").write_text(json.dumps(SECRETS))
    everything = f"__import__('json').loads(open({str(tmp_path / 'values.json')!r}).read())"
    values = f"[value for name, value in {everything}.items() if name not in {UNSEEN}]"
    cells = (node + DEBUG_CELLS).format(values=values, secret=f"{everything}['Secret']").split("---\n")
    notebook.cells = [*notebook.cells[: looked + 1], *(nbformat.v4.new_code_cell(cell) for cell in cells)]
    source = tmp_path / "debug.ipynb"
    nbformat.write(notebook, source)
    papermill.source = str(source)
    run = papermill("--log-output", inventory=str(planted.inventory), mode="plan")
    assert run.status != 0
    assert "ValueError" in run.output
    for word in (
        "to stderr:",
        "with arguments:",
        "with a traceback",
        "RuntimeError",
        "'env': [",
        "CLOUD_SECRET=",
        "'any': '‹",
        "copied: ‹",
    ):
        assert word in run.notebook.read_text(), word
    assert_clean(run, planted)
