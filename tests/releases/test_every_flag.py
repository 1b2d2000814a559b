"""Every flag and every field of every release: what the tables say, and what ``migrate`` makes of it.

``expected/<component>.txt`` is all of it as text, one line for a flag or a field and the releases that have the
same answer. ``python tests/releases/test_every_flag.py`` writes it anew; look at the diff before you commit it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

# As a script, too.
sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import sampling
from flag_values import BESIDE, flag_value
from kubeharden import migrate
from kubeharden.components.settings import Migration
from kubeharden.releases import (
    FIRST,
    LAST,
    Flag,
    Release,
    ReleaseTable,
    admission_plugins,
    find_component,
    release_table,
)

EXPECTED = Path(__file__).parent / "expected"
COMPONENTS = ("kubelet", "kube-proxy", "kube-scheduler")
RELEASES = [Release(1, minor) for minor in range(FIRST.minor, LAST.minor + 1)]
VERDICTS = ("moved", "kept", "dropped", "hardened", "refused")


# (a) the verdicts


def verdicts_on(made: Migration, name: str) -> list[str]:
    """What became of one flag: ``moved to address``, ``kept`` …; a refusal that names no flag counts as its own."""
    found = []
    for verdict in VERDICTS:
        for setting in getattr(made, verdict):
            if setting.flag == name:
                found.append(f"{verdict} to {setting.field}" if setting.field else verdict)
            elif verdict == "refused":
                found.append(f"refused because of {setting.field or setting.flag}")
    return found


@cache
def verdicts(table: ReleaseTable, flag: Flag, beside_a_file: bool = False) -> list[str]:
    """What ``migrate`` makes of a valid value of one flag, hardening nothing."""
    flags = [flag, *(f for name in BESIDE.get(flag.name, ()) if (f := table.flag(name)))]
    argv = [table.component, *(f"{f.name}={flag_value(table, f)}" for f in flags)]
    config = {"kind": table.kind, "apiVersion": table.api_version} if beside_a_file else None
    if beside_a_file:
        argv.append("--config=/c")
    made = migrate(table.component, table.release, argv, config, profile="none")
    return verdicts_on(made, flag.name)


def by_range(answers: Iterable[tuple[Release, str]]) -> Iterator[tuple[str, str]]:
    """Ranges of releases with the same answer, and the answer; an empty one is none.

    One without an end goes on to the newest release, so that a new one shows only where it differs.
    """
    ranges: list[list[Any]] = []
    for release, answer in answers:
        if ranges and ranges[-1][2] == answer and ranges[-1][1].minor + 1 == release.minor:
            ranges[-1][1] = release
        else:
            ranges.append([release, release, answer])
    for first, last, answer in ranges:
        if answer:
            end = "-" if last == LAST else "" if first == last else f"-{last}"
            yield f"{first}{end}", answer


# (b) the snapshot


def flag_facts(table: ReleaseTable, name: str) -> str:
    """What the lookup says of a flag; nothing where the release has never had it."""
    flag = table.flag(name)
    if flag is None:
        removed = table.removed_in(name)
        return f"gone, removed in {removed}" if removed else ""
    said = [flag.type]
    if flag.fields:
        said.append(f"field {' and '.join(flag.fields)}{f' ({flag.part})' if flag.part else ''}")
    if flag.stays:
        said.append("stays a flag")
    if flag.enum:
        said.append(f"one of {', '.join(flag.enum)}")
    if flag.legacy_default is not None:
        said.append(f"without a file {flag.legacy_default!r}")
    if flag.deprecated:
        known = {find_component("kubelet").config.deprecation, "deprecated"}
        said.append("deprecated" if flag.deprecated in known else f"deprecated ({flag.deprecated})")
    return "   ".join(said)


def flag_line(table: ReleaseTable, name: str) -> str:
    """What the lookup says of a flag and what ``migrate`` does with it."""
    facts, flag = flag_facts(table, name), table.flag(name)
    if flag is None or name == "--config":
        return facts
    result = " and ".join(verdicts(table, flag))
    if result == f"moved to {flag.field}" and flag.part is None and len(flag.fields) == 1:
        facts = facts.replace(f"   field {flag.field}", "")  # that is what "moved to" says
    if not table.flags_beside_config_win:
        result += f", beside a file {' and '.join(verdicts(table, flag, beside_a_file=True))}"
    return f"{result:<60} {facts}"


def field_facts(table: ReleaseTable, path: str) -> str:
    field = table.field(path)
    if field is None:
        return ""
    return f"{field.type:<24} default {field.default!r}" if field.default is not None else field.type


def versions(component: str) -> list[str]:
    """The apiVersions of a component, oldest first."""
    return list(dict.fromkeys(v for r in RELEASES for v in release_table(component, r).api_versions))


def tables(component: str, version: str = "") -> list[ReleaseTable]:
    """The tables of the releases that accept an apiVersion, or of all releases."""
    releases = [r for r in RELEASES if not version or version in release_table(component, r).api_versions]
    return [release_table(component, release, version) for release in releases]


def head_lines(made: list[ReleaseTable]) -> Iterator[str]:
    about: dict[str, Callable[[ReleaseTable], str]] = {
        "kind": lambda t: t.kind,
        "apiVersions": lambda t: ", ".join(t.api_versions),
        "unknown keys": lambda t: t.decoding.value,
        "flags beside --config": lambda t: "win" if t.flags_beside_config_win else "are ignored",
    }
    for what, say in about.items():
        for span, answer in by_range((t.release, say(t)) for t in made):
            yield f"{what:<24} {span:<10} {answer}"


def flag_names(component: str) -> list[str]:
    return sorted({name for table in tables(component) for name in table.flags})


def snapshot(component: str, names: Collection[str]) -> str:
    """All that the tables and ``migrate`` say of a component, and of these flags of it."""
    every = tables(component)
    lines = list(head_lines(every))
    lines += ["", "flags"]
    for name in names:
        for span, answer in by_range((t.release, flag_line(t, name)) for t in every):
            lines.append(f"{name:<52} {span:<10} {answer}")
    for version in versions(component):
        lines += ["", f"fields of {version}"]
        accepting = tables(component, version)
        for path in dict.fromkeys(path for table in accepting for path in table.fields):
            for span, answer in by_range((t.release, field_facts(t, path)) for t in accepting):
                lines.append(f"{path:<52} {span:<10} {answer}")
    return "\n".join(line.rstrip() for line in lines) + "\n"


def admission_snapshot() -> str:
    """Which admission plugins of kube-apiserver are on by default, and which are gone."""

    def about(name: str, release: Release) -> str:
        plugins = admission_plugins(release)
        return "gone" if name in plugins.removed else "on by default" if name in plugins.default_on else ""

    every = {n for r in RELEASES for n in (*admission_plugins(r).default_on, *admission_plugins(r).removed)}
    return "".join(
        f"{name:<32} {span:<10} {answer}\n"
        for name in sorted(every)
        for span, answer in by_range((release, about(name, release)) for release in RELEASES)
    )


@pytest.mark.parametrize("component", COMPONENTS)
def test_every_flag_of_every_release_has_exactly_one_verdict_the_reviewed_one(
    component: str, request: pytest.FixtureRequest
) -> None:
    known = flag_names(component)
    names = [known[at] for at in sampling.chosen(len(known), len(known) // 5)]
    for table in tables(component):
        for name in table.flags.keys() & set(names):
            found = verdicts(table, table.flags[name])
            assert len(found) == (name != "--config"), (str(table.release), name, found)
    left_out = set(known) - set(names)
    reviewed = (EXPECTED / f"{component}.txt").read_text().splitlines(keepends=True)
    kept = [line for line in reviewed if line.partition(" ")[0] not in left_out]
    assert snapshot(component, names) == "".join(kept)
    sampling.tell(request.node, "the flags of all releases", len(names), len(known))


def test_the_admission_plugins_are_the_reviewed_ones() -> None:
    assert admission_snapshot() == (EXPECTED / "kube-apiserver.txt").read_text()


if __name__ == "__main__":
    EXPECTED.mkdir(exist_ok=True)
    for each in COMPONENTS:
        (EXPECTED / f"{each}.txt").write_text(snapshot(each, flag_names(each)))
    (EXPECTED / "kube-apiserver.txt").write_text(admission_snapshot())
