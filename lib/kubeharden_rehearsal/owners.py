"""The owners of a node's files, and who may read them.

The files belong to the user who runs the rehearsal, so owners are kept in a table beside the tree. It goes by
inode, so that an owner stays with its file when ``mv`` renames it, as transaction.sh does. An inode that was
freed and given to another file is told by path and time of modification.
"""

from __future__ import annotations

import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from kubeharden_rehearsal.atomic import write_atomically

ROOT = ("root", "root")
_READ, _SEARCH = 4, 1


@dataclass(frozen=True)
class _Row:
    path: str
    modified: int
    owner: str
    group: str


class Owners:
    """The owners in one node's tree that are not root."""

    def __init__(self, root: Path, table: Path) -> None:
        self._root, self._table = root, table
        self._rows: dict[int, _Row] = {}
        if table.exists():
            rows = json.loads(table.read_text(encoding="utf-8"))
            self._rows = {int(inode): _Row(*row) for inode, row in rows.items()}

    def get(self, path: Path) -> tuple[str, str]:
        """Return owner and group of a file or folder, by its path on the host; a FileNotFoundError without one."""
        status = path.stat()
        row = self._rows.get(status.st_ino)
        if row is None or (row.path != str(path) and row.modified != status.st_mtime_ns):
            return ROOT
        return row.owner, row.group

    def set(self, path: Path, owner: str, group: str) -> None:
        """Set owner and group; a FileNotFoundError where there is no such file."""
        status = path.stat()
        if (owner, group) == ROOT:
            self._rows.pop(status.st_ino, None)
        else:
            self._rows[status.st_ino] = _Row(str(path), status.st_mtime_ns, owner, group)
        rows = {inode: [row.path, row.modified, row.owner, row.group] for inode, row in self._rows.items()}
        write_atomically(self._table, json.dumps(rows))

    def check_readable(self, path: str, user: str, groups: tuple[str, ...]) -> None:
        """Check that a user, who is in these groups, may read the file at a path of the node.

        Raises:
            FileNotFoundError: there is no such file.
            PermissionError: the user may not read it, or may not enter a folder above it.
        """
        target = self._root / path.lstrip("/")
        folders = [p for p in target.parents if p.is_relative_to(self._root)][:-1]
        for folder in reversed(folders):
            if not self._may(folder, user, groups, _SEARCH):
                raise PermissionError(path)
        if not self._may(target, user, groups, _READ):
            raise PermissionError(path)

    def _may(self, path: Path, user: str, groups: tuple[str, ...], bit: int) -> bool:
        mode = stat.S_IMODE(os.stat(path).st_mode)  # noqa: PTH116 - follows links, like open()
        if user == "root":
            return True
        owner, group = self.get(path)
        shift = 6 if user == owner else 3 if group in groups else 0
        return bool(mode >> shift & bit)
