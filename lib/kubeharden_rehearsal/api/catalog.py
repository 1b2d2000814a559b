"""The resources that a kube-apiserver of a release serves, and the discovery documents about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from kubeharden.errors import RehearsalError
from kubeharden.releases import Release, feature
from kubeharden.releases.files import read

VERBS = ("create", "delete", "get", "list", "patch", "update")
SUBRESOURCE_VERBS = {"status": ("get", "patch", "update"), "eviction": ("create",), "proxy": ("get",)}


@dataclass(frozen=True)
class Resource:
    """One kind as one group/version serves it; ``kind`` alone says which stored objects are meant."""

    kind: str
    group: str
    version: str
    plural: str
    namespaced: bool
    short_names: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()
    verbs: tuple[str, ...] = VERBS
    generation: bool = False

    @property
    def api_version(self) -> str:
        """Return ``v1``, ``policy/v1beta1``."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """Return what messages call the resource: ``pods``, ``podsecuritypolicies.policy``."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def is_stored(self) -> bool:
        """Return whether there are objects of it: a review is answered and not stored."""
        return "get" in self.verbs


class Catalog:
    """The resources of one release."""

    def __init__(self, release: Release) -> None:
        self.release = release
        self._by_path: dict[tuple[str, str, str], Resource] = {}
        self._by_kind: dict[str, list[Resource]] = {}
        for row in _rows():
            for resource in _versions(row, release.minor):
                self._by_path[resource.group, resource.version, resource.plural] = resource
                self._by_kind.setdefault(resource.kind, []).append(resource)

    def at(self, group: str, version: str, plural: str) -> Resource | None:
        """Return the resource at a place in the URL; None where the release does not serve it."""
        return self._by_path.get((group, version, plural))

    def serves(self, group: str) -> bool:
        """Return whether there are resources in a group."""
        return any(place[0] == group for place in self._by_path)

    def by_kind(self, kind: str) -> Resource:
        """Return the resource of a kind in the version that the release prefers; a RehearsalError without one."""
        if kind not in self._by_kind:
            raise RehearsalError(
                f"Kubernetes {self.release} does not serve the kind {kind}; see api/resources.yaml"
            )
        return self._by_kind[kind][0]

    def of(self, obj: Mapping[str, Any]) -> Resource:
        """Return the resource that an object's apiVersion and kind name; a RehearsalError where it is not served."""
        api_version, kind = obj.get("apiVersion", ""), obj.get("kind", "")
        for resource in self._by_kind.get(kind, []):
            if resource.api_version == api_version:
                return resource
        raise RehearsalError(
            f"Kubernetes {self.release} does not serve {kind or 'an object without kind'} in "
            f"{api_version or 'an object without apiVersion'}; see api/resources.yaml"
        )

    def kinds(self) -> list[str]:
        """Return every kind of which objects are stored."""
        return [kind for kind, served in self._by_kind.items() if served[0].is_stored]

    def document(self, path: str) -> dict[str, Any] | None:
        """Return the discovery document at a path such as ``/apis/apps/v1``; None where there is none."""
        match path.split("/")[1:]:
            case ["api"]:
                return {"kind": "APIVersions", "versions": ["v1"]}
            case ["api", version]:
                return self._resource_list("", version)
            case ["apis"]:
                groups = [_group(name, versions) for name, versions in self._groups().items()]
                return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
            case ["apis", group]:
                if versions := self._groups().get(group):
                    return {"kind": "APIGroup", "apiVersion": "v1", **_group(group, versions)}
            case ["apis", group, version]:
                return self._resource_list(group, version)
        return None

    def _groups(self) -> dict[str, list[str]]:
        """Return the named API groups with their versions, the preferred one first."""
        found: dict[str, set[str]] = {}
        for group, version, _ in self._by_path:
            if group:
                found.setdefault(group, set()).add(version)
        return {group: sorted(versions, key=_priority) for group, versions in found.items()}

    def _resource_list(self, group: str, version: str) -> dict[str, Any] | None:
        rows = [
            row
            for (its_group, its_version, _), resource in sorted(self._by_path.items())
            if (its_group, its_version) == (group, version)
            for row in self._discovery_rows(resource)
        ]
        if not rows:
            return None
        head = {"kind": "APIResourceList", **({"apiVersion": "v1"} if group else {})}
        return {**head, "groupVersion": f"{group}/{version}" if group else version, "resources": rows}

    def _discovery_rows(self, resource: Resource) -> list[dict[str, Any]]:
        common = {"namespaced": resource.namespaced, "kind": resource.kind}
        is_named = feature("singular names in discovery").in_release(self.release)
        names = {"name": resource.plural, "singularName": resource.kind.lower() if is_named else ""}
        row: dict[str, Any] = {**names, **common, "verbs": list(resource.verbs)}
        if resource.short_names:
            row["shortNames"] = list(resource.short_names)
        rows = [row]
        for name in resource.subresources:
            verbs = list(SUBRESOURCE_VERBS[name])
            row = {"name": f"{resource.plural}/{name}", "singularName": "", **common, "verbs": verbs}
            if name == "proxy":
                row["kind"] = "NodeProxyOptions"
            if name == "eviction":
                version = self.eviction_versions()[0].partition("/")[2]
                row |= {"group": "policy", "version": version, "kind": "Eviction"}
            rows.append(row)
        return rows

    def eviction_versions(self) -> list[str]:
        """Return the apiVersions of an Eviction, the preferred one first."""
        newer = ["policy/v1"] if feature("policy/v1 of evictions").in_release(self.release) else []
        older = ["policy/v1beta1"] if feature("policy/v1beta1").in_release(self.release) else []
        return newer + older


def _versions(row: Mapping[str, Any], minor: int) -> list[Resource]:
    """Return a row of resources.yaml in each version that the release serves, the preferred one first."""
    return [
        Resource(
            kind=row["kind"],
            group=version["apiVersion"].rpartition("/")[0],
            version=version["apiVersion"].rpartition("/")[2],
            plural=row["plural"],
            namespaced=row["namespaced"],
            short_names=tuple(row.get("shortNames", ())),
            subresources=tuple(row.get("subresources", ())),
            verbs=("create",) if row.get("review") else VERBS,
            generation=row.get("generation", False),
        )
        for version in row["versions"]
        if version.get("first", 0) <= minor <= version.get("last", minor)
    ]


@cache
def _rows() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = read("resources", __package__)["resources"]
    return rows


def _priority(version: str) -> tuple[bool, int]:
    """Return a sort key: v1 before v1beta2 before v1beta1."""
    return ("beta" in version, -int(version.rpartition("beta")[2].removeprefix("v")))


def _group(name: str, versions: list[str]) -> dict[str, Any]:
    rows = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": rows, "preferredVersion": rows[0]}
