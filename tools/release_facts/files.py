"""The files of facts: one for each minor release, a line for each flag, field, feature gate and admission plugin."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

FACTS = Path(__file__).resolve().parent / "facts"
DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
# Rows stand on a line of their own, so that a change of a release can be read.
_ROWS = {"flags", "gates", "plugins"}  # and the fields of an apiVersion, which has a slash

Facts = dict[str, Any]


def minor_of(release: str) -> int:
    """Return the number 37 of ``1.37`` or ``v1.37.2``."""
    return int(release.split(".")[1])


def read(path: Path) -> Facts:
    """Return the facts in a file."""
    loaded: Facts = yaml.load(path.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    return loaded


def read_all(folder: Path = FACTS) -> dict[int, Facts]:
    """Return all facts by minor release, oldest first."""
    return dict(sorted((minor_of(path.stem), read(path)) for path in folder.glob("*.yaml")))


def write(path: Path, facts: Facts) -> None:
    """Write the facts about a release."""
    path.write_text("\n".join(_lines(facts, 0)) + "\n")


def row(value: Any) -> str:
    """Return a value as YAML on one line."""
    text: str = yaml.dump(
        value, Dumper=DUMPER, default_flow_style=True, width=1_000_000, sort_keys=False, allow_unicode=True
    )
    return text.removesuffix("\n").removesuffix("\n...")


def _lines(value: dict[str, Any], depth: int, *, rows: bool = False) -> list[str]:
    lines = []
    for key, inner in value.items():
        head = f"{'  ' * depth}{row(key)}:"
        if isinstance(inner, dict) and inner and not rows:
            lines += [head, *_lines(inner, depth + 1, rows=key in _ROWS or "/" in key)]
        else:
            lines.append(f"{head} {row(inner)}")
    return lines
