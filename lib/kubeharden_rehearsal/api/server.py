"""The rehearsal cluster's kube-apiserver: HTTP in front of an object store.

It speaks plain HTTP, knows its users by bearer token, and allows them everything. It differs from a real one: it has no
schemas (unknown fields stay, wrong types pass, few defaults are set), no watches, no dry run, no patches but merge
patches and no garbage collector, it converts objects between versions by name only, and a deleted pod is gone at once.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

from aiohttp import web
from multidict import CIMultiDict

from kubeharden.errors import RehearsalError
from kubeharden.kube.names import AUTHENTICATED
from kubeharden.kube.rbac import Identity
from kubeharden.releases import Release, feature
from kubeharden_rehearsal.api import status
from kubeharden_rehearsal.api.catalog import SUBRESOURCE_VERBS, Resource
from kubeharden_rehearsal.api.eviction import evict
from kubeharden_rehearsal.api.rules import Object, check_type, merge_patch, private_copy
from kubeharden_rehearsal.api.selectors import matcher
from kubeharden_rehearsal.api.status import ApiError, Forbidden
from kubeharden_rehearsal.api.store import ObjectStore

AdmissionHook = Callable[[Identity, str, Object], Sequence[str] | None]
NodeProxy = Callable[[str, str], Awaitable[tuple[int, str, bytes]]]

MERGE_PATCH = "application/merge-patch+json"
_OTHERS = ", application/yaml, application/vnd.kubernetes.protobuf"  # which a real one takes, too
_STOP_SECONDS = 2.0
# What is returned when it is deleted (ReturnDeletedObject in pkg/registry); of anything else, a Status is.
_RETURNED = ("Namespace", "PersistentVolumeClaim", "Pod", "PodSecurityPolicy", "Service", "ServiceAccount")
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_GROUP_PARTS, _NAMESPACE_PARTS = 3, 3


@dataclass(frozen=True)
class Target:
    """The place that a URL names under ``/api/v1`` or ``/apis/<group>/<version>``.

    Attributes:
        rest: what follows the subresource, for a proxy; else empty.
    """

    group: str
    version: str
    plural: str = ""
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    rest: str = ""


@dataclass(frozen=True)
class Call:
    """One request for a resource.

    Attributes:
        body: the object in the body; empty without one.
        warnings: what admission has to say of an object that it admits.
    """

    user: Identity
    verb: str
    target: Target
    resource: Resource
    query: Mapping[str, str]
    body: Object
    warnings: list[str] = field(default_factory=list)


class ApiServer:
    """A kube-apiserver of the store's release.

    Args:
        admit: called as ``admit(user, operation, object)`` before an object is created or updated, but not for the
            status subresource. The operation is ``CREATE`` or ``UPDATE``, the object has apiVersion, kind and
            namespace and may be changed; ``Forbidden`` refuses it. What it returns are warnings for the user.
        node_proxy: called as ``await node_proxy(node, path)`` for a GET of ``/api/v1/nodes/<node>/proxy<path>``;
            returns status, content type and body, or raises ConnectionError when the kubelet cannot be reached.
        version: what ``/version`` says, such as ``v1.20.2``; by default the first patch release.
    """

    def __init__(
        self,
        store: ObjectStore,
        *,
        users: Mapping[str, Identity],
        admit: AdmissionHook | None = None,
        node_proxy: NodeProxy | None = None,
        version: str | None = None,
    ) -> None:
        self._store, self._admit, self._node_proxy = store, admit, node_proxy
        self._git_version = version or f"v{store.release}.0"
        self._users = {
            token: Identity(user.user, user.groups | {AUTHENTICATED}) for token, user in users.items()
        }
        self._runner: web.ServerRunner | None = None
        self._verbs: dict[str, Callable[[Call], tuple[int, str]]] = {
            "get": self._get,
            "list": self._list,
            "create": self._create,
            "update": self._update,
            "patch": self._update,
            "delete": self._delete,
        }

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> int:
        """Listen, and return the port; 0 asks for a free one. An OSError where it cannot be had."""
        if self._runner is not None:
            raise RehearsalError("the API server runs already; stop() it before start()")
        server = web.Server(self._handle, access_log=None, handler_cancellation=True)
        runner = web.ServerRunner(server, handle_signals=False, shutdown_timeout=_STOP_SECONDS)
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError:
            await runner.cleanup()
            raise
        self._runner = runner
        return int(runner.addresses[0][1])

    async def stop(self) -> None:
        """Stop listening and close all connections; harmless when the server does not run."""
        if self._runner is not None:
            runner, self._runner = self._runner, None
            await runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            return await self._answer(request)
        except ApiError as error:
            return _response(error.code, json.dumps(error.status()))

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path.rstrip("/")
        newer = feature("/livez and /readyz").in_release(self._store.release)
        if path == "/version":
            return _response(HTTPStatus.OK, json.dumps(_version(self._store.release, self._git_version)))
        if path == "/healthz" or (path in {"/livez", "/readyz"} and newer):
            return web.Response(text="ok")
        user = self._user(request)
        document = self._store.catalog.document(path)
        if document is not None:
            if request.method != "GET":
                raise status.method_not_allowed()
            return _response(HTTPStatus.OK, json.dumps(document))
        target = _target(request.rel_url.raw_path)
        if target is None or (resource := self._resource(target)) is None:
            if target is not None and self._store.catalog.serves(target.group):
                raise ApiError(404, "NotFound", "the server could not find the requested resource")
            return web.Response(status=HTTPStatus.NOT_FOUND, text="404 page not found\n")
        verb = _VERBS.get(request.method, "get" if target.name else "list")
        _check_method(resource, target, verb)
        if request.query.get("dryRun") or request.query.get("watch"):
            raise status.bad_request("a rehearsal has no dry runs and no watches")
        if target.subresource == "proxy":
            return await self._proxy(target)
        body = _body(await request.content.read(), request.headers.get("Content-Type", ""), verb, resource)
        call = Call(user, verb, target, resource, request.query, body)
        code, text = self._verbs[verb](call)
        shown = call.warnings if feature("Warning headers").in_release(self._store.release) else ()
        return _response(code, text, shown)

    def _user(self, request: web.BaseRequest) -> Identity:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        user = self._users.get(token.strip()) if scheme.lower() == "bearer" else None
        if user is None:
            raise ApiError(401, "Unauthorized", "Unauthorized")
        return user

    def _resource(self, target: Target) -> Resource | None:
        """Return the resource at a target; None where the real server has no route there."""
        resource = self._store.catalog.at(target.group, target.version, target.plural)
        if resource is None or (target.subresource and target.subresource not in resource.subresources):
            return None
        exists = bool(target.namespace or not target.name) if resource.namespaced else not target.namespace
        return resource if exists else None

    async def _proxy(self, target: Target) -> web.Response:
        self._store.get("Node", target.name)
        try:
            if self._node_proxy is None:
                raise ConnectionRefusedError("connection refused")
            code, content_type, body = await self._node_proxy(target.name, f"/{target.rest}")
        except ConnectionError as error:
            words = f"error trying to reach service: {error}"
            raise ApiError(503, "ServiceUnavailable", words) from error
        return web.Response(status=code, body=body, headers={"Content-Type": content_type})

    def _get(self, call: Call) -> tuple[int, str]:
        return HTTPStatus.OK, json.dumps(
            self._store.get(call.resource, call.target.name, call.target.namespace)
        )

    def _list(self, call: Call) -> tuple[int, str]:
        limit = call.query.get("limit") or "0"
        if not limit.isdigit():
            raise status.bad_request(f'strconv.ParseInt: parsing "{limit}": invalid syntax')
        page = self._store.page(
            call.resource,
            call.target.namespace,
            matches=matcher(call.query.get("labelSelector", ""), call.query.get("fieldSelector", "")),
            limit=int(limit),
            token=call.query.get("continue", ""),
        )
        metadata: dict[str, Any] = {"resourceVersion": str(page.resource_version)}
        if page.continue_token:
            metadata["continue"] = page.continue_token
            counted = feature("remainingItemCount of lists").in_release(self._store.release)
            if page.remaining is not None and counted:
                metadata["remainingItemCount"] = page.remaining
        kind, version = f"{call.resource.kind}List", call.resource.api_version
        head = json.dumps({"kind": kind, "apiVersion": version, "metadata": metadata})
        # The items are JSON already: a list of a big cluster is put together, not serialised.
        return HTTPStatus.OK, f'{head[:-1]},"items":[{",".join([stored.json for stored in page.items])}]}}'

    def _create(self, call: Call) -> tuple[int, str]:
        target = call.target
        if target.subresource == "eviction":
            evict(self._store, target.name, target.namespace, call.body)
            return HTTPStatus.CREATED, json.dumps(status.status("Success", HTTPStatus.CREATED))
        if not call.resource.is_stored:
            # SelfSubjectAccessReview: every user of this server may do everything.
            check_type(call.resource, call.body)
            return HTTPStatus.CREATED, json.dumps({**call.body, "status": {"allowed": True}})
        admit = self._admission(call, "CREATE")
        return HTTPStatus.CREATED, json.dumps(
            self._store.create(call.resource, call.body, target.namespace, admit)
        )

    def _update(self, call: Call) -> tuple[int, str]:
        target, body = call.target, call.body
        changed = self._store.update(
            call.resource,
            target.name,
            target.namespace,
            lambda live: merge_patch(live, body) if call.verb == "patch" else body,
            subresource=target.subresource,
            admit=self._admission(call, "UPDATE"),
        )
        return HTTPStatus.OK, json.dumps(changed)

    def _delete(self, call: Call) -> tuple[int, str]:
        preconditions = call.body.get("preconditions")
        last = self._store.delete(call.resource, call.target.name, call.target.namespace, preconditions)
        if call.resource.kind in _RETURNED or last["metadata"].get("finalizers"):
            return HTTPStatus.OK, json.dumps(last)
        uid, group = last["metadata"]["uid"], call.resource.group
        details = {"name": call.target.name, "group": group, "kind": call.resource.plural, "uid": uid}
        details = {field: value for field, value in details.items() if value}
        done = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
        return HTTPStatus.OK, json.dumps(done)

    def _admission(self, call: Call, operation: str) -> Callable[[Object], None]:
        def admit(obj: Object) -> None:
            try:
                if self._admit is not None:
                    call.warnings.extend(self._admit(call.user, operation, obj) or ())
            except Forbidden as refusal:
                metadata = obj["metadata"]
                # As the real messages do: the name is not yet made up when admission is asked.
                name = metadata.get("name") or metadata.get("generateName", "")
                raise status.forbidden(call.resource, name, refusal.reason) from refusal

        return admit


def _target(raw_path: str) -> Target | None:
    """Read a URL's path, still percent-encoded; None when it points at no API version.

    Source: RequestInfoFactory.NewRequestInfo in k8s.io/apiserver/pkg/endpoints/request.
    """
    parts = [unquote(part) for part in raw_path.lstrip("/").split("/")]
    if parts[0] == "api" and len(parts) > 1:
        group, version, parts = "", parts[1], parts[2:]
    elif parts[0] == "apis" and len(parts) >= _GROUP_PARTS:
        group, version, parts = parts[1], parts[2], parts[3:]
    else:
        return None
    namespace = ""
    if len(parts) >= _NAMESPACE_PARTS and parts[0] == "namespaces" and parts[2] != "status":
        namespace, parts = parts[1], parts[2:]
    plural, name, subresource = (*parts, "", "", "")[:3]
    return Target(group, version, plural, namespace, name, subresource, "/".join(parts[3:]))


def _body(data: bytes, content_type: str, verb: str, resource: Resource) -> Object:
    """Read a body, which must be an object in JSON; it may be absent where nothing is written.

    Another media type is refused with 415, something else with 400.
    """
    accepted = MERGE_PATCH if verb == "patch" else "application/json"
    if not data and verb not in {"create", "update", "patch"}:
        return {}
    if content_type.partition(";")[0] not in {accepted, ""}:
        words = "the body of the request was in an unknown format - accepted media types include: "
        raise ApiError(415, "UnsupportedMediaType", words + accepted + ("" if verb == "patch" else _OTHERS))
    try:
        obj = json.loads(data)
        problem = "" if isinstance(obj, dict) else "json: cannot unmarshal this into Go value of type struct"
    except ValueError as error:
        problem = str(error)
    if problem:
        words = f"the object provided is unrecognized (must be of type {resource.kind}): couldn't get version/kind; "
        raise status.bad_request(f"{words}json parse error: {problem}")
    return obj if verb == "patch" else private_copy(obj)


def _check_method(resource: Resource, target: Target, verb: str) -> None:
    verbs = SUBRESOURCE_VERBS[target.subresource] if target.subresource else resource.verbs
    named = bool(target.name) and not target.subresource
    misplaced = named if verb == "create" else verb != "list" and not target.name
    everywhere = resource.namespaced and not target.namespace
    if verb not in verbs or misplaced or (everywhere and verb != "list"):
        raise status.method_not_allowed()


def _response(code: int, text: str, warnings: Sequence[str] = ()) -> web.Response:
    # Without a charset, as the real server: clients compare the whole header.
    headers = CIMultiDict({"Content-Type": "application/json"})
    for warning in warnings:
        quoted = warning.replace("\\", "\\\\").replace('"', '\\"')
        headers.add("Warning", f'299 - "{quoted}"')
    return web.Response(status=code, body=text.encode(), headers=headers)


def _version(release: Release, git_version: str) -> dict[str, str]:
    return {
        "major": str(release.major),
        "minor": str(release.minor),
        "gitVersion": git_version,
        **dict.fromkeys(("gitCommit", "gitTreeState", "buildDate", "goVersion"), ""),
        "compiler": "gc",
        "platform": "linux/amd64",
    }
