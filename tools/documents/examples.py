"""Execute the notebooks on rehearsal clusters, one after the other, and keep the pages of their sealed records.

    python -m documents.examples        (make docs)

Writes build/examples/NAME.html. The second and the third change of a cluster find it as the first has left it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import nbformat

from kubeharden.records.html import render

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "build" / "examples"


@dataclass(frozen=True)
class Example:
    """One executed notebook.

    Attributes:
        name: of its page.
        notebook: which one.
        cluster: the rehearsal cluster; those of one name are one cluster; empty for none.
        text: what to look at.
        parameters: what is given to it.
        undoes: the name of the example whose run it puts back.
    """

    name: str
    notebook: str
    cluster: str
    text: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    undoes: str = ""

    @property
    def title(self) -> str:
        """Its title in the list."""
        return f"{self.notebook}.ipynb{f' on {self.cluster}' if self.cluster else ''}"


EXAMPLES = (
    Example(
        "harden-article-1.10",
        "harden",
        "article-1.10",
        "the article's cluster: flags to config files, PodSecurityPolicies, and the proof",
        {"dns_ip": "10.0.0.10", "cluster_cidr": "10.32.0.0/16", "change_id": "CHG-1024"},
    ),
    Example(
        "upgrade-readiness",
        "upgrade-readiness",
        "article-1.10",
        "what would stop that cluster's components on the way to 1.25",
        {"target_release": "v1.25"},
    ),
    Example(
        "rollback",
        "rollback",
        "article-1.10",
        "the change above put back, the last step first",
        {"change_id": "CHG-1025"},
        "harden-article-1.10",
    ),
    Example(
        "harden-containerd-1.36",
        "harden",
        "containerd-1.36",
        "a recent cluster: Pod Security Admission, announced first",
        {"change_id": "CHG-1030"},
    ),
    Example(
        "records", "records", "", "the register of the runs above, one of them in full, and two compared"
    ),
)


def main() -> None:
    """Execute all of them; an error ends it."""
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    with tempfile.TemporaryDirectory(prefix="kubeharden-docs-") as scratch:
        folder = Path(scratch)
        key = make_key(folder)
        for example in EXAMPLES:
            sys.stdout.write(f"{example.title}\n")
            sys.stdout.flush()
            executed = execute(example, folder, key)
            (OUT / f"{example.name}.html").write_text(page_of(example, executed), encoding="utf-8")


def make_key(folder: Path) -> Path:
    """Make a key to seal with."""
    key = folder / "operator"
    words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "operator@example.org", "-f", str(key)]
    subprocess.run(words, check=True)
    return key


def page_of(example: Example, executed: Path) -> str:
    """Return the page of the sealed record; records.ipynb makes none, and its page is that of the notebook."""
    if example.cluster:
        newest = max((executed.parent / "outputs").glob("2*"))
        return (newest / "notebook.html").read_text(encoding="utf-8")
    notebook = nbformat.read(executed, as_version=4)  # type: ignore[no-untyped-call]
    return render(notebook, example.title)


def execute(example: Example, folder: Path, key: Path) -> Path:
    """Execute one and seal its run; return the path of the executed notebook."""
    records = folder / "outputs"
    given = {**example.parameters, "output_dir": str(records)}
    if example.cluster:
        given |= {"rehearsal": example.cluster, "rehearsal_dir": str(folder / example.cluster)}
    if example.undoes:
        changed = next(e.parameters["change_id"] for e in EXAMPLES if e.name == example.undoes)
        [given["record"]] = map(str, records.glob(f"*-{changed}"))
    out = folder / f"{example.name}.ipynb"
    words = [word for name, value in given.items() for word in ("-r", name, value)]
    # records.ipynb is not a run: it has nothing to seal.
    engine = ["--engine", "kubeharden"] if example.cluster else []
    source = ROOT / "notebooks" / f"{example.notebook}.ipynb"
    done = subprocess.run(
        [sys.executable, "-m", "papermill", source, out, *words, *engine, "--no-progress-bar"],
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "KUBEHARDEN_SIGNING_KEY": str(key)},
    )
    if done.returncode != 0:
        sys.exit(f"{example.title} did not run:\n{done.stdout}")
    return out


if __name__ == "__main__":
    main()
