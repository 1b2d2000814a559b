"""The stream of a watch."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator

from kubeharden_rehearsal.api.catalog import Resource
from kubeharden_rehearsal.api.changes import Change
from kubeharden_rehearsal.api.paging import Stored
from kubeharden_rehearsal.api.selectors import Matcher
from kubeharden_rehearsal.api.status import ApiError
from kubeharden_rehearsal.store import ObjectStore


class Watch:
    """One client's watch of one resource.

    Args:
        store: what is watched.
        resource: the kind, in the version that the client reads.
        namespace: empty for all.
        matches: the client's selectors; None for all objects.
    """

    def __init__(
        self, store: ObjectStore, resource: Resource, namespace: str, matches: Matcher | None
    ) -> None:
        self._store = store
        self._resource = resource
        self._namespace = namespace
        self._matches = matches
        self._changed = asyncio.Event()
        self._stopped = False

    def wake(self) -> None:
        """Look for changes; to be called in the loop of ``lines``."""
        self._changed.set()

    def stop(self) -> None:
        """End the stream."""
        self._stopped = True
        self._changed.set()

    async def lines(self, resource_version: int, timeout: float) -> AsyncIterator[str]:
        """The events, a line of JSON each.

        Args:
            resource_version: tell of the writes after it; 0: begin with the objects there are.
            timeout: seconds until the stream ends.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        if not resource_version:
            page = self._store.page(self._resource, self._namespace, matches=self._matches)
            resource_version = page.resource_version
            for stored in page.items:
                yield self._line("ADDED", stored)
        while not self._stopped:
            self._changed.clear()
            try:
                changes = self._store.changes_since(resource_version)
            except ApiError as error:
                yield json.dumps({"type": "ERROR", "object": error.status()}) + "\n"
                return
            resource_version += len(changes)
            for line in self._tell(changes):
                yield line
            try:
                async with asyncio.timeout_at(deadline):
                    await self._changed.wait()
            except TimeoutError:
                return

    def _tell(self, changes: list[Change]) -> Iterator[str]:
        for change in changes:
            stored = change.stored
            if stored.resource.kind != self._resource.kind:
                continue
            if self._namespace and stored.key[0] != self._namespace:
                continue
            seen = self._seen_as(change)
            if seen:
                yield self._line(seen, stored)

    def _seen_as(self, change: Change) -> str:
        """An object that comes to match, or no longer does, is added, or deleted, for this client."""
        if self._matches is None:
            return change.type
        before = change.previous is not None and self._matches(change.previous.data)
        after = change.type != "DELETED" and self._matches(change.stored.data)
        if before and after:
            return "MODIFIED"
        if before:
            return "DELETED"
        return "ADDED" if after else ""

    def _line(self, change: str, stored: Stored) -> str:
        return f'{{"type":"{change}","object":{stored.json_as(self._resource)}}}\n'
