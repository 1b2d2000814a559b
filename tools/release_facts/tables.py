"""Make the release tables of the library from the facts, and from nothing else.

    python -m release_facts.tables

A table says of each flag, field, feature gate and admission plugin what holds from which release on: rows of equal
releases are one row. The first and the last release are those of the facts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from release_facts.files import FACTS, Facts, read_all, row

TABLES = Path(__file__).resolve().parents[2] / "lib" / "kubeharden" / "releases"
HEAD = "# Made by `make tables` from the facts about each release in tools/release_facts/facts. Do not edit by hand.\n"
GATES = "feature-gates.yaml"

Spans = list[dict[str, Any]]


def main() -> None:
    """Write every table."""
    for name, text in tables(read_all(FACTS)).items():
        (TABLES / name).write_text(text)


def tables(facts: Mapping[int, Facts]) -> dict[str, str]:
    """Return the tables by file name.

    Args:
        facts: by minor release, oldest first, without a gap.
    """
    made = {"releases.yaml": _releases(facts)}
    gates: dict[int, Any] = {}
    for component in sorted({name for each in facts.values() for name in each["components"]}):
        by_minor = {minor: each["components"].get(component, {}) for minor, each in facts.items()}
        made[f"{component}.yaml"] = HEAD + _component(component, by_minor)
        for minor, each in by_minor.items():
            gates.setdefault(minor, {}).update(each.get("gates", {}))
    if any(gates.values()):
        made[GATES] = HEAD + "\n".join(_rows(history(gates), 0)) + "\n"
    return made


def history(by_minor: Mapping[int, Mapping[str, Any]]) -> dict[str, Spans]:
    """Return the facts about each name as spans of releases: ``since``, ``until`` (exclusive), and what holds then.

    ``since`` is missing where the name is in the oldest release, ``until`` where it is in the newest. A release of
    which nothing at all is known (an empty mapping) is taken for one like the release before.
    """
    names = _in_order(by_minor.values())
    first = next((minor for minor, rows in by_minor.items() if rows), None)
    return {
        name: _spans({minor: rows.get(name) for minor, rows in by_minor.items() if rows}, first)
        for name in names
    }


def _in_order(each: Iterable[Iterable[str]]) -> list[str]:
    """All names in the order that they have in their releases; a new one stands behind its predecessor there."""
    order: list[str] = []
    for names in each:
        place = 0
        for name in names:
            if name in order:
                place = order.index(name) + 1
            else:
                order.insert(place, name)
                place += 1
    return order


def _spans(by_minor: Mapping[int, Any], first: int | None) -> Spans:
    spans: Spans = []
    before = None
    for minor, what in by_minor.items():
        if what == before:
            continue
        if before is not None:
            spans[-1]["until"] = f"1.{minor}"
        if what is not None:
            since = {} if minor == first else {"since": f"1.{minor}"}
            spans.append({**since, **what})
        before = what
    # `until` is read beside `since`, whatever a row says.
    keys = ("since", "until")
    return [
        {
            **{key: span[key] for key in keys if key in span},
            **{k: v for k, v in span.items() if k not in keys},
        }
        for span in spans
    ]


def _component(component: str, by_minor: Mapping[int, Any]) -> str:
    lines = [f"component: {component}"]
    lines += [
        f"{key}: {value}"
        for key in ("kind", "flags_beside_config")
        for value in {each[key] for each in by_minor.values() if key in each}
    ]
    versions: dict[int, dict[str, Any]] = {
        minor: {name: {} for name in each.get("apiVersions", ())} for minor, each in by_minor.items()
    }
    if any(versions.values()):
        order = list(dict.fromkeys(name for names in versions.values() for name in names))
        spans = history(versions)
        lines += ["apiVersions:", *_rows({name: spans[name] for name in order}, 1)]
        modes = {minor: {"mode": {"mode": each["decoding"]}} for minor, each in by_minor.items()}
        lines += _list("decoding", history(modes)["mode"], 0)
        fields = {
            name: history(
                {minor: each["apiVersions"].get(name, {"": None}) for minor, each in by_minor.items()}
            )
            for name in order
        }
        lines.append("fields:")
        for name in order:
            fields[name].pop("", None)
            lines += [f"  {row(name)}:", *_rows(fields[name], 2)]
    for what in ("flags", "plugins"):
        known = {minor: each.get(what, {}) for minor, each in by_minor.items()}
        if any(known.values()):
            lines += [f"{what}:", *_rows(history(known), 1)]
    return "\n".join(lines) + "\n"


def _releases(facts: Mapping[int, Facts]) -> str:
    rows = {
        f"1.{minor}": {"release": each["release"], "source": each["source"]} for minor, each in facts.items()
    }
    return HEAD + "\n".join(f"{row(name)}: {row(what)}" for name, what in rows.items()) + "\n"


def _rows(rows: Mapping[str, Spans], depth: int) -> list[str]:
    return [line for name, spans in rows.items() for line in _list(name, spans, depth)]


def _list(name: str, spans: Spans, depth: int) -> list[str]:
    indent = "  " * depth
    if len(spans) == 1:
        return [f"{indent}{row(name)}: [{row(spans[0])}]"]
    return [f"{indent}{row(name)}:", *(f"{indent}- {row(span)}" for span in spans)]


if __name__ == "__main__":
    main()
