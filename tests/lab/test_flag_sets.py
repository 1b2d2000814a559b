"""Random flag sets of 1.20, judged by the 1.20.2 binaries: what they run with before and after the migration.

KUBEHARDEN_FLAG_SETS=300 tries that many command lines of each component instead of 40. A failure names its seed;
KUBEHARDEN_FLAG_SEED=SEED tries that one alone. Kubelets need a node: test_kubelet_flag_sets.py.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from binaries import COMPONENTS, RefusedError, says, usage, written
from flag_domains import (
    ALWAYS,
    NOWHERE,
    WINDOWS,
    command,
    kubelet_command,
    never_tried,
    profile_of,
    seeds,
    table_of,
)
from flag_verdicts import Verdicts, told, unlike
from truth import differences, flat

from kubeharden import migrate
from kubeharden.components.flags import split_flags
from kubeharden.components.values import parse_text
from kubeharden.releases import Flag
from usage_text import Shown

PROXIES = ("kube-proxy", "kube-scheduler")


# The tables against the usage of the binaries

# Type of pflag → types of the tables.
TYPES = {
    "bool": {"bool"},
    "colonSeparatedMultimapStringString": {"map(string,list(string))"},
    "duration": {"duration"},
    "float": {"float", "float64"},
    "float32": {"float", "float32"},
    "int": {"int32", "int64"},
    "int32": {"int32"},
    "ip": {"ip"},
    "ipport": {"address"},
    "Level": {"uint32"},
    "LocalMode": {"enum(string)"},
    "mapStringBool": {"map(string,bool)"},
    "mapStringString": {"map(string,string)"},
    "moduleSpec": {"list({filePattern,verbosity})"},
    "port-range": {"port range"},
    "ProxyMode": {"enum(string)"},
    "severity": {"string"},
    "string": {"string", "ip", "quantity", "list(string)"},
    "strings": {"list(string)"},
    "traceLocation": {"string"},
    "uint": {"uint32"},
    "version[=true]": {"bool"},
    "[]api.Taint": {"list(taint)"},
    "namedCertKey": {"string"},
}
# In the tables, but not in the usage; the binary itself is asked whether it takes them.
HIDDEN = {
    "kubelet": {"--experimental-dockershim-root-directory"},
    "kube-proxy": {"--cleanup-ipvs", "--healthz-port", "--metrics-port"},  # MarkDeprecated hides them
    "kube-scheduler": set(),
}


@pytest.fixture(scope="module", params=COMPONENTS)
def component(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def used(component: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Shown]:
    return usage(component, tmp_path_factory.mktemp("usage"))


def test_the_table_has_the_flags_of_the_usage(component: str, used: dict[str, Shown]) -> None:
    flags = set(table_of(component).flags)
    assert set(used) - flags == set()
    assert flags - set(used) == HIDDEN[component] | WINDOWS[component]
    assert len(used) > 50


def test_the_binary_takes_what_it_does_not_show(component: str, tmp_path: Path) -> None:
    table = table_of(component)
    for name in HIDDEN[component]:
        said = says(component, f"{name}=1", tmp_path)
        assert "unknown flag" not in said
        assert (f"Flag {name} has been deprecated" in said) == bool(table.flags[name].deprecated), said
    for name in WINDOWS[component]:
        assert "unknown flag" in says(component, f"{name}=1", tmp_path), (
            f"{name} is said to be of Windows only"
        )


def test_the_types_are_those_of_the_usage(component: str, used: dict[str, Shown]) -> None:
    wrong = {
        name: (flag.type, table_of(component).flags[name].type)
        for name, flag in used.items()
        if table_of(component).flags[name].type not in TYPES[flag.type]
    }
    assert wrong == {}


def test_the_deprecated_flags_are_those_of_the_usage(component: str, used: dict[str, Shown]) -> None:
    """The kubelet's usage says so; kube-proxy hides such flags, and kube-scheduler has none that warns."""
    table = table_of(component)
    assert {name for name, flag in used.items() if flag.deprecated} == {
        name for name in used if table.flags[name].deprecated
    }


def test_the_defaults_are_those_of_the_usage(component: str, used: dict[str, Shown]) -> None:
    table = table_of(component)
    compared = 0
    wrong = {}
    for name, shown in used.items():
        flag = table.flags[name]
        known = table.field(flag.field) if flag.field else None
        default = flag.legacy_default if flag.legacy_default is not None else known and known.default
        if shown.default is None or default is None:
            continue
        compared += 1
        if _shown_default(shown.default, flag) != _default_of(default, flag):
            wrong[name] = (shown.default, default)
    assert wrong == {}
    assert compared >= {"kubelet": 55, "kube-proxy": 15, "kube-scheduler": 12}[component]


def _shown_default(text: str, flag: Flag) -> Any:
    """A default as pflag prints it: strings in quotes, lists in brackets, each in its flag's notation."""
    text = text.strip('"')
    if flag.type == "list(string)":
        text = text.strip("[]")
    separator = "<" if flag.name == "--eviction-hard" else "="
    return parse_text(flag.type, text, separator)


def _default_of(default: Any, flag: Flag) -> Any:
    """A field's default as far as the flag gives it: ``--port`` is the second part of an address."""
    if flag.part == "port":
        return int(str(default).rpartition(":")[2])
    return str(default).rpartition(":")[0] if flag.part == "host" else default


# Random flag sets


@pytest.mark.parametrize("component", PROXIES)
def test_kube_proxy_and_the_scheduler_run_with_the_same_afterwards(
    component: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    def judge(seed: int) -> str:
        folder = tmp_path / str(seed)
        folder.mkdir()
        argv = command(component, seed, folder)
        try:
            before = written(component, argv[1:], folder)
        except RefusedError as error:
            return f"the generator's fault: {component} does not start with {argv}: {error}"
        migration = migrate(
            component, "1.20", argv, profile=profile_of(seed), config_path=str(folder / "its config.yaml")
        )
        unsaid = [s for s in migration.refused if s.flag in CANNOT_BE_SAID[component] and _is_zero(s.value)]
        if migration.refused:
            return "" if unsaid == migration.refused else f"refused: {migration.refused} of {argv}"
        (folder / "its config.yaml").write_text(migration.yaml)
        try:
            after = written(component, migration.argv[1:], folder)
        except RefusedError as error:
            return f"does not start afterwards: {error}\n{argv}\n{migration.argv}\n{migration.yaml}"
        wrong = {
            "changed": differences(flat(before), flat(after)),
            "before is not what we think": unlike(migration.before, before),
            "after is not what we think": unlike(migration.after, after),
        }
        return told(wrong, f"{argv}\n{migration.argv}\n{migration.yaml}")

    record_property("seeds", seeds())
    Verdicts().of(seeds(), judge).check()


# Flags whose zero has no equal in the file, so that migrate refuses them; that it does right in that is tested below.
CANNOT_BE_SAID = {"kube-proxy": {"--iptables-min-sync-period"}, "kube-scheduler": {"--port"}}


@pytest.mark.parametrize(
    ("component", "words", "says", "becomes"),
    [
        ("kube-proxy", ["--iptables-min-sync-period=0"], {"iptables": {"minSyncPeriod": "0s"}}, "1s"),
        ("kube-scheduler", ["--port=0"], {"healthzBindAddress": ""}, "0.0.0.0:10251"),
        ("kube-scheduler", ["--port=0"], {"healthzBindAddress": "0.0.0.0:0"}, "must be between 1 and 65535"),
    ],
)
def test_what_migrate_refuses_cannot_be_said(
    component: str, words: list[str], says: dict[str, Any], becomes: str, tmp_path: Path
) -> None:
    table = table_of(component)
    [path] = flat(says)
    (tmp_path / "nowhere").write_text(NOWHERE)
    content = {
        "kind": table.kind,
        "apiVersion": table.api_version,
        "clientConnection": {"kubeconfig": str(tmp_path / "nowhere")},
        **says,
    }
    (tmp_path / "config").write_text(yaml.safe_dump(content))
    argv = [component, f"--kubeconfig={tmp_path / 'nowhere'}", *words]
    assert [s.flag for s in migrate(component, "1.20", argv).refused] == [words[0].partition("=")[0]]
    assert flat(written(component, argv[1:], tmp_path))[path] in ("0s", "")
    try:
        got = str(flat(written(component, [f"--config={tmp_path / 'config'}"], tmp_path))[path])
    except RefusedError as error:
        got = str(error)
    assert becomes in got


def _is_zero(value: Any) -> bool:
    return value in {0, "0s", ""}


def test_no_flag_is_forgotten(tmp_path: Path) -> None:
    """Every flag of each table is on one of the command lines, or it is said why not."""
    for component in COMPONENTS:
        tried = set()
        for seed in range(ALWAYS):
            argv = kubelet_command(seed) if component == "kubelet" else command(component, seed, tmp_path)
            tried |= {use.name for use in split_flags(argv[1:], table_of(component))}
        assert never_tried(component, tried) == set(), component
