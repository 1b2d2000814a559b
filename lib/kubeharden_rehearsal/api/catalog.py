"""Which resources a kube-apiserver of a given release serves, and the discovery documents about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any

import yaml

from kubeharden.errors import RehearsalError
from kubeharden.releases import Release, feature

VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
STATUS_SUBRESOURCES = frozenset({"status", "approval"})
SUBRESOURCE_VERBS = {
    "status": ("get", "patch", "update"),
    "approval": ("get", "patch", "update"),
    "eviction": ("create",),
    "proxy": ("get",),
}


@dataclass(frozen=True)
class Resource:
    """One kind as one group/version serves it; ``kind`` alone says which stored objects are meant."""

    kind: str
    group: str
    version: str
    plural: str
    singular: str
    namespaced: bool
    short_names: tuple[str, ...] = ()
    names: str = "subdomain"
    subresources: tuple[str, ...] = ()
    verbs: tuple[str, ...] = VERBS
    generation: bool = False
    returns_deleted: bool = False
    review: bool = False
    selectable_fields: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def api_version(self) -> str:
        """As objects name it: ``v1``, ``policy/v1beta1``."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """As messages name the resource: ``pods``, ``podsecuritypolicies.policy``."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def qualified_kind(self) -> str:
        """As messages name the kind: ``Pod``, ``PodSecurityPolicy.policy``."""
        return f"{self.kind}.{self.group}" if self.group else self.kind

    @property
    def has_status(self) -> bool:
        """Whether .status is written through a subresource of its own."""
        return "status" in self.subresources


class Catalog:
    """The resources of one release.

    Args:
        release: a minor release of Kubernetes.
    """

    def __init__(self, release: Release) -> None:
        self.release = release
        self._by_path: dict[tuple[str, str, str], Resource] = {}
        self._by_kind: dict[str, list[Resource]] = {}
        for row in _rows():
            for resource in _served(row, release.minor):
                self._by_path[resource.group, resource.version, resource.plural] = resource
                self._by_kind.setdefault(resource.kind, []).append(resource)

    def at(self, group: str, version: str, plural: str) -> Resource | None:
        """The resource at a place in the URL; None when the release does not serve it."""
        return self._by_path.get((group, version, plural))

    def preferred(self, kind: str) -> Resource:
        """The resource of a kind in the version that the release prefers.

        Raises:
            RehearsalError: the release serves no such kind.
        """
        try:
            return self._by_kind[kind][0]
        except KeyError:
            raise RehearsalError(
                f"Kubernetes {self.release} serves no kind {kind}; see rehearsal/resources.yaml"
            ) from None

    def of(self, obj: Mapping[str, Any]) -> Resource:
        """The resource that an object's apiVersion and kind name.

        Raises:
            RehearsalError: the release does not serve that kind in that version.
        """
        api_version, kind = obj.get("apiVersion", ""), obj.get("kind", "")
        for resource in self._by_kind.get(kind, []):
            if resource.api_version == api_version:
                return resource
        raise RehearsalError(
            f"Kubernetes {self.release} does not serve {kind or 'an object without kind'} in "
            f"{api_version or 'an object without apiVersion'}; see rehearsal/resources.yaml"
        )

    def stored(self) -> list[Resource]:
        """Every kind of which objects are kept, each in its preferred version."""
        return [served[0] for served in self._by_kind.values() if not served[0].review]

    def groups(self) -> dict[str, list[str]]:
        """The named API groups with their versions, the preferred one first."""
        found: dict[str, set[str]] = {}
        for group, version, _ in self._by_path:
            if group:
                found.setdefault(group, set()).add(version)
        return {group: sorted(versions, key=_priority) for group, versions in found.items()}

    def group_list(self) -> dict[str, Any]:
        """The answer to ``GET /apis``."""
        return {
            "kind": "APIGroupList",
            "apiVersion": "v1",
            "groups": [_group(name, versions) for name, versions in self.groups().items()],
        }

    def group(self, name: str) -> dict[str, Any] | None:
        """The answer to ``GET /apis/<group>``; None when the release does not serve the group."""
        versions = self.groups().get(name)
        if versions is None:
            return None
        return {"kind": "APIGroup", "apiVersion": "v1", **_group(name, versions)}

    def resource_list(self, group: str, version: str) -> dict[str, Any] | None:
        """The answer to ``GET /api/v1`` and ``GET /apis/<group>/<version>``; None if not served."""
        rows = [
            row
            for (its_group, its_version, _), resource in sorted(self._by_path.items())
            if (its_group, its_version) == (group, version)
            for row in self._discovery_rows(resource)
        ]
        if not rows:
            return None
        return {
            "kind": "APIResourceList",
            "apiVersion": "v1",
            "groupVersion": f"{group}/{version}" if group else version,
            "resources": rows,
        }

    def _discovery_rows(self, resource: Resource) -> list[dict[str, Any]]:
        row: dict[str, Any] = {
            "name": resource.plural,
            "singularName": resource.singular,
            "namespaced": resource.namespaced,
            "kind": resource.kind,
            "verbs": list(resource.verbs),
        }
        if resource.short_names:
            row["shortNames"] = list(resource.short_names)
        return [row, *(self._subresource_row(resource, name) for name in resource.subresources)]

    def _subresource_row(self, resource: Resource, name: str) -> dict[str, Any]:
        row: dict[str, Any] = {
            "name": f"{resource.plural}/{name}",
            "singularName": "",
            "namespaced": resource.namespaced,
            "kind": resource.kind,
            "verbs": list(SUBRESOURCE_VERBS[name]),
        }
        if name == "eviction":
            version = self.eviction_versions()[0].partition("/")[2]
            row |= {"group": "policy", "version": version, "kind": "Eviction"}
        if name == "proxy":
            row["kind"] = "NodeProxyOptions"
        return row

    def eviction_versions(self) -> list[str]:
        """The apiVersions of an Eviction, the preferred one first."""
        newer = ["policy/v1"] if feature("policy/v1 of evictions").in_release(self.release) else []
        older = ["policy/v1beta1"] if feature("policy/v1beta1").in_release(self.release) else []
        return newer + older


def _served(row: Mapping[str, Any], minor: int) -> list[Resource]:
    """A row of resources.yaml in each version that the release serves, the preferred one first."""
    verbs: tuple[str, ...] = VERBS
    if row.get("review"):
        verbs = ("create",)
    elif not row.get("deletecollection", True):
        verbs = tuple(verb for verb in VERBS if verb != "deletecollection")
    return [
        Resource(
            kind=row["kind"],
            group=version["apiVersion"].rpartition("/")[0],
            version=version["apiVersion"].rpartition("/")[2],
            plural=row["plural"],
            singular=row["kind"].lower(),
            namespaced=row["namespaced"],
            short_names=tuple(row.get("shortNames", ())),
            names=row.get("names", "subdomain"),
            subresources=tuple(row.get("subresources", ())),
            verbs=verbs,
            generation=row.get("generation", False),
            returns_deleted=row.get("returnsDeleted", False),
            review=row.get("review", False),
            selectable_fields=row.get("selectableFields", {}),
        )
        for version in row["versions"]
        if version.get("first", 0) <= minor <= version.get("last", minor)
    ]


@cache
def _rows() -> list[dict[str, Any]]:
    text = resources.files("kubeharden_rehearsal").joinpath("resources.yaml").read_text("utf-8")
    rows: list[dict[str, Any]] = yaml.safe_load(text)["resources"]
    return rows


def _priority(version: str) -> tuple[bool, int]:
    """v1 before v1beta2 before v1beta1."""
    return ("beta" in version, -int(version.rpartition("beta")[2].removeprefix("v")))


def _group(name: str, versions: list[str]) -> dict[str, Any]:
    rows = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": rows, "preferredVersion": rows[0]}
