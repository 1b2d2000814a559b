"""Take the facts about a release of Kubernetes out of the release itself, by experiment.

A release is published as a Go module. A small program for each component (experiment/) imports the component's own
options, sets each flag alone, lets the component's own code apply it, and compares the config that comes out.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
COMPONENTS = ("kubelet", "kube-proxy", "kube-scheduler", "kube-apiserver", "kube-controller-manager")
KUBERNETES = "k8s.io/kubernetes"
# What releases below a minor release need beside their own pins to compile today: a module, and what stands for it.
PINS: dict[int, dict[str, str]] = {
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


def facts(version: str, folder: Path, components: Sequence[str] = COMPONENTS) -> dict[str, Any]:
    """Return what the experiment finds about each component of a release; ``folder`` is its workspace."""
    source = workspace(version, folder)
    for part in (HERE / "experiment").iterdir():
        shutil.copytree(part, folder / part.name, dirs_exist_ok=True)
    found = {}
    for component in components:
        (folder / component / "release.go").write_text(release_go(component, source))
        program = folder / "bin" / f"facts-{component}"
        build(version, f"./{component}", program, folder)
        scratch = folder / "scratch"
        scratch.mkdir(exist_ok=True)
        done = subprocess.run([program], cwd=scratch, check=True, capture_output=True, text=True)
        found[component] = json.loads(done.stdout)
    return found


def release_go(component: str, source: Path) -> str:
    """Return the part of an experiment that differs by release: what the component's own main imports and adds."""
    folder = source / "cmd" / component
    main = "\n".join(p.read_text() for p in folder.glob("*.go") if not p.name.endswith("_test.go"))
    imports = {f'_ "{name}"' for name in re.findall(r'^\s*_ "([^"]+)"', main, re.MULTILINE)}
    functions = []
    flags = ""
    if '"k8s.io/component-base/cli"' in main:
        imports.add('"k8s.io/component-base/logs"')
        flags = "\tlogs.AddFlags(flags) // as component-base/cli.Run does\n"
    elif "AddGoFlagSet" in main:
        imports |= {'goflag "flag"', '_ "k8s.io/component-base/logs"'}
        flags = "\tflags.AddGoFlagSet(goflag.CommandLine)\n"
    if component != "kubelet":
        imports.add('"github.com/spf13/pflag"')
        functions.append(
            "// mainFlags adds the flags that come from the component's main.\n"
            f"func mainFlags(flags *pflag.FlagSet) {{\n{flags}}}\n"
        )
    else:
        imports = {name for name in imports if name.startswith("_")} | {
            f'"{KUBERNETES}/pkg/kubelet/apis/config"'
        }
        functions.append(_kubelet_loads((folder / "app" / "server.go").read_text(), imports))
    if component == "kube-scheduler":
        functions.append(_scheduler_defaults(source, imports))
    lines = "".join(f"\t{name}\n" for name in sorted(imports))
    return f"package main\n\nimport (\n{lines})\n\n" + "\n".join(functions)


def _kubelet_loads(server: str, imports: set[str]) -> str:
    # loadConfigFile is private, so that what it does after its loader (1.26+) is done once more here.
    body = ""
    if "EvictionHard = eviction.DefaultEvictionHard" in server:
        imports.add(f'"{KUBERNETES}/pkg/kubelet/eviction"')
        body = (
            "\tif settings.EvictionHard == nil {\n"
            "\t\tsettings.EvictionHard = eviction.DefaultEvictionHard\n\t}\n"
        )
    elif "DefaultEvictionHard" in server:
        raise NotImplementedError(
            "cmd/kubelet/app/server.go puts in evictionHard in a way that is not known here"
        )
    return (
        "// loaded does what the kubelet does to a config that was read from a file.\n"
        f"func loaded(settings *config.KubeletConfiguration) {{\n{body}}}\n"
    )


def _scheduler_defaults(source: Path, imports: set[str]) -> str:
    latest = "pkg/scheduler/apis/config/latest"  # from 1.22 on
    imports.add(f'"{KUBERNETES}/pkg/scheduler/apis/config"')
    if exists := (source / latest).is_dir():
        imports.add(f'"{KUBERNETES}/{latest}"')
    return (
        "// defaults returns the default config, in the newest apiVersion.\n"
        "func defaults() (*config.KubeSchedulerConfiguration, error) {\n"
        f"\treturn {'latest.Default()' if exists else 'nil, nil'}\n}}\n"
    )


def _go(words: Sequence[str], folder: Path, **variables: str) -> str:
    done = subprocess.run(
        ["go", *words], cwd=folder, env={**os.environ, "GOFLAGS": "-mod=mod", **variables},
        stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    return done.stdout
