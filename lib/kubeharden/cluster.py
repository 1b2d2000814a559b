"""The API server. The kubernetes client lives here and nowhere else.

Objects are plain dicts: the client's model classes for PodSecurityPolicy ended with its version 24, and they
are slow for long lists.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import kubernetes.config
import urllib3
from kubernetes.client.exceptions import ApiException
from kubernetes.config.config_exception import ConfigException

from kubeharden.errors import ClusterError, StaleError
from kubeharden.facts import ClusterFacts
from kubeharden.plan import ObjectChange
from kubeharden.redact import redact, remember
from kubeharden.resources import RESOURCES, Resource

PAGE = 500
TIMEOUT_SECONDS = (5, 30)  # to connect, to answer
HEARTBEAT_WAIT_SECONDS = 90
# Kept out of facts: nobody here needs what is in them, and it would only make facts big.
UNNEEDED = ("managedFields",)


class Cluster:
    """One API server, as one user.

    Args:
        kubeconfig: the path of a kubeconfig file.
        context: a context in it; None for its current one.

    Raises:
        ClusterError: the kubeconfig cannot be used.
    """

    def __init__(self, kubeconfig: str, context: str | None = None) -> None:
        try:
            self._api = kubernetes.config.new_client_from_config(kubeconfig, context, persist_config=False)
        except (ConfigException, OSError, ValueError) as error:
            raise ClusterError(f"cannot use the kubeconfig {kubeconfig}: {redact(str(error))}") from None
        self._api.configuration.retries = urllib3.Retry(total=2, backoff_factor=0.2, redirect=0)
        for value in self._api.configuration.api_key.values():
            remember(value.removeprefix("Bearer "))
        remember(self._api.configuration.password)
        self._served: dict[str, frozenset[str]] = {}
        self.user = _user_of(kubeconfig, context)

    def close(self) -> None:
        """Close the connections."""
        self._api.rest_client.pool_manager.clear()

    def version(self) -> str:
        """What the server says it is, such as ``v1.10.0``."""
        return str(self._get("/version")["gitVersion"])

    def observe(self, kinds: Iterable[str] | None = None) -> ClusterFacts:
        """All objects of the given kinds, in pages; by default of every kind that a plan is made from.

        Raises:
            ClusterError: the server cannot be reached, or refuses.
        """
        version = self.version()
        objects = {}
        for kind in kinds or RESOURCES:
            resource = RESOURCES[kind]
            path = self._path(resource)
            if path is not None:
                objects[resource.plural] = tuple(self._list(path, kind))
        return ClusterFacts(version=version, user=self.user, objects=objects)

    def may(self, verb: str, kind: str, namespace: str = "", subresource: str = "") -> bool:
        """Whether this user may do that, as the server sees it (SelfSubjectAccessReview).

        Raises:
            ClusterError: the server does not know the user, or cannot be reached.
        """
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
        answer = self._call("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review)
        return bool(answer.get("status", {}).get("allowed"))

    def kubelet_config(self, node: str) -> dict[str, Any] | None:
        """The effective configuration of a node's kubelet (``/configz``), or None where it does not serve it."""
        try:
            return dict(self._get(f"/api/v1/nodes/{node}/proxy/configz")["kubeletconfig"])
        except ClusterError:
            return None

    def apply(self, change: ObjectChange) -> None:
        """Create, replace or delete an object; one that is to be deleted may be gone already.

        Raises:
            StaleError: it was changed by somebody since it was looked at.
            ClusterError: the server refuses.
        """
        resource = RESOURCES[change.manifest["kind"]]
        meta = change.manifest["metadata"]
        path = self._path(resource, meta.get("namespace"))
        if path is None:
            raise ClusterError(
                f"{change.name}: the server does not serve {' or '.join(resource.api_versions)}"
            )
        if change.delete:
            self._delete(f"{path}/{meta['name']}", change)
        elif change.before is None:
            self._call("POST", path, change.manifest, what=change.name)
        else:
            self._call("PUT", f"{path}/{meta['name']}", change.manifest, what=change.name)

    def _delete(self, path: str, change: ObjectChange) -> None:
        seen = (change.before or {}).get("metadata", {})
        # An old server ignores the resourceVersion, which came later than the uid.
        wanted = {key: seen[key] for key in ("uid", "resourceVersion") if key in seen}
        options = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": wanted}
        try:
            self._call("DELETE", path, options, what=change.name)
        except _NotFoundError:
            return

    def wait_until_up(self, seconds: float = HEARTBEAT_WAIT_SECONDS) -> None:
        """Wait until the API server is healthy.

        Raises:
            ClusterError: it is not, in that time.
        """
        end = time.monotonic() + seconds
        while True:
            try:
                if self._text("/healthz").strip() == "ok":
                    return
                problem = "it is not healthy"
            except ClusterError as error:
                problem = str(error)
            if time.monotonic() > end:
                raise ClusterError(f"the API server did not come back within {seconds:g} seconds: {problem}")
            time.sleep(0.2)

    def heartbeat(self, node: str) -> tuple[bool, str]:
        """Whether a Node object is Ready, and the time of its last heartbeat (RFC 3339).

        Raises:
            ClusterError: there is no such node.
        """
        for condition in self._get(f"/api/v1/nodes/{node}").get("status", {}).get("conditions", ()):
            if condition["type"] == "Ready":
                return condition["status"] == "True", condition.get("lastHeartbeatTime") or ""
        return False, ""

    def wait_until_ready(self, node: str, after: str, seconds: float = HEARTBEAT_WAIT_SECONDS) -> None:
        """Wait until a node is Ready with a heartbeat newer than ``after``.

        A node may look Ready only because nobody has noticed yet that its kubelet is gone.

        Args:
            node: its name.
            after: when its kubelet was restarted, by the node's own clock, which heartbeats have too
                (RFC 3339 in UTC with whole seconds: as text they are in the order of time).
            seconds: how long to wait.

        Raises:
            ClusterError: it is not, in that time.
        """
        end = time.monotonic() + seconds
        while True:
            try:
                ready, heartbeat = self.heartbeat(node)
                if ready and heartbeat > after:
                    return
                state = f"without a heartbeat since {heartbeat}" if ready else "not Ready"
            except ClusterError as error:  # the API server may stumble while a node comes back
                state = f"not to be seen: {error}"
            if time.monotonic() > end:
                raise ClusterError(
                    f"{node} is {state} after {seconds:g} seconds; look at `journalctl -u kubelet` there"
                )
            time.sleep(0.2)

    def _path(self, resource: Resource, namespace: str | None = None) -> str | None:
        for version in resource.api_versions:
            base = f"/api/{version}" if "/" not in version else f"/apis/{version}"
            if resource.plural in self._resources(base):
                return (
                    f"{base}/namespaces/{namespace}/{resource.plural}"
                    if namespace
                    else f"{base}/{resource.plural}"
                )
        return None

    def _resources(self, base: str) -> frozenset[str]:
        if base not in self._served:
            try:
                found = self._get(base).get("resources", ())
                self._served[base] = frozenset(item["name"] for item in found)
            except _NotFoundError:
                self._served[base] = frozenset()
        return self._served[base]

    def _list(self, path: str, kind: str) -> list[dict[str, Any]]:
        """Every object there, in pages; from the beginning again if the pages outlive the server's memory."""
        try:
            return list(self._pages(path, kind))
        except _ExpiredError:
            return list(self._pages(path, kind))

    def _pages(self, path: str, kind: str) -> Iterator[dict[str, Any]]:
        token = ""
        while True:
            query = [("limit", str(PAGE)), *([("continue", token)] if token else [])]
            page = self._call("GET", path, query=query)
            for item in page.get("items") or ():
                for key in UNNEEDED:
                    item["metadata"].pop(key, None)
                yield {"apiVersion": page.get("apiVersion"), "kind": kind, **item}
            token = (page.get("metadata") or {}).get("continue") or ""
            if not token:
                return

    def _get(self, path: str) -> dict[str, Any]:
        return self._call("GET", path)

    def _call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        query: list[tuple[str, str]] | None = None,
        what: str = "",
    ) -> dict[str, Any]:
        text = self._text(path, method, body, query, what)
        try:
            answer = json.loads(text)
        except json.JSONDecodeError:
            raise ClusterError(
                f"{what or path}: the server's answer is no JSON: {redact(text[:200])}"
            ) from None
        return dict(answer)

    def _text(
        self,
        path: str,
        method: str = "GET",
        body: Mapping[str, Any] | None = None,
        query: list[tuple[str, str]] | None = None,
        what: str = "",
    ) -> str:
        request = self._api.param_serialize(
            method,
            path,
            query_params=query or [],
            header_params={"Accept": "application/json", "Content-Type": "application/json"},
            body=body,
            auth_settings=["BearerToken"],
        )
        try:
            response = self._api.call_api(*request, _request_timeout=TIMEOUT_SECONDS)
            data = response.read()
        except (urllib3.exceptions.HTTPError, ApiException) as error:
            raise ClusterError(f"cannot reach the API server: {_reason(error)}") from None
        text = data.decode("utf-8", errors="replace") if isinstance(data, bytes) else str(data or "")
        if response.status >= 400:  # noqa: PLR2004
            raise _refusal(response.status, text, what or path, self.user)
        return text


class _NotFoundError(ClusterError):
    pass


class _ExpiredError(ClusterError):
    """The rest of a list is not to be had any more (410)."""


def _refusal(status: int, text: str, what: str, user: str) -> ClusterError | StaleError:
    try:
        message = str(json.loads(text).get("message") or text)
    except (json.JSONDecodeError, AttributeError):
        message = text
    message = redact(message.strip()[:500])
    if status == 401:  # noqa: PLR2004
        return ClusterError(
            f"{what}: the API server does not know {user or 'this user'} (401): is the credential in the "
            "kubeconfig expired?"
        )
    if status == 403:  # noqa: PLR2004
        return ClusterError(f"{what}: {message}. Use a kubeconfig of a user who may")
    if status == 404:  # noqa: PLR2004
        return _NotFoundError(f"{what}: {message}")
    if status == 410:  # noqa: PLR2004
        return _ExpiredError(f"{what}: {message}")
    if status == 409:  # noqa: PLR2004
        return StaleError(
            f"{what}: {message}. Somebody else changed it; run again to plan from what is there now"
        )
    return ClusterError(f"{what}: the API server answered {status}: {message}")


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", None) or error
    return redact(str(reason)).partition(": ")[2] or redact(str(reason))


def _user_of(kubeconfig: str, context: str | None) -> str:
    contexts, current = kubernetes.config.list_kube_config_contexts(kubeconfig)
    chosen = next((c for c in contexts if c["name"] == context), None) if context else current
    return str((chosen or {}).get("context", {}).get("user", ""))
