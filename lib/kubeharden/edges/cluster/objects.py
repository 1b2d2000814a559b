"""API objects: where they are served, read in pages, written over the resourceVersion that they were read at."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from kubeharden.edges.clock import SystemClock
from kubeharden.edges.cluster.client import Client, segment
from kubeharden.edges.cluster.compact import Compactor
from kubeharden.edges.ports import Clock, OnPage, Written
from kubeharden.errors import (
    ClusterError,
    ExpiredError,
    NotFoundError,
    RetryableError,
    StaleError,
    TooManyRequestsError,
)
from kubeharden.facts import ClusterFacts
from kubeharden.facts.sensitive import secrets_in
from kubeharden.kube.manifests import without_managed_fields
from kubeharden.kube.resources import RESOURCES, Resource
from kubeharden.kube.shapes import mistake_in, mistake_in_resources
from kubeharden.plan import ObjectChange
from kubeharden.redaction import Redactor, excerpt

PAGE = 500
MOST_PAGES = 10_000  # five million objects
Shrink = Callable[[dict[str, Any]], dict[str, Any]]


class Objects:
    """The objects of one API server, as one user; ``ApiPort`` says what a method does and raises.

    The arguments and errors are those of ``Client``; the redactor learns what the objects hold, too.
    """

    def __init__(
        self,
        kubeconfig: str,
        context: str | None = None,
        redactor: Redactor | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._redactor, self._clock = redactor or Redactor(), clock or SystemClock()
        self._client = Client(kubeconfig, context, self._redactor, self._clock)
        self._served: dict[str, dict[str, Mapping[str, Any]]] = {}
        self.user = self._client.user

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def version(self) -> str:
        """Return what the server says it is, such as ``v1.10.0``."""
        version = self._client.call("GET", "/version").get("gitVersion")
        if not isinstance(version, str):
            raise ClusterError("GET /version: the answer has no gitVersion. Is this an API server?")
        return version

    def observe(self, kinds: Iterable[str] | None = None, on_page: OnPage | None = None) -> ClusterFacts:
        """Return all objects of the given kinds, in pages; by default of every kind that a plan is made from.

        Of pods, what they are judged by is kept (see ``compact``). Parts that are equal are one part: nobody may write
        to these objects.
        """
        version = self.version()
        objects = {}
        compactor = Compactor()
        for kind in kinds or (resource.kind for resource in RESOURCES.values() if resource.observed):
            resource = RESOURCES[kind]
            path = self._path(resource)
            if path is not None:
                objects[resource.plural] = tuple(
                    self._list(path, kind, partial(compactor.compact, kind), on_page)
                )
        self._redactor.withhold(secrets_in(objects))
        return ClusterFacts(version=version, user=self.user, objects=objects)

    def may(self, verb: str, kind: str, namespace: str = "", subresource: str = "") -> bool:
        """Return whether this user may do that, as the server sees it (SelfSubjectAccessReview)."""
        resource = RESOURCES[kind]
        group = resource.api_versions[0].rpartition("/")[0]
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {
                "resourceAttributes": {
                    "verb": verb,
                    "group": group,
                    "resource": resource.plural,
                    "subresource": subresource,
                    "namespace": namespace,
                }
            },
        }
        # It stores nothing, so it may be asked as often as one likes.
        answer = self._client.call(
            "POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review, what="access review"
        )
        return bool(answer.get("status", {}).get("allowed"))

    def serves(self, kind: str) -> bool:
        """Return whether the server has this kind in a version that is known here."""
        return self._path(RESOURCES[kind]) is not None

    def get(self, kind: str, name: str, namespace: str = "") -> dict[str, Any] | None:
        """Return one object, or None where there is none."""
        try:
            place = self._place(kind, name, namespace)
            return {"kind": kind, **_check_shape(self._client.call("GET", place), kind, place)}
        except NotFoundError:
            return None

    def create(self, manifest: Mapping[str, Any], what: str = "") -> dict[str, Any]:
        """Create an object; its apiVersion is the one that the server serves."""
        path = self._place(manifest["kind"], None, manifest["metadata"].get("namespace", ""))
        return self._client.call("POST", path, manifest, what=what)

    def replace(
        self, manifest: Mapping[str, Any], what: str = "", warnings: list[str] | None = None
    ) -> dict[str, Any]:
        """Replace an object over the resourceVersion that the manifest names; what the server warns of is added."""
        meta = manifest["metadata"]
        path = self._place(manifest["kind"], meta["name"], meta.get("namespace", ""))
        return self._client.call("PUT", path, manifest, what=what, warnings=warnings)

    def patch(self, kind: str, name: str, patch: Mapping[str, Any], namespace: str = "") -> dict[str, Any]:
        """Merge into an object; a resourceVersion in the patch's metadata is the one that it must have."""
        return self._client.call("PATCH", self._place(kind, name, namespace), patch, what=f"{kind} {name}")

    def delete(self, item: Mapping[str, Any]) -> None:
        """Delete this very object: the one with its uid, as it is at its resourceVersion. None there is fine."""
        meta = item["metadata"]
        path = self._place(item["kind"], meta["name"], meta.get("namespace", ""))
        # A server before 1.14 ignores the resourceVersion here, which came later than the uid.
        wanted = {key: meta[key] for key in ("uid", "resourceVersion") if key in meta}
        options = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": wanted}
        where = f"{meta['namespace']}/" if meta.get("namespace") else ""
        try:
            self._client.call("DELETE", path, options, what=f"{item['kind']} {where}{meta['name']}")
        except NotFoundError:
            return

    def evict(self, pod: Mapping[str, Any]) -> str:
        """Ask for a pod's end, once; empty where that was taken up, else why it was not this time.

        It may be another time: a PodDisruptionBudget (or the server's load) forbids it for now, its count was changed
        by somebody else meanwhile (409), the server stumbles, or there was no answer.

        The apiVersion is the one that discovery gives for ``pods/eviction``: policy/v1 from 1.22 on
        (kubernetes.io, "API-initiated Eviction").

        Raises:
            ClusterError: the server refuses for good.
        """
        meta = pod["metadata"]
        row = self._resources("/api/v1").get("pods/eviction", {})
        version = row.get("version") or "v1beta1"
        eviction = {
            "apiVersion": f"policy/{version}",
            "kind": "Eviction",
            "metadata": {"name": meta["name"], "namespace": meta["namespace"]},
            "deleteOptions": {"preconditions": {"uid": meta["uid"]}},
        }
        path = f"{self._place('Pod', meta['name'], meta['namespace'])}/eviction"
        what = f"eviction of {meta['namespace']}/{meta['name']}"
        try:
            self._client.call("POST", path, eviction, what=what, again=False)
        except NotFoundError:
            return ""
        except TooManyRequestsError:
            return "its PodDisruptionBudget allows no eviction"
        except (RetryableError, StaleError) as error:
            return str(error)
        return ""

    def pods_on(self, node: str) -> list[dict[str, Any]]:
        """Return the pods of one node."""
        return list(self._pages("/api/v1/pods", "Pod", [("fieldSelector", f"spec.nodeName={node}")]))

    def items(self, kind: str, namespace: str = "") -> list[dict[str, Any]]:
        """Return all objects of a kind, in one namespace or in all; none where the kind is not served."""
        path = self._path(RESOURCES[kind], namespace or None)
        return [] if path is None else self._list(path, kind)

    def apply(self, change: ObjectChange) -> Written:
        """Create, replace or delete an object; one that is to be deleted may be gone already."""
        if change.delete and change.before is not None:
            self.delete(change.before)
            return Written(None)
        if change.before is None:
            return Written({"kind": change.manifest["kind"], **self.create(change.manifest, change.name)})
        warnings: list[str] = []
        item = self.replace(change.manifest, change.name, warnings)
        return Written({"kind": change.manifest["kind"], **item}, tuple(warnings))

    def _place(self, kind: str, name: str | None, namespace: str) -> str:
        """Return the path of an object, or of all those of its kind for None."""
        resource = RESOURCES[kind]
        path = self._path(resource, namespace or None)
        if path is None:
            versions = " or ".join(resource.api_versions)
            raise ClusterError(f"{kind} {name or ''}: the server does not serve {versions}")
        return path if name is None else f"{path}/{segment(name)}"

    def api_version(self, kind: str) -> str:
        """Return the apiVersion in which the server has a kind; empty where it has it in none that is known here."""
        for version in RESOURCES[kind].api_versions:
            base = f"/api/{version}" if "/" not in version else f"/apis/{version}"
            if RESOURCES[kind].plural in self._resources(base):
                return version
        return ""

    def _path(self, resource: Resource, namespace: str | None = None) -> str | None:
        version = self.api_version(resource.kind)
        if not version:
            return None
        base = f"/api/{version}" if "/" not in version else f"/apis/{version}"
        return (
            f"{base}/namespaces/{segment(namespace)}/{resource.plural}"
            if namespace
            else f"{base}/{resource.plural}"
        )

    def _resources(self, base: str) -> Mapping[str, Mapping[str, Any]]:
        if base not in self._served:
            try:
                answer = self._client.call("GET", base)
            except NotFoundError:
                answer = {"resources": []}
            resources = answer.get("resources", "nothing")
            mistake = mistake_in_resources(resources)
            if mistake:
                raise ClusterError(f"GET {base}: the server's answer is not a list of resources: {mistake}")
            self._served[base] = {item["name"]: item for item in resources or ()}
        return self._served[base]

    def _list(
        self, path: str, kind: str, shrink: Shrink = without_managed_fields, on_page: OnPage | None = None
    ) -> list[dict[str, Any]]:
        """Return every object there, in pages; from the beginning again if the pages outlive the server's memory."""
        try:
            return list(self._pages(path, kind, shrink=shrink, on_page=on_page))
        except ExpiredError:
            return list(self._pages(path, kind, shrink=shrink, on_page=on_page))

    def _pages(
        self,
        path: str,
        kind: str,
        query: Iterable[tuple[str, str]] = (),
        shrink: Shrink = without_managed_fields,
        on_page: OnPage | None = None,
    ) -> Iterator[dict[str, Any]]:
        token, done = "", 0
        tokens: set[str] = set()
        while True:
            words = [*query, ("limit", str(PAGE)), *([("continue", token)] if token else [])]
            page = _check_list(self._client.call("GET", path, query=words), kind, path)
            items = page.get("items") or ()
            for item in items:
                yield {"apiVersion": page.get("apiVersion"), "kind": kind, **shrink(item)}
            metadata = page.get("metadata") or {}
            token = metadata.get("continue") or ""
            if token in tokens or len(tokens) > MOST_PAGES:
                raise ClusterError(f"GET {path}: the list does not end: it goes on after {len(tokens)} pages")
            tokens.add(token)
            done += len(items)
            if on_page is not None:
                # The server says from 1.16 on how many remain (1.15: where a gate is on; ListMeta.remainingItemCount).
                more = metadata.get("remainingItemCount") if token else 0
                on_page(RESOURCES[kind].plural, done, None if more is None else done + more)
            if not token:
                return


def _check_list(page: dict[str, Any], kind: str, path: str) -> dict[str, Any]:
    """Return a page of a list of which the items are of their kind's shape; else raise a ClusterError."""
    items, metadata = page.get("items") or [], page.get("metadata") or {}
    # A list without objects may have null for them, and has the word.
    is_list = "items" in page and page.get("kind", f"{kind}List") == f"{kind}List"
    if not is_list or not isinstance(items, list) or not isinstance(metadata, dict):
        raise ClusterError(f"GET {path}: the server's answer is not a list of {kind} objects")
    for item in items:
        _check_shape(item, kind, path)
    token, more = metadata.get("continue") or "", metadata.get("remainingItemCount") or 0
    if not isinstance(token, str) or not isinstance(more, int):
        raise ClusterError(f"GET {path}: the list has no such end as lists have")
    return page


def _check_shape(item: Any, kind: str, path: str) -> dict[str, Any]:
    """Return an object that is of its kind's shape; else raise a ClusterError."""
    mistake = mistake_in(item, kind)
    said = item.get("kind") if isinstance(item, Mapping) else None
    if said is not None and said != kind:
        mistake = f"it is of the kind {said}"
    if mistake:
        raise ClusterError(f"GET {path}: the server's answer is not a {kind}: {excerpt(mistake, 200)}")
    return dict(item)
