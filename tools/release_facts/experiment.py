"""Take the facts about a release of Kubernetes out of the release itself, by experiment.

A release is published as a Go module. A small program for each component (experiment/) imports the component's own
options, sets each flag alone, lets the component's own code apply it, and compares the config that comes out.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from release_facts.module import KUBERNETES, build, workspace

HERE = Path(__file__).resolve().parent
COMPONENTS = ("kubelet", "kube-proxy", "kube-scheduler", "kube-apiserver", "kube-controller-manager")


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
