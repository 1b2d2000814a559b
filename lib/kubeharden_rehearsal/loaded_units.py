"""Unit files as a rehearsal node's systemd has loaded them, which is how they were at the last reload."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubeharden.components.commands import mark_specifiers, with_values
from kubeharden.components.units import Service, Unit, unit_specifiers

FOLDERS = ("etc/systemd/system", "run/systemd/system", "usr/lib/systemd/system", "lib/systemd/system")
_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*([a-zµ]*)")
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "hr": 3600}


@dataclass(frozen=True)
class LoadedUnit:
    """The text of a unit and its drop-ins.

    Attributes:
        files: path, text and stamp of every file, the fragment first. The stamp tells whether the file
            was changed after it was loaded.
    """

    fragment: str
    files: tuple[tuple[str, str, str], ...]
    masked: bool = False

    def service(self, root: Path) -> Service:
        """Return the service with its environment files as they are on disk now."""
        names = (value.removeprefix("-").lstrip("/") for value in self.environment_files(root.name))
        found = (path for name in names for path in root.glob(name) if path.is_file())
        texts = {f"/{path.relative_to(root)}": path.read_text(encoding="utf-8") for path in found}
        return Service(self._texts(), texts, self._specifiers(root.name))

    def environment_files(self, host: str) -> list[str]:
        """Return the values of ``EnvironmentFile=`` in force, on a node of that name."""
        values = self.values("Service", "EnvironmentFile")
        return [with_values(mark_specifiers(value), self._specifiers(host)) for value in values]

    def _specifiers(self, host: str) -> dict[str, str]:
        return {**unit_specifiers(self.fragment.rpartition("/")[2]), "H": host}

    def _texts(self) -> tuple[tuple[str, Unit], ...]:
        return tuple((path, Unit.parse(text)) for path, text, _ in self.files)

    def values(self, section: str, key: str) -> list[str]:
        """Return the values in force of a directive."""
        return Service(self._texts(), {}).values(section, key)

    def value(self, section: str, key: str, default: str = "") -> str:
        """Return the last value in force of a directive."""
        return (self.values(section, key) or [default])[-1]

    def words(self, section: str, key: str) -> list[str]:
        """Return the words of all values in force, for lists of units."""
        return [word for value in self.values(section, key) for word in value.split()]

    @property
    def drop_ins(self) -> list[str]:
        """Return the paths of the drop-ins."""
        return [path for path, _, _ in self.files[1:]]

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> LoadedUnit:
        """Read what ``asdict`` made."""
        files = tuple((path, text, stamp) for path, text, stamp in data["files"])
        return cls(data["fragment"], files, data["masked"])


def load(root: Path, name: str) -> LoadedUnit | None:
    """Read a unit from a node's tree; None where it does not exist."""
    for folder in FOLDERS:
        path = root / folder / name
        if path.is_symlink() and str(path.readlink()) == os.devnull:
            return LoadedUnit(f"/{folder}/{name}", (), masked=True)
        if path.is_file():
            files = [path, *_drop_ins(root, name)]
            return LoadedUnit(
                f"/{folder}/{name}",
                tuple((f"/{p.relative_to(root)}", p.read_text(encoding="utf-8"), _stamp(p)) for p in files),
            )
    return None


def changed_on_disk(root: Path, name: str, loaded: LoadedUnit) -> bool:
    """Return whether the files are no longer those that were loaded (``NeedDaemonReload``)."""
    now = load(root, name)
    return now is None or [file[::2] for file in now.files] != [file[::2] for file in loaded.files]


def names(root: Path) -> list[str]:
    """Return the services that have a unit file."""
    found = (path.name for folder in FOLDERS for path in (root / folder).glob("*.service"))
    return sorted({name for name in found if "@" not in name})


def _drop_ins(root: Path, name: str) -> list[Path]:
    found: dict[str, Path] = {}
    for folder in reversed(FOLDERS):
        found |= {path.name: path for path in (root / folder / f"{name}.d").glob("*.conf")}
    return [found[key] for key in sorted(found)]


def _stamp(path: Path) -> str:
    status = path.stat()
    return f"{status.st_mtime_ns}/{status.st_ino}/{status.st_size}"


def seconds(span: str, default: float) -> float:
    """Return a time span of systemd.time(7), ``10s``, ``1min 30s`` or ``5``, in seconds."""
    parts = _SPAN.findall(span)
    if not parts:
        return default
    return sum(float(number) * _SECONDS.get(unit, 1) for number, unit in parts)
