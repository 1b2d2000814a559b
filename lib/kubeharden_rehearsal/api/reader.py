"""The reading half of the object store, and how it is seeded."""

from __future__ import annotations

import builtins
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from kubeharden.errors import RehearsalError
from kubeharden.releases.release import Release
from kubeharden_rehearsal.api import strategy
from kubeharden_rehearsal.api.catalog import Catalog, Resource
from kubeharden_rehearsal.api.changes import Change
from kubeharden_rehearsal.api.objects import Object, now, private_copy
from kubeharden_rehearsal.api.paging import Page, Stored
from kubeharden_rehearsal.api.selectors import Matcher, matcher
from kubeharden_rehearsal.api.status import not_found
from kubeharden_rehearsal.api.storage import Storage


class ObjectReader:
    """All of ``ObjectStore`` that needs no write; see there."""

    def __init__(self, release: str) -> None:
        self.release = Release.parse(release)
        self.catalog = Catalog(self.release)
        self.changed: builtins.list[Callable[[], None]] = []
        self._lock = threading.RLock()
        self._storage = Storage(resource.kind for resource in self.catalog.stored())

    @property
    def generation(self) -> int:
        """Grows with every write; it is the resourceVersion of the latest one."""
        return self._storage.version

    def load(self, objects: Iterable[Mapping[str, Any]]) -> None:
        """Seed the store: objects as they are, status and all, unasked whether they may be created.

        uid, resourceVersion and creationTimestamp are filled in where they are absent; an object
        that is there already is replaced; namespaces get their ``default`` ServiceAccount. Objects
        that bring a resourceVersion end all watches with 410, as a restored etcd does.

        Raises:
            RehearsalError: the release does not serve an object's kind and version, an object has no
                name, or its namespace is missing.
        """
        with self._lock:
            seeded = [self._seeded(obj) for obj in objects]
            self._check_namespaces(seeded)
            for stored in seeded:
                self._storage.seed(stored)
            for namespace in self._storage.names("Namespace"):
                if not self.exists("ServiceAccount", "default", namespace):
                    self._storage.seed(self._seeded(default_account(namespace)))
        self._tell()

    def compact(self) -> None:
        """Forget the past, as etcd does: older watches and unfinished lists get 410 Expired."""
        with self._lock:
            self._storage.compact()

    def objects(self) -> builtins.list[Object]:
        """Every object, in order of kind, namespace and name."""
        with self._lock:
            return [stored.copy_as(stored.resource) for stored in self._storage]

    def get(self, resource: Resource | str, name: str, namespace: str = "") -> Object:
        """One object.

        Raises:
            ApiError: 404.
        """
        resource = self._resource(resource)
        with self._lock:
            return self._find(resource, name, namespace).copy_as(resource)

    def list(
        self,
        resource: Resource | str,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
    ) -> builtins.list[Object]:
        """All objects of a kind, in one namespace or (empty) in all, by namespace and name.

        Raises:
            ApiError: 400, a selector cannot be read.
        """
        resource = self._resource(resource)
        page = self.page(resource, namespace, matches=matcher(resource, label_selector, field_selector))
        return [stored.copy_as(resource) for stored in page.items]

    def page(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        matches: Matcher | None = None,
        limit: int = 0,
        token: str = "",
    ) -> Page:
        """A page of a list of at most ``limit`` objects (0: all), after the one that gave the token.

        All pages of one list show the same state of the store.

        Raises:
            ApiError: 410, the token is unknown or too old.
        """
        with self._lock:
            return self._storage.page(resource, namespace, matches, limit, token)

    def changes_since(self, resource_version: int) -> builtins.list[Change]:
        """All writes after a resourceVersion.

        Raises:
            ApiError: 410, they have been forgotten.
        """
        with self._lock:
            return self._storage.changes_since(resource_version)

    def exists(self, resource: Resource | str, name: str, namespace: str = "") -> bool:
        """Whether there is such an object."""
        kind = self._resource(resource).kind
        return self._storage.find(kind, name, namespace) is not None

    def _resource(self, resource: Resource | str) -> Resource:
        return self.catalog.preferred(resource) if isinstance(resource, str) else resource

    def _find(self, resource: Resource, name: str, namespace: str) -> Stored:
        stored = self._storage.find(resource.kind, name, namespace)
        if stored is None:
            raise not_found(resource, name)
        return stored

    def _stored(self, obj: Object) -> Stored:
        data = {field: value for field, value in obj.items() if field not in {"apiVersion", "kind"}}
        return Stored(self.catalog.preferred(obj["kind"]), data)

    def _seeded(self, obj: Mapping[str, Any]) -> Stored:
        resource = self.catalog.of(obj)
        seed = private_copy(obj)
        metadata = seed["metadata"]
        if not metadata.get("name"):
            raise RehearsalError(f"a {resource.kind} to load has no metadata.name")
        if not resource.namespaced:
            metadata.pop("namespace", None)
        metadata.setdefault("uid", str(uuid.uuid4()))
        metadata.setdefault("creationTimestamp", now())
        if resource.generation:
            metadata.setdefault("generation", 1)
        strategy.set_defaults(resource, seed, self.release)
        return self._stored(seed)

    def _check_namespaces(self, seeded: builtins.list[Stored]) -> None:
        known = {stored.key[1] for stored in seeded if stored.resource.kind == "Namespace"}
        known.update(self._storage.names("Namespace"))
        for stored in seeded:
            namespace, name = stored.key
            if stored.resource.namespaced and namespace not in known:
                raise RehearsalError(
                    f"{stored.resource.kind} {name} lies in the namespace {namespace!r}, which is not "
                    "among the loaded objects; add the Namespace"
                )

    def _tell(self) -> None:
        for callback in builtins.list(self.changed):
            callback()


def default_account(namespace: str) -> Object:
    """The ServiceAccount that every namespace has."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "default", "namespace": namespace},
    }
