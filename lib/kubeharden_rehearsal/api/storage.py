"""Where stored objects lie: by kind, namespace and name, with every write numbered."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator

from kubeharden_rehearsal.api.catalog import Resource
from kubeharden_rehearsal.api.changes import Change, ChangeLog
from kubeharden_rehearsal.api.paging import Key, Page, Snapshot, Snapshots, Stored
from kubeharden_rehearsal.api.selectors import Matcher


class Storage:
    """Objects of the given kinds, as etcd keeps them.

    Attributes:
        version: the number of the latest write, which is the resourceVersion of what it wrote.
    """

    def __init__(self, kinds: Iterable[str]) -> None:
        self.version = 0
        self._objects: dict[str, dict[Key, Stored]] = {kind: {} for kind in kinds}
        self._keys: dict[str, list[Key]] = {kind: [] for kind in self._objects}
        self._log = ChangeLog()
        self._snapshots = Snapshots()

    def __iter__(self) -> Iterator[Stored]:
        """All objects, in order of kind, namespace and name."""
        for kind, keys in self._keys.items():
            for key in keys:
                yield self._objects[kind][key]

    def find(self, kind: str, name: str, namespace: str) -> Stored | None:
        """One object; None when it is not there."""
        return self._objects[kind].get((namespace, name))

    def names(self, kind: str) -> list[str]:
        """The names of all objects of a kind."""
        return [name for _, name in self._keys[kind]]

    def within(self, namespace: str) -> list[Stored]:
        """Every object that lies in a namespace."""
        return [stored for stored in self if stored.key[0] == namespace]

    def seed(self, stored: Stored) -> None:
        """Put an object in, in the place of the one that is there, if any.

        It is a write like any other, unless the object brings a resourceVersion: then that is kept,
        and the past is forgotten, for the numbers of the writes have a gap now.
        """
        kind, key = stored.resource.kind, stored.key
        old = self._objects[kind].get(key)
        version = stored.data["metadata"].get("resourceVersion")
        if version is None:
            if old is None:
                self.add(stored)
            else:
                self.put(stored, old)
            return
        self.version = max(self.version, int(version))
        self._objects[kind][key] = stored
        if old is None:
            insort(self._keys[kind], key)
        self.compact()

    def add(self, stored: Stored) -> None:
        """Write a new object."""
        self._number("ADDED", stored, None)
        self._objects[stored.resource.kind][stored.key] = stored
        insort(self._keys[stored.resource.kind], stored.key)

    def put(self, stored: Stored, old: Stored) -> None:
        """Write an object in the place of its older state."""
        self._number("MODIFIED", stored, old)
        self._objects[stored.resource.kind][stored.key] = stored

    def remove(self, stored: Stored, old: Stored) -> None:
        """Take an object away; ``stored`` is its last state."""
        self._number("DELETED", stored, old)
        del self._objects[stored.resource.kind][stored.key]
        keys = self._keys[stored.resource.kind]
        del keys[bisect_left(keys, stored.key)]

    def page(
        self, resource: Resource, namespace: str, matches: Matcher | None, limit: int, token: str
    ) -> Page:
        """A page of a list.

        Raises:
            ApiError: 410, the token is unknown or too old.
        """
        return self._snapshots.page(
            resource,
            lambda: self._snapshot(resource.kind),
            namespace=namespace,
            matches=matches,
            limit=limit,
            token=token,
        )

    def changes_since(self, version: int) -> list[Change]:
        """All writes after a version.

        Raises:
            ApiError: 410, they have been forgotten.
        """
        return self._log.since(version)

    def compact(self) -> None:
        """Forget the past: older watches and unfinished lists get 410."""
        self._log.compact(self.version)
        self._snapshots.clear()

    def _number(self, change: str, stored: Stored, old: Stored | None) -> None:
        self.version += 1
        stored.data["metadata"]["resourceVersion"] = str(self.version)
        self._log.append(Change(change, stored, old))

    def _snapshot(self, kind: str) -> Snapshot:
        keys = list(self._keys[kind])
        objects = self._objects[kind]
        return Snapshot(keys, [objects[key] for key in keys], self.version)
