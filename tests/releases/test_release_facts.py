"""The tables come from the facts, and the facts about one more release from what an experiment prints."""

from __future__ import annotations

import copy
import json
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubeharden.releases import LAST
from kubeharden.releases.files import LOADER
from release_facts import reading, tables
from release_facts.condense import condense
from release_facts.files import FACTS, read, read_all, row, write
from release_facts.module import go_mod
from release_facts.release import record


def test_make_tables_changes_nothing() -> None:
    for name, text in tables.tables(read_all()).items():
        assert (tables.TABLES / name).read_text() == text, f"{name} is not what its facts say: make tables"


def test_a_row_that_is_taken_out_comes_back(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for made in tables.TABLES.glob("*.yaml"):
        shutil.copy(made, tmp_path)
    path = tmp_path / "kube-proxy.yaml"
    whole = path.read_text()
    path.write_text("".join(line for line in whole.splitlines(keepends=True) if "--proxy-mode" not in line))
    monkeypatch.setattr(tables, "TABLES", tmp_path)
    tables.main()
    assert path.read_text() == whole


@pytest.mark.parametrize("path", sorted(FACTS.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_file_of_facts_is_written_as_it_is_read(path: Path, tmp_path: Path) -> None:
    write(tmp_path / "again.yaml", read(path))
    assert (tmp_path / "again.yaml").read_text() == path.read_text()


def test_spans_begin_where_something_changes_and_end_where_it_is_gone() -> None:
    made = tables.history(
        {
            10: {"a": {"type": "x"}, "b": {"type": "x"}},
            11: {"a": {"type": "x"}, "c": {"type": "x"}},
            12: {"a": {"type": "y"}, "b": {"type": "x"}, "c": {"type": "x"}},
        }
    )
    assert made == {
        "a": [{"until": "1.12", "type": "x"}, {"since": "1.12", "type": "y"}],
        "b": [{"until": "1.11", "type": "x"}, {"since": "1.12", "type": "x"}],
        "c": [{"since": "1.11", "type": "x"}],
    }


def test_a_fact_stands_on_one_line_whatever_is_in_it() -> None:
    value = {"deprecated": "long: " + "word " * 60, "default": {"a": "1%"}, "enum": ["true", "no"]}
    assert "\n" not in row(value)
    assert yaml.safe_load(row(value)) == value


OWN = """module k8s.io/kubernetes

go 1.26.0

godebug default=go1.26

require (
	k8s.io/api v0.0.0
	github.com/a/b v1.0.0
)

replace (
	k8s.io/api => ./staging/src/k8s.io/api
	github.com/a/b => github.com/a/b v0.9.0
)
"""


def test_the_staging_modules_are_those_published_beside_the_release() -> None:
    made = go_mod("v1.38.2", OWN)
    assert "require k8s.io/kubernetes v1.38.2" in made
    assert "\tk8s.io/api => k8s.io/api v0.38.2\n" in made
    assert "\tgithub.com/a/b => github.com/a/b v0.9.0\n" in made
    assert "go 1.26.0\ngodebug default=go1.26" in made
    assert "reflect2" not in made


def test_old_releases_get_what_they_need_to_compile_today() -> None:
    assert "github.com/modern-go/reflect2 => github.com/modern-go/reflect2 v1.0.2" in go_mod("v1.20.15", OWN)


VERSION = "kubeproxy.config.k8s.io/v1alpha1"


def found() -> dict[str, Any]:
    """What an experiment prints about a kube-proxy with few flags."""
    return {
        "component": "kube-proxy",
        "version": "v1.38.0",
        "kind": "KubeProxyConfiguration",
        "unknown": "lenient",
        "configs": {
            VERSION: {
                "mode": {"place": 0, "type": "string", "default": "nftables"},
                "pace": {"place": 1, "type": "duration", "default": "1s"},
                "level": {"place": 2, "type": "int32"},
            }
        },
        "withoutFile": {VERSION: {"pace": "2s"}},
        "flags": {
            "--pace": {
                "type": "duration",
                "tried": "17s",
                "sets": {VERSION: {"pace": "17s"}},
                "with": {"--proxy-mode=ipvs": None},
            },
            "--proxy-mode": {
                "type": "ProxyMode",
                "tried": "ipvs",
                "sets": {VERSION: {"mode": "ipvs", "level": 1}},
            },
            "--words": {"type": "stringSlice", "tried": "true"},
            "--port": {"type": "int32", "tried": "7", "deprecated": "use --address"},
        },
        "gates": {"New": {"default": False, "stage": "ALPHA"}, "Old": {"default": True, "locked": True}},
    }


BEFORE = {
    "flags_beside_config": "ignored",
    "flags": {
        "--port": {"type": "int32", "field": "address", "part": "port"},
        "--proxy-mode": {"type": "enum(string)", "field": "mode", "enum": ["iptables", "ipvs"]},
        "--source-vip": {"type": "string", "field": "winkernel.sourceVip"},
        "--gone": {"type": "bool"},
    },
    "apiVersions": {VERSION: {"level": {"type": "int32", "default": 0}, "mode": {"type": "enum(string)"}}},
}


def test_what_an_experiment_finds_becomes_facts_in_the_words_of_the_tables() -> None:
    facts = condense(found(), BEFORE, "")
    assert facts["flags"] == {
        "--pace": {
            "type": "duration",
            "field": "pace",
            "with": {"--proxy-mode": {"ipvs": []}},
            "legacy_default": "2s",
        },
        # It gives way to the port that the address has: what it would set is known from before.
        "--port": {"type": "int32", "field": "address", "part": "port", "deprecated": "use --address"},
        "--proxy-mode": {"type": "enum(string)", "field": "mode", "enum": ["iptables", "ipvs"]},
        # Of Windows, and not seen on Linux.
        "--source-vip": {"type": "string", "field": "winkernel.sourceVip"},
        "--words": {"type": "list(string)", "stays": True},
    }
    assert facts["apiVersions"] == {
        VERSION: {
            "level": {"type": "int32", "default": 0},
            "mode": {"type": "enum(string)", "default": "nftables"},
            "pace": {"type": "duration", "default": "1s"},
        }
    }
    assert facts["gates"] == {
        "New": {"default": False, "stage": "ALPHA"},
        "Old": {"default": True, "locked": True},
    }


def test_one_more_release_is_one_more_file_and_the_tables_know_it(tmp_path: Path) -> None:
    """The steps of docs/howto/release.md, with the newest release found once more under the next number."""
    for path in FACTS.glob("*.yaml"):
        shutil.copy(path, tmp_path)
    following = f"v1.{LAST.minor + 1}.0"
    parts = read(FACTS / f"{LAST}.yaml")["components"]
    printed = {name: _as_printed(name, copy.deepcopy(part)) for name, part in parts.items()}
    printed["kubelet"]["flags"].pop("--max-pods")
    record(following, printed, tmp_path)
    made = yaml.load(tables.tables(read_all(tmp_path))["kubelet.yaml"], Loader=LOADER)
    assert made["flags"]["--max-pods"][-1]["until"] == f"1.{LAST.minor + 1}"
    assert "until" not in made["flags"]["--address"][-1]


def _as_printed(component: str, facts: dict[str, Any]) -> dict[str, Any]:
    """Facts as an experiment that found the same would print them."""
    flags = {
        name: {
            "type": each["type"],
            "deprecated": each.get("deprecated") if each.get("deprecated") is not True else "",
        }
        for name, each in facts["flags"].items()
    }
    made = {"component": component, "flags": flags, "gates": facts.get("gates")}
    if "apiVersions" in facts:
        made |= {"kind": facts["kind"], "unknown": facts["decoding"]}
        made["configs"] = {
            version: {path: {"place": place, **field} for place, (path, field) in enumerate(fields.items())}
            for version, fields in facts["apiVersions"].items()
        }
    return made


def test_a_module_of_a_release_that_cannot_be_had_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its flags would seem to be gone in that release: readiness would say that the component does not start."""
    (tmp_path / "go.mod").write_text("require (\n\tk8s.io/component-base v0.0.0\n)\n")
    said = {"k8s.io/kubernetes": {"Dir": str(tmp_path)}, "k8s.io/component-base": {"Error": "403 Forbidden"}}

    def go(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 0, json.dumps(said[command[-1].partition("@")[0]]))

    monkeypatch.setattr(subprocess, "run", go)
    with pytest.raises(LookupError, match=r"k8s.io/component-base v0.38.0 cannot be had: 403 Forbidden"):
        reading.sources("v1.38.0", "kube-controller-manager")


def test_a_flag_that_goes_does_not_come_back() -> None:
    """A release between two that have a flag has it, too; where it seems not to, its facts are incomplete."""
    for component in ("kubelet", "kube-proxy", "kube-scheduler", "kube-apiserver", "kube-controller-manager"):
        flags = yaml.load((tables.TABLES / f"{component}.yaml").read_text(), Loader=LOADER)["flags"]
        for name, rows in flags.items():
            for one, following in pairwise(rows):
                assert one["until"] == following["since"], (component, name)
