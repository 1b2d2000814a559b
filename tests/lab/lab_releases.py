"""What the lab is on each release: see releases.yaml."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from kubeharden.releases import Release, flag_table, known_components, release_table

TABLE = Path(__file__).parent / "releases.yaml"


@dataclass(frozen=True)
class LabRelease:
    """One row of the table."""

    release: Release
    version: str
    source: str
    runtime: str
    pause: str
    pod_security: tuple[str, ...]
    why: str

    @property
    def service(self) -> str:
        """The container runtime's unit."""
        return _table()["runtimes"][self.runtime]["service"]

    @property
    def load(self) -> str:
        """The command that reads an image from standard input."""
        return _table()["runtimes"][self.runtime]["load"]

    def files(self, node: int) -> dict[str, str]:
        """Path → text of what differs by runtime or by release on the node of that number."""
        of_runtime = _table()["runtimes"][self.runtime]["files"]
        by_hand = {
            path: row["text"] for path, row in _table()["files"].items() if self._takes(row, node=node)
        }
        return {path: text.replace("{pause}", self.pause) for path, text in {**of_runtime, **by_hand}.items()}

    def words(self, component: str, node: int, **values: str) -> list[str]:
        """The words of a component's command line on the node of that number."""
        known = self._flags(component)
        rows = (row if isinstance(row, dict) else {"word": row} for row in _table()["units"][component])
        words = [row["word"] for row in rows if self._takes(row, node=node)]
        values |= {"pause": self.pause, "pki": "/etc/kubernetes/pki"}
        return [word.format_map(values) for word in words if word.split("=")[0].split()[0] in known]

    def configz(self) -> Iterator[tuple[str, str, bool]]:
        """Component, URL of its effective configuration, and whether the administrator's certificate is asked for."""
        for component, rows in _table()["configz"].items():
            for row in rows if isinstance(rows, list) else [rows]:
                if self._takes(row):
                    yield component, row["url"], "user" in row

    def _flags(self, component: str) -> set[str]:
        [row] = [row for row in known_components() if row.name == component]
        table = (
            flag_table(component, self.release)
            if row.config is None
            else release_table(component, self.release)
        )
        assert table is not None, component
        return set(table.flags)

    def _takes(self, row: Mapping[str, Any], node: int | None = None) -> bool:
        since, until = row.get("since"), row.get("until")
        return (
            (since is None or self.release >= Release.parse(since))
            and (until is None or self.release < Release.parse(until))
            and row.get("node") in (None, node)
        )


@cache
def _table() -> dict[str, Any]:
    return yaml.safe_load(TABLE.read_text())


@cache
def lab_releases() -> dict[str, LabRelease]:
    """Every release of the lab, oldest first, by its name such as ``1.37``."""
    return {
        name: LabRelease(Release.parse(name), **{**row, "pod_security": tuple(row["pod_security"])})
        for name, row in _table()["releases"].items()
    }


def find_release(name: str) -> LabRelease:
    """The release of that name; ``oldest`` and ``newest`` are names, too."""
    known = lab_releases()
    names = {**known, "oldest": next(iter(known.values())), "newest": next(reversed(known.values()))}
    if name not in names:
        raise SystemExit(f"{name} is not a release of the lab; it has {', '.join(names)}")
    return names[name]
