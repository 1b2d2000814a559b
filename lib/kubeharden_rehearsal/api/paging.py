"""Stored objects, pages of lists, and the continue tokens between the pages."""

from __future__ import annotations

import base64
import binascii
import json
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from kubeharden_rehearsal.api.catalog import Resource
from kubeharden_rehearsal.api.selectors import Matcher
from kubeharden_rehearsal.api.status import ApiError, expired

Key = tuple[str, str]
_SNAPSHOTS = 32


class Stored:
    """One object as it is kept: without apiVersion and kind, and never changed, only replaced.

    Attributes:
        resource: its kind, in the release's preferred version.
        data: the object; whoever reads it must not write to it.
    """

    __slots__ = ("_json", "data", "resource")

    def __init__(self, resource: Resource, data: dict[str, Any]) -> None:
        self.resource = resource
        self.data = data
        self._json: str | None = None

    @property
    def key(self) -> Key:
        """Namespace (empty for cluster-scoped kinds) and name."""
        metadata = self.data["metadata"]
        return metadata.get("namespace", ""), metadata["name"]

    @property
    def json(self) -> str:
        """The object as an item of a list; made once, as lists of a big cluster are read often."""
        if self._json is None:
            self._json = json.dumps(self.data, separators=(",", ":"))
        return self._json

    def json_as(self, resource: Resource) -> str:
        """The object by itself, as a group/version serves it."""
        head = f'{{"kind":"{resource.kind}","apiVersion":"{resource.api_version}",'
        return head + self.json[1:]

    def copy_as(self, resource: Resource) -> dict[str, Any]:
        """A copy that the caller may change, as a group/version serves it."""
        obj: dict[str, Any] = json.loads(self.json_as(resource))
        return obj


@dataclass(frozen=True)
class Page:
    """A part of a list.

    Attributes:
        items: the objects, in order of namespace and name.
        resource_version: the state of the store that the whole list shows.
        continue_token: for the next page; empty on the last one.
        remaining: how many objects follow; None when nobody counted, as with selectors.
    """

    items: list[Stored]
    resource_version: int
    continue_token: str = ""
    remaining: int | None = None


@dataclass(frozen=True)
class Snapshot:
    """All objects of one kind, in order, as they were at one resourceVersion."""

    keys: Sequence[Key]
    objects: Sequence[Stored]
    resource_version: int

    def page(self, namespace: str, matches: Matcher | None, limit: int, start: Key | None) -> Page:
        """At most ``limit`` objects (0: all) from the key ``start`` on."""
        first = bisect_left(self.keys, start or (namespace, ""))
        # No namespace is longer than 63 letters of ASCII, so this key comes after all of its names.
        end = bisect_left(self.keys, (f"{namespace}\0", "")) if namespace else len(self.keys)
        items: list[Stored] = []
        for at in range(first, end):
            if limit and len(items) == limit:
                token = _encode_token(self.resource_version, self.keys[at])
                remaining = end - at if matches is None else None
                return Page(items, self.resource_version, token, remaining)
            stored = self.objects[at]
            if matches is None or matches(stored.data):
                items.append(stored)
        return Page(items, self.resource_version)


class Snapshots:
    """The snapshots that unfinished lists still read; the oldest are forgotten."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, int], Snapshot] = OrderedDict()

    def clear(self) -> None:
        """Forget all, as etcd does when it compacts."""
        self._kept.clear()

    def page(
        self,
        resource: Resource,
        take: Callable[[], Snapshot],
        *,
        namespace: str,
        matches: Matcher | None,
        limit: int,
        token: str,
    ) -> Page:
        """A page of a new snapshot, or, with a token, of the one that the list began with.

        Raises:
            ApiError: 410, the token is unknown or too old.
        """
        if token:
            version, start = _decode_token(token)
            snapshot = self._kept.get((resource.kind, version))
            if snapshot is None:
                raise _token_expired()
            return snapshot.page(namespace, matches, limit, start)
        snapshot = take()
        page = snapshot.page(namespace, matches, limit, None)
        if page.continue_token:
            self._kept[resource.kind, snapshot.resource_version] = snapshot
            while len(self._kept) > _SNAPSHOTS:
                self._kept.popitem(last=False)
        return page


def _encode_token(resource_version: int, start: Key) -> str:
    content = {"v": "meta.k8s.io/v1", "rv": resource_version, "start": start}
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")


def _decode_token(token: str) -> tuple[int, Key]:
    padded = token + "=" * (-len(token) % 4)
    try:
        content = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        namespace, name = content["start"]
        return int(content["rv"]), (str(namespace), str(name))
    except (binascii.Error, ValueError, LookupError, TypeError) as error:
        raise _token_expired() from error


def _token_expired() -> ApiError:
    return expired(
        "The provided continue parameter is too old to display a consistent list result. You can "
        "start a new list without the continue parameter."
    )
