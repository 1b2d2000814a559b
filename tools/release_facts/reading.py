"""Read feature gates, admission plugins and the flags of components without a config file in a release's sources.

    python -m release_facts.reading v1.23.17 ...

It adds them to the facts about releases on which no experiment was made: nothing is built, a minute for a release.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from release_facts import tables
from release_facts.condense import TYPES, gate_row
from release_facts.experiment import COMPONENTS, HERE
from release_facts.files import FACTS, minor_of, read, write
from release_facts.module import KUBERNETES

# Folders and files that register flags and feature gates: of the release's own module (`.`), and of those that are
# published beside it.
SHARED = (
    ".:pkg/features",
    "component-base:featuregate logs logs/api/v1 metrics cli/globalflag version/verflag compatibility zpages/features",
    "apiserver:pkg/features pkg/util/feature",
    "client-go:features",
    "apiextensions-apiserver:pkg/features",
)
OWN = {
    "kube-apiserver": (
        ".:pkg/kubeapiserver/options cmd/kube-apiserver/app/options pkg/controlplane/apiserver/options",
        ".:plugin/pkg/admission/defaulttolerationseconds pkg/cloudprovider/providers/gce/gce_loadbalancer.go",
        "apiserver:pkg/server/options pkg/server/options/encryptionconfig",
    ),
    "kube-controller-manager": (
        ".:cmd/kube-controller-manager/app/options cmd/controller-manager/app/options",
        "component-base:config/options",
        "apiserver:pkg/server/options/serving.go pkg/server/options/deprecated_insecure_serving.go",
        "apiserver:pkg/server/options/authentication.go pkg/server/options/authorization.go",
        "cloud-provider:options/kubecloudshared.go options/cloudprovider.go options/servicecontroller.go",
        "controller-manager:pkg/features options config/options pkg/leadermigration/options",
    ),
}
# What k8s.io/apiserver offers to components that are not the API server.
OF_OTHERS = {
    "kube-apiserver": {
        "--authentication-kubeconfig",
        "--authentication-skip-lookup",
        "--authentication-tolerate-lookup-failure",
        "--authorization-always-allow-paths",
        "--authorization-kubeconfig",
        "--kubeconfig",
    },
    "kube-controller-manager": {"--insecure-bind-address", "--insecure-port"},
}
# Flags of types that the release still has and the component does not use any more: by minor release.
UNUSED = {"--address": 24, "--insecure-bind-address": 24, "--insecure-port": 24, "--port": 24}
# Plugins that came with a patch of a minor release; earlier patches of it do not start with the name.
LATE = {"TaintNodesByCondition": 14}  # late patches of 1.12 and 1.13 have it
# klog's, which all components of a release have alike; the scheduler's facts say them release by release.
KLOG = (
    "--add-dir-header", "--alsologtostderr", "--help", "--log-backtrace-at", "--log-dir", "--log-file",
    "--log-file-max-size", "--log-flush-frequency", "--logtostderr", "--one-output", "--skip-headers",
    "--skip-log-headers", "--stderrthreshold", "--v", "--version", "--vmodule",
)  # fmt: skip


def main(releases: list[str]) -> None:
    """Add to the facts about some releases."""
    for release in releases:
        path = FACTS / f"1.{minor_of(release)}.yaml"
        facts = read(path)
        parts = facts["components"]
        for component in OWN:
            found = sources(release, component)
            klog = {name: row for name, row in parts["kube-scheduler"]["flags"].items() if name in KLOG}
            shared = {
                name: {k: row[k] for k in ("type", "deprecated") if k in row} for name, row in klog.items()
            }
            others = OF_OTHERS.get(component, set())
            unused = {name for name, minor in UNUSED.items() if minor_of(release) >= minor}
            rows = {name: _flag(row) for name, row in found["flags"].items() if name not in others | unused}
            parts[component] = {"flags": dict(sorted({**shared, **rows}.items()))}
            if component == "kube-apiserver":
                parts[component]["plugins"] = {
                    name: {"default": on}
                    for name, on in sorted(found["plugins"].items())
                    if minor_of(release) >= LATE.get(name, 0)
                }
            parts[component]["gates"] = {name: gate_row(row) for name, row in sorted(found["gates"].items())}
        facts["components"] = {name: parts[name] for name in COMPONENTS}
        facts["release"] = release
        write(path, facts)
    tables.main()


def sources(release: str, component: str) -> dict[str, Any]:
    """Return what the sources of a release say of a component: ``flags``, ``gates`` and ``plugins``.

    Raises:
        LookupError: a module that the release is made of cannot be had.
    """
    own = _module(KUBERNETES, release)
    places = []
    for line in (*SHARED, *OWN[component]):
        module, _, names = line.partition(":")
        base = (
            own if module == "." else own / "staging/src/k8s.io" / module
        )  # within the module itself to 1.14
        if not base.is_dir():
            if f"k8s.io/{module} " not in (own / "go.mod").read_text():
                continue  # did not exist then
            base = _module(f"k8s.io/{module}", f"v0.{release.removeprefix('v1.')}")
        places += [base / name for name in names.split()]
    there = [str(place) for place in places if place.exists()]
    done = subprocess.run(
        ["go", "run", str(HERE / "reading" / "main.go"), *there],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _module(name: str, version: str) -> Path:
    done = subprocess.run(
        ["go", "mod", "download", "-json", f"{name}@{version}"],
        check=False,
        stdout=subprocess.PIPE,
        text=True,
    )
    answer = json.loads(done.stdout)
    if "Dir" not in answer:  # without its flags, the release would seem to have lost them
        raise LookupError(f"{name} {version} cannot be had: {answer.get('Error', 'go says nothing')}")
    return Path(answer["Dir"])


def _flag(row: dict[str, Any]) -> dict[str, Any]:
    kind = row["type"] or "string"
    names = {"stringSlice": "list(string)", "iP": "ip", "iPNet": "string", "iPSlice": "list(string)"}
    flag: dict[str, Any] = {"type": names.get(kind) or TYPES.get(kind, kind)}
    return {**flag, "deprecated": row["deprecated"]} if row.get("deprecated") else flag


if __name__ == "__main__":
    main(sys.argv[1:])
