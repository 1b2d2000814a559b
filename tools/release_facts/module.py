"""Build programs of a release of Kubernetes out of the Go module as which it is published.

python -m release_facts.module v1.37.2 FOLDER    builds what a cluster needs; FOLDER appears when all is done
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

KUBERNETES = "k8s.io/kubernetes"
# The kubelet first: what it compiles is most of what the others are made of.
PROGRAMS = ("kubelet", "kube-apiserver", "kube-scheduler", "kube-proxy", "kube-controller-manager", "kubectl")
# Below 1.24, what describes the API (OpenAPI) was made while Kubernetes was built: the module does not have it. In a
# copy of the module, an empty one stands for it: no flag hangs on it.
COPY = "kubernetes"
OPENAPI = Path(COPY) / "pkg" / "generated" / "openapi" / "zz_generated.openapi.go"
EMPTY_OPENAPI = """package openapi

import "k8s.io/kube-openapi/pkg/common"

func GetOpenAPIDefinitions(common.ReferenceCallback) map[string]common.OpenAPIDefinition {
	return nil
}
"""
# What releases below a minor release need beside their own pins to compile today: a module, and what stands for it.
PINS: dict[int, dict[str, str]] = {
    24: {KUBERNETES: f"./{COPY}"},
    23: {"golang.org/x/sys": "golang.org/x/sys v0.10.0"},
    22: {
        "golang.org/x/net": "golang.org/x/net v0.10.0",
        "golang.org/x/tools": "golang.org/x/tools v0.9.3",
        "github.com/modern-go/reflect2": "github.com/modern-go/reflect2 v1.0.2",  # 1.0.1 panics in Go 1.18 and later
    },
    19: {"vbom.ml/util": "./vbom.ml"},  # its host is gone
    17: {"github.com/mindprince/gonvml": "github.com/mindprince/gonvml v0.0.0-20190828220739-9ebdce4bb989"},
}


def workspace(version: str, folder: Path) -> Path:
    """Write a Go module into ``folder`` that builds any program of a release, and return the release's own source.

    Args:
        version: such as ``v1.37.2``.
        folder: is made where it is missing.

    Raises:
        subprocess.CalledProcessError: the release cannot be had.
    """
    folder.mkdir(parents=True, exist_ok=True)
    answer = _go(["mod", "download", "-json", f"{KUBERNETES}@{version}"], folder)
    source = Path(json.loads(answer)["Dir"])
    (folder / "go.mod").write_text(go_mod(version, (source / "go.mod").read_text()))
    empty = folder / "vbom.ml"
    empty.mkdir(exist_ok=True)
    (empty / "go.mod").write_text("module vbom.ml/util\n")
    if f"./{COPY}\n" in (folder / "go.mod").read_text() and not (folder / OPENAPI).exists():
        shutil.copytree(source, folder / COPY, copy_function=shutil.copyfile, dirs_exist_ok=True)
        for place in (folder / COPY, *(folder / COPY).rglob("*/")):
            place.chmod(0o755)  # folders of the module cache cannot be written to
        (folder / OPENAPI).write_text(EMPTY_OPENAPI)
    return source


def go_mod(version: str, own: str) -> str:
    """Return the go.mod of a module that requires a release, from the release's own go.mod.

    The release points its staging modules at folders that the published module does not hold; they are published
    beside it, as v0.MINOR.PATCH.
    """
    staged = f"v0.{version.removeprefix('v1.')}"
    minor = int(version.split(".")[1])
    replaced = dict(re.findall(r"^\s*(?:replace )?(\S+) => (\S+ \S+)$", own, re.MULTILINE))
    names = re.findall(r"^\s*(?:replace )?(\S+) => \./staging/", own, re.MULTILINE)
    names += re.findall(r"^\s*(?:require )?(k8s\.io/\S+) v0\.0\.0$", own, re.MULTILINE)
    replaced |= {name: f"{name} {staged}" for name in names}
    for below, pins in PINS.items():
        replaced |= pins if minor < below else {}
    lines = re.findall(r"^(?:go|godebug) .+$", own, re.MULTILINE)
    lines += re.findall(r"^godebug \([^)]*\)", own, re.MULTILINE)
    rows = "\n".join(f"\t{name} => {target}" for name, target in sorted(replaced.items()))
    head = "\n".join(line for line in lines if not line.endswith("("))
    return f"module facts\n\n{head}\n\nrequire {KUBERNETES} {version}\n\nreplace (\n{rows}\n)\n"


def build(version: str, package: str, target: Path, folder: Path) -> None:
    """Build a program of a workspace without cgo; ``package`` is an import path or a folder of the workspace."""
    number = version.removeprefix("v").split(".")
    values = {
        "gitVersion": version,
        "gitMajor": number[0],
        "gitMinor": number[1],
        "gitTreeState": "clean",
        "gitCommit": "module",
        "buildDate": "1970-01-01T00:00:00Z",
    }
    stamps = " ".join(
        f"-X {module}.{key}={value}"
        for module in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
        for key, value in values.items()
    )
    words = ["build", "-mod=mod", "-trimpath", f"-ldflags=-s -w {stamps}", "-o", str(target), package]
    _go(words, folder, CGO_ENABLED="0")


def _go(words: Sequence[str], folder: Path, **variables: str) -> str:
    done = subprocess.run(
        ["go", *words], cwd=folder, env={**os.environ, "GOFLAGS": "-mod=mod", **variables},
        stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    return done.stdout


def build_programs(version: str, target: Path) -> None:
    """Build the programs of a cluster into ``target``/usr/bin.

    Args:
        version: such as ``v1.37.2``.
        target: appears when all is done. What a build that was ended has left beside it is used again.

    Raises:
        subprocess.CalledProcessError: the release cannot be had, or does not compile.
    """
    work = target.with_name(f"{target.name}.build")
    workspace(version, work)
    done = work / "done" / "usr" / "bin"
    done.mkdir(parents=True, exist_ok=True)
    for name in PROGRAMS:
        if not (done / name).exists():
            build(version, f"{KUBERNETES}/cmd/{name}", work / "new" / name, work)
            (work / "new" / name).rename(done / name)
    (work / "done").rename(target)
    shutil.rmtree(work)


if __name__ == "__main__":
    build_programs(sys.argv[1], Path(sys.argv[2]).resolve())
