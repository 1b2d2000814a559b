"""The objects of a rehearsal cluster, in memory, with the rules of kube-apiserver's storage."""

from __future__ import annotations

import json
import secrets
import uuid
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from kubeharden.errors import RehearsalError
from kubeharden.releases import Release
from kubeharden_rehearsal.api import rules
from kubeharden_rehearsal.api.catalog import Catalog, Resource
from kubeharden_rehearsal.api.rules import BINDINGS, Object, private_copy
from kubeharden_rehearsal.api.selectors import Matcher
from kubeharden_rehearsal.api.status import ApiError, bad_request, conflict, invalid, not_found

Key = tuple[str, str]  # namespace (empty for cluster-scoped kinds) and name
Admit = Callable[[Object], object]

# The alphabet of k8s.io/apiserver/pkg/storage/names: nothing that reads as a word.
LETTERS = "bcdfghjklmnpqrstvwxz2456789"
SUFFIX_LENGTH = 5
_GENERATED_PREFIX_MAX = 63 - SUFFIX_LENGTH
_SYSTEM_METADATA = "name namespace uid resourceVersion generation creationTimestamp deletionTimestamp"
# Source: PrepareForCreate of pkg/registry/core/{pod,namespace}/strategy.go.
_FIRST_STATUS = {"Pod": {"phase": "Pending"}, "Namespace": {"phase": "Active"}}


class Stored:
    """One object as it is stored: without apiVersion and kind, and never changed, only replaced.

    Attributes:
        data: the object; nobody may write to it.
    """

    __slots__ = ("_json", "data", "resource")

    def __init__(self, resource: Resource, data: Object) -> None:
        self.resource, self.data = resource, data
        self._json: str | None = None

    @property
    def key(self) -> Key:
        """Return namespace and name."""
        metadata = self.data["metadata"]
        return metadata.get("namespace", ""), metadata["name"]

    @property
    def json(self) -> str:
        """Return the object as an item of a list; made once, as lists of a big cluster are read often."""
        if self._json is None:
            self._json = json.dumps(self.data, separators=(",", ":"))
        return self._json

    def copy_as(self, resource: Resource) -> Object:
        """Return a copy that the caller may change, as a group/version serves it."""
        data: Object = json.loads(self.json)
        return {"kind": resource.kind, "apiVersion": resource.api_version, **data}


@dataclass(frozen=True)
class Page:
    """A part of a list.

    Attributes:
        resource_version: the state of the store.
        continue_token: for the next page; empty on the last one.
        remaining: how many objects follow; None where selectors keep from counting them.
    """

    items: list[Stored]
    resource_version: int
    continue_token: str = ""
    remaining: int | None = None


class ObjectStore:
    """Every object of one cluster.

    A resource is named by its kind (``"Pod"``), which means the release's preferred version, or by a ``Resource``.
    Objects go in and come out as copies. What kube-apiserver would refuse is raised as ``ApiError``.

    Attributes:
        changed: callbacks, called without arguments after every write.
        generation: the number of the latest write, which is the resourceVersion of what it wrote.
    """

    def __init__(self, release: str) -> None:
        self.release = Release.parse(release)
        self.catalog = Catalog(self.release)
        self.changed: list[Callable[[], None]] = []
        self.generation = 0
        self._objects: dict[str, dict[Key, Stored]] = {kind: {} for kind in self.catalog.kinds()}
        self._keys: dict[str, list[Key]] = {kind: [] for kind in self._objects}

    def load(self, objects: Iterable[Mapping[str, Any]]) -> None:
        """Put objects in as they are, status and all, without admission; an object that is there is replaced.

        uid, resourceVersion and creationTimestamp are filled in where they are absent; namespaces get their
        ``default`` ServiceAccount.

        Raises:
            RehearsalError: the release does not serve an object's kind and version, an object has no name, or its
                namespace is missing.
        """
        loaded = [self._complete(obj) for obj in objects]
        known = {stored.key[1] for stored in loaded if stored.resource.kind == "Namespace"}
        known.update(name for _, name in self._keys["Namespace"])
        for stored in loaded:
            if stored.resource.namespaced and stored.key[0] not in known:
                raise RehearsalError(
                    f"{stored.resource.kind} {stored.key[1]} lies in the namespace {stored.key[0]!r}, which is not "
                    "among the loaded objects; add the Namespace"
                )
        for stored in loaded:
            self._put(stored, stored.data["metadata"].get("resourceVersion"))
        for account in self._default_accounts(known):
            self._put(account)
        self._tell()

    def objects(self) -> list[Object]:
        """Return every object, in order of kind, namespace and name."""
        return [
            self._objects[kind][key].copy_as(self.catalog.by_kind(kind))
            for kind, keys in self._keys.items()
            for key in keys
        ]

    def get(self, resource: Resource | str, name: str, namespace: str = "") -> Object:
        """Return one object; 404 where there is none."""
        resource = self._resource(resource)
        return self._find(resource, name, namespace).copy_as(resource)

    def exists(self, resource: Resource | str, name: str, namespace: str = "") -> bool:
        """Return whether there is such an object."""
        return (namespace, name) in self._objects[self._resource(resource).kind]

    def items(
        self, resource: Resource | str, namespace: str = "", matches: Matcher | None = None
    ) -> list[Object]:
        """Return the objects of a kind that match, in one namespace or (empty) in all, by namespace and name."""
        resource = self._resource(resource)
        return [stored.copy_as(resource) for stored in self.page(resource, namespace, matches=matches).items]

    def page(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        matches: Matcher | None = None,
        limit: int = 0,
        token: str = "",
    ) -> Page:
        """Return at most ``limit`` objects (0: all), those after the page that gave the token; else 400."""
        keys, objects = self._keys[resource.kind], self._objects[resource.kind]
        at = bisect_left(keys, _start(token) if token else (namespace, ""))
        # No namespace is longer than 63 letters of ASCII, so this key comes after all of its names.
        end = bisect_left(keys, (f"{namespace}\0", "")) if namespace else len(keys)
        items: list[Stored] = []
        for key in keys[at:end]:
            if limit and len(items) == limit:
                left = end - bisect_left(keys, key) if matches is None else None
                return Page(items, self.generation, json.dumps(key), left)
            if matches is None or matches(objects[key].data):
                items.append(objects[key])
        return Page(items, self.generation)

    def create(
        self,
        resource: Resource | str,
        obj: Mapping[str, Any],
        namespace: str = "",
        admit: Admit | None = None,
    ) -> Object:
        """Store a new object and return it.

        Args:
            namespace: as in the URL; empty: the object's own.
            admit: sees the object, with apiVersion and kind, before it is stored; may change it or raise.

        Raises:
            ApiError: 400, 404 (no such namespace), 409 (exists already) or 422.
        """
        resource = self._resource(resource)
        new = private_copy(obj)
        metadata = new["metadata"]
        rules.check_type(resource, new)
        if resource.namespaced:
            if namespace and metadata.get("namespace", namespace) != namespace:
                words = (
                    "the namespace of the provided object does not match the namespace sent on the request"
                )
                raise bad_request(words)
            metadata["namespace"] = namespace or metadata.get("namespace", "")
            self._find(self.catalog.by_kind("Namespace"), metadata["namespace"], "")
        if admit is not None:
            admit(new)
        if metadata.get("generateName") and not metadata.get("name"):
            suffix = "".join(secrets.choice(LETTERS) for _ in range(SUFFIX_LENGTH))
            metadata["name"] = metadata["generateName"][:_GENERATED_PREFIX_MAX] + suffix
        if not metadata.get("name"):
            problem = "metadata.name: Required value: name or generateName is required"
            raise invalid(resource, "", [problem])
        if metadata.pop("resourceVersion", ""):
            raise bad_request("resourceVersion should not be set on objects to be created")
        for field in ("deletionTimestamp", "generation"):
            metadata.pop(field, None)
        metadata |= {"uid": str(uuid.uuid4()), "creationTimestamp": _now()}
        if "status" in resource.subresources and resource.kind != "Node":
            # A kubelet registers its node with status; nobody else brings a status along.
            new["status"] = dict(_FIRST_STATUS.get(resource.kind, {}))
        if resource.generation:
            metadata["generation"] = 1
        rules.set_defaults(new, self.release)
        if self.exists(resource, metadata["name"], metadata.get("namespace", "")):
            about = f'{resource.qualified} "{metadata["name"]}"'
            raise ApiError(409, "AlreadyExists", f"{about} already exists")
        stored = self._put(self._entry(new))
        if resource.kind == "Namespace":
            for account in self._default_accounts({metadata["name"]}):
                self._put(account)
        self._tell()
        return stored.copy_as(resource)

    def update(
        self,
        resource: Resource | str,
        name: str,
        namespace: str,
        change: Callable[[Object], Object],
        *,
        subresource: str = "",
        admit: Admit | None = None,
    ) -> Object:
        """Store what ``change`` makes of a copy of an object, and return it; an unchanged object is not written.

        Args:
            change: gets a copy with apiVersion and kind, and may change it. A resourceVersion in what it returns must
                be the current one.
            subresource: with ``status`` only .status is written and nothing is admitted; without, everything else.

        Raises:
            ApiError: 400, 404, 409 (changed meanwhile) or 422.
        """
        resource = self._resource(resource)
        old = self._find(resource, name, namespace)
        before = old.copy_as(resource)
        new = private_copy(change(old.copy_as(resource)))
        rules.check_type(resource, new)
        for field, value in (("name", name), ("namespace", namespace)):
            rules.check_same(field, new["metadata"], value)
        version = new["metadata"].get("resourceVersion", before["metadata"]["resourceVersion"])
        rules.check_preconditions(resource, before, {"uid": new["metadata"].get("uid")})
        if version != before["metadata"]["resourceVersion"]:
            raise conflict(resource, name)
        if subresource == "status":
            new = {**before, "status": new.get("status", {})}
        else:
            self._finish_update(resource, before, new, admit)
        if new == before:
            return before
        stored = self._put(self._entry(new))
        if "deletionTimestamp" in new["metadata"] and not new["metadata"].get("finalizers"):
            self._remove(stored)
        self._tell()
        return stored.copy_as(resource)

    def put(self, kind: str, obj: Object, subresource: str = "") -> Object:
        """Store a changed copy of an object: ``update`` with its errors."""
        metadata = obj["metadata"]
        name, namespace = metadata["name"], metadata.get("namespace", "")
        return self.update(kind, name, namespace, lambda _: obj, subresource=subresource)

    def _finish_update(self, resource: Resource, before: Object, new: Object, admit: Admit | None) -> None:
        if "status" in resource.subresources:
            rules.carry(before, new, "status")
        for field in _SYSTEM_METADATA.split():
            rules.carry(before["metadata"], new["metadata"], field)
        if admit is not None:
            admit(new)
        rules.set_defaults(new, self.release)
        if resource.kind in BINDINGS and new.get("roleRef") != before.get("roleRef"):
            # ValidateRoleBindingUpdate and ValidateClusterRoleBindingUpdate
            problem = f"roleRef: Invalid value: {json.dumps(new.get('roleRef'))}: cannot change roleRef"
            raise invalid(resource, new["metadata"]["name"], [problem])
        if resource.generation and new.get("spec") != before.get("spec"):
            new["metadata"]["generation"] = before["metadata"].get("generation", 0) + 1

    def delete(
        self,
        resource: Resource | str,
        name: str,
        namespace: str = "",
        preconditions: Mapping[str, Any] | None = None,
    ) -> Object:
        """Delete an object and return its last state.

        An object with finalizers only gets a deletionTimestamp and goes when the last finalizer goes. A namespace
        takes all that is in it along at once.
        """
        resource = self._resource(resource)
        last = self._find(resource, name, namespace).copy_as(resource)
        rules.check_preconditions(resource, last, preconditions or {})
        if last["metadata"].get("finalizers"):
            if "deletionTimestamp" not in last["metadata"]:
                last["metadata"]["deletionTimestamp"] = _now()
                last = self._put(self._entry(last)).copy_as(resource)
        else:
            doomed = [self._find(resource, name, namespace)]
            if resource.kind == "Namespace":
                doomed += [s for found in self._objects.values() for s in found.values() if s.key[0] == name]
            for stored in doomed:
                self._remove(stored)
        self._tell()
        return last

    def _resource(self, resource: Resource | str) -> Resource:
        return self.catalog.by_kind(resource) if isinstance(resource, str) else resource

    def _find(self, resource: Resource, name: str, namespace: str) -> Stored:
        stored = self._objects[resource.kind].get((namespace, name))
        if stored is None:
            raise not_found(resource, name)
        return stored

    def _entry(self, obj: Object) -> Stored:
        data = {field: value for field, value in obj.items() if field not in {"apiVersion", "kind"}}
        return Stored(self.catalog.by_kind(obj["kind"]), data)

    def _complete(self, obj: Mapping[str, Any]) -> Stored:
        resource = self.catalog.of(obj)
        loaded = private_copy(obj)
        metadata = loaded["metadata"]
        if not metadata.get("name"):
            raise RehearsalError(f"a {resource.kind} to load has no metadata.name")
        metadata.setdefault("uid", str(uuid.uuid4()))
        metadata.setdefault("creationTimestamp", _now())
        if resource.generation:
            metadata.setdefault("generation", 1)
        rules.set_defaults(loaded, self.release)
        return self._entry(loaded)

    def _default_accounts(self, namespaces: Iterable[str]) -> Iterator[Stored]:
        """Yield the ServiceAccount that every namespace has, where it is not there yet."""
        for namespace in sorted(namespaces):
            if not self.exists("ServiceAccount", "default", namespace):
                metadata = {"name": "default", "namespace": namespace}
                yield self._complete({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})

    def _put(self, stored: Stored, version: str | None = None) -> Stored:
        """Write an object; a write gets the next number, but an object that is loaded keeps its resourceVersion."""
        self.generation = self.generation + 1 if version is None else max(self.generation, int(version))
        stored.data["metadata"]["resourceVersion"] = version or str(self.generation)
        objects, key = self._objects[stored.resource.kind], stored.key
        if key not in objects:
            insort(self._keys[stored.resource.kind], key)
        objects[key] = stored
        return stored

    def _remove(self, stored: Stored) -> None:
        self.generation += 1
        del self._objects[stored.resource.kind][stored.key]
        keys = self._keys[stored.resource.kind]
        del keys[bisect_left(keys, stored.key)]

    def _tell(self) -> None:
        for callback in list(self.changed):
            callback()


def _start(token: str) -> Key:
    try:
        namespace, name = json.loads(token)
    except (ValueError, TypeError) as error:
        raise bad_request("continue key is not valid") from error
    return str(namespace), str(name)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
