"""The objects of the rehearsal cluster, in memory, with the semantics of kube-apiserver's storage."""

from __future__ import annotations

import builtins
import uuid
from collections.abc import Callable, Mapping
from typing import Any, TypedDict, Unpack

from kubeharden_rehearsal.api import strategy
from kubeharden_rehearsal.api.apply import apply, track_update
from kubeharden_rehearsal.api.catalog import STATUS_SUBRESOURCES, Resource
from kubeharden_rehearsal.api.objects import (
    Object,
    check_identity,
    check_namespace,
    check_preconditions,
    check_type,
    keep_system_fields,
    now,
    private_copy,
)
from kubeharden_rehearsal.api.paging import Stored
from kubeharden_rehearsal.api.patching import MERGE_PATCH, patched
from kubeharden_rehearsal.api.reader import ObjectReader, default_account
from kubeharden_rehearsal.api.selectors import Matcher
from kubeharden_rehearsal.api.status import already_exists, bad_request

__all__ = ["Admit", "Object", "ObjectStore", "UpdateOptions"]

Admit = Callable[[Object], None]


class UpdateOptions(TypedDict, total=False):
    """How an object is updated.

    Attributes:
        subresource: with ``status`` (or ``approval``) only .status is written and nothing is
            admitted; without, everything else is written.
        admit: sees the object, with apiVersion and kind, before it is checked and stored; may change
            it or raise.
        dry_run: do everything but store it.
        manager: who comes to own the changed fields of an object with managedFields; None: the
            change itself keeps managedFields. Default: ``rehearsal``.
    """

    subresource: str
    admit: Admit | None
    dry_run: bool
    manager: str | None


class ObjectStore(ObjectReader):
    """Every object of one cluster.

    A resource is named by its kind (``"Pod"``), which means the release's preferred version, or by a
    ``Resource`` of ``catalog``. Objects go in and come out as copies. All methods may be called from
    any thread; what kube-apiserver would refuse is raised as ``ApiError``.

    Args:
        release: the minor release of the cluster, such as ``1.20``.

    Attributes:
        release: the release.
        catalog: the resources that it serves.
        changed: callbacks, called without arguments after every write, in the writer's thread.

    Raises:
        UnknownReleaseError: the release is not one of those that kubeharden knows.
    """

    def create(
        self,
        resource: Resource | str,
        obj: Mapping[str, Any],
        namespace: str = "",
        *,
        admit: Admit | None = None,
        dry_run: bool = False,
    ) -> Object:
        """Store a new object and return it.

        Args:
            resource: its kind.
            obj: the object; apiVersion and kind may be left out.
            namespace: as in the URL; empty: the object's own.
            admit: sees the object, with apiVersion and kind, before it is checked and stored; may
                change it or raise.
            dry_run: do everything but store it.

        Raises:
            ApiError: 400, 404 (no such namespace), 409 (exists already) or 422.
        """
        resource = self._resource(resource)
        new = private_copy(obj)
        check_type(resource, new)
        metadata = new["metadata"]
        check_namespace(resource, metadata, namespace or metadata.get("namespace", ""))
        with self._lock:
            if resource.namespaced:
                self._find(self.catalog.preferred("Namespace"), metadata["namespace"], "")
            if admit is not None:
                admit(new)
            if metadata.get("generateName") and not metadata.get("name"):
                metadata["name"] = strategy.generated_name(metadata["generateName"])
            strategy.check_name(resource, metadata.get("name", ""), self.release)
            if metadata.pop("resourceVersion", ""):
                raise bad_request("resourceVersion should not be set on objects to be created")
            for field in ("deletionTimestamp", "generation", "selfLink"):
                metadata.pop(field, None)
            metadata |= {"uid": str(uuid.uuid4()), "creationTimestamp": now()}
            strategy.prepare_create(resource, new, self.release)
            stored = self._stored(new)
            if self.exists(resource, *reversed(stored.key)):
                raise already_exists(resource, metadata["name"])
            if not dry_run:
                self._add(stored)
        if not dry_run:
            self._tell()
        return stored.copy_as(resource)

    def replace(
        self,
        resource: Resource | str,
        obj: Mapping[str, Any],
        *,
        name: str = "",
        namespace: str = "",
        **options: Unpack[UpdateOptions],
    ) -> Object:
        """Put an object in the place of the stored one: ``update`` with its options and errors.

        ``name`` and ``namespace`` are as in the URL; empty: the object's own.
        """
        new = private_copy(obj)
        return self.update(
            resource,
            name or new["metadata"].get("name", ""),
            namespace or new["metadata"].get("namespace", ""),
            lambda _: new,
            **options,
        )

    def update(
        self,
        resource: Resource | str,
        name: str,
        namespace: str,
        change: Callable[[Object], Object],
        **options: Unpack[UpdateOptions],
    ) -> Object:
        """Store what ``change`` makes of a copy of an object, and return it.

        An object that comes out unchanged is not written. A resourceVersion, if there is one, must
        be the current one.

        Args:
            resource: the kind.
            name: the object's name.
            namespace: the object's namespace; empty for cluster-scoped kinds.
            change: gets a copy with apiVersion and kind, and may change it.
            options: see ``UpdateOptions``.

        Raises:
            ApiError: 400, 404, 409 (changed meanwhile) or 422.
        """
        resource = self._resource(resource)
        with self._lock:
            old = self._find(resource, name, namespace)
            before = old.copy_as(resource)
            new = private_copy(change(old.copy_as(resource)))
            self._finish_update(resource, before, new, options)
            if new == before:
                return before
            stored = self._stored(new)
            if not options.get("dry_run"):
                self._put_or_remove(stored, old)
        if not options.get("dry_run"):
            self._tell()
        return stored.copy_as(resource)

    def _finish_update(self, resource: Resource, before: Object, new: Object, options: UpdateOptions) -> None:
        subresource, manager = options.get("subresource", ""), options.get("manager", "rehearsal")
        check_type(resource, new)
        check_identity(resource, before, new)
        keep_system_fields(resource, before, new, subresource)
        if subresource not in STATUS_SUBRESOURCES:
            admit = options.get("admit")
            if admit is not None:
                admit(new)
            strategy.set_defaults(resource, new, self.release)
            strategy.check_update(resource, before, new)
        if manager is not None:
            _track(before, new, manager)
        if resource.generation and new.get("spec") != before.get("spec"):
            new["metadata"]["generation"] = before["metadata"].get("generation", 0) + 1

    def patch(
        self,
        resource: Resource | str,
        name: str,
        namespace: str,
        patch: Any,
        media_type: str = MERGE_PATCH,
        **options: Unpack[UpdateOptions],
    ) -> Object:
        """Patch an object: ``update`` with its options and errors.

        ``media_type`` says what the patch is: a JSON, merge or strategic merge patch; another one
        is refused with 415.
        """
        return self.update(
            resource, name, namespace, lambda live: patched(live, patch, media_type), **options
        )

    def apply(
        self,
        resource: Resource | str,
        config: Mapping[str, Any],
        *,
        manager: str,
        force: bool = False,
        name: str = "",
        namespace: str = "",
        subresource: str = "",
        admit: Admit | None = None,
        dry_run: bool = False,
    ) -> Object:
        """Server-side apply, which creates the object when it does not exist, and return it.

        Raises:
            ApiError: 400, 404 (no such namespace), 409 (a field belongs to another) or 422.
        """
        resource = self._resource(resource)
        wanted = private_copy(config)
        check_type(resource, wanted)
        name = name or wanted["metadata"].get("name", "")
        namespace = namespace or wanted["metadata"].get("namespace", "")

        def applied(live: Object | None) -> Object:
            return apply(live, wanted, manager=manager, force=force, now=now())

        with self._lock:
            if not self.exists(resource, name, namespace):
                wanted["metadata"].setdefault("name", name)
                return self.create(resource, applied(None), namespace, admit=admit, dry_run=dry_run)
            return self.update(
                resource,
                name,
                namespace,
                applied,
                subresource=subresource,
                admit=admit,
                dry_run=dry_run,
                manager=None,
            )

    def delete(
        self,
        resource: Resource | str,
        name: str,
        namespace: str = "",
        *,
        uid: str = "",
        resource_version: str = "",
        dry_run: bool = False,
    ) -> Object:
        """Delete an object and return its last state.

        An object with finalizers only gets a deletionTimestamp and goes when the last finalizer
        goes. A namespace takes all that is in it along at once.

        Args:
            resource: the kind.
            name: the object's name.
            namespace: the object's namespace; empty for cluster-scoped kinds.
            uid: the object must have this one; empty: any.
            resource_version: the object must have this one; empty: any.
            dry_run: do everything but delete it.

        Raises:
            ApiError: 404 or 409.
        """
        resource = self._resource(resource)
        with self._lock:
            old = self._find(resource, name, namespace)
            check_preconditions(resource, old.data["metadata"], uid, resource_version)
            last = old.copy_as(old.resource)
            last["metadata"].setdefault("deletionTimestamp", now())
            if resource.kind == "Namespace":
                last["status"] = {**last.get("status", {}), "phase": "Terminating"}
            stored = self._stored(last)
            if not dry_run and stored.data != old.data:
                if resource.kind == "Namespace":
                    for inner in self._storage.within(name):
                        self._storage.remove(self._stored(inner.copy_as(inner.resource)), inner)
                self._put_or_remove(stored, old)
        if not dry_run:
            self._tell()
        return stored.copy_as(resource)

    def delete_collection(
        self,
        resource: Resource | str,
        namespace: str = "",
        *,
        matches: Matcher | None = None,
        dry_run: bool = False,
    ) -> builtins.list[Object]:
        """Delete all objects of a kind, in one namespace or in all, and return their last states."""
        resource = self._resource(resource)
        with self._lock:
            page = self._storage.page(resource, namespace, matches, 0, "")
            return [
                self.delete(resource, name, lies_in, dry_run=dry_run)
                for lies_in, name in (stored.key for stored in page.items)
            ]

    def _add(self, stored: Stored) -> None:
        self._storage.add(stored)
        if stored.resource.kind == "Namespace":
            account = self._seeded(default_account(stored.key[1]))
            self._storage.add(account)

    def _put_or_remove(self, stored: Stored, old: Stored) -> None:
        metadata = stored.data["metadata"]
        if "deletionTimestamp" in metadata and not metadata.get("finalizers"):
            self._storage.remove(stored, old)
        else:
            self._storage.put(stored, old)


def _track(before: Object, new: Object, manager: str) -> None:
    """Keep managedFields, on objects that have any, through a write that is not an apply."""
    managed = before["metadata"].get("managedFields")
    new["metadata"].pop("managedFields", None)
    if managed:
        new["metadata"]["managedFields"] = track_update(before, new, manager=manager, now=now())
