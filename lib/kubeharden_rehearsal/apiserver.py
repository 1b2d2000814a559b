"""The rehearsal cluster's kube-apiserver: HTTP in front of an object store.

It speaks plain HTTP and knows its users by bearer token. Where it differs from a real one: there are no
schemas (unknown fields stay, wrong types pass, few defaults are set), objects are converted between
versions by name only, there is no garbage collector, and a deleted pod is gone at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import Any

from aiohttp import web
from multidict import CIMultiDict

from kubeharden.errors import RehearsalError
from kubeharden.kube.rbac import Identity
from kubeharden.releases import Release, feature
from kubeharden_rehearsal.api import status
from kubeharden_rehearsal.api.catalog import SUBRESOURCE_VERBS, Resource
from kubeharden_rehearsal.api.endpoints import AdmissionHook, Call, Endpoints, Reply, reply
from kubeharden_rehearsal.api.requests import (
    Access,
    Target,
    access_of,
    check_allowed,
    parse_number,
    parse_target,
    verb_of,
)
from kubeharden_rehearsal.api.reviews import Authorize
from kubeharden_rehearsal.api.selectors import matcher
from kubeharden_rehearsal.api.status import ApiError, Forbidden
from kubeharden_rehearsal.api.watching import Watch
from kubeharden_rehearsal.store import ObjectStore

__all__ = ["Access", "ApiError", "ApiServer", "Forbidden", "allow_all"]

NodeProxy = Callable[[str, str, str], Awaitable[tuple[int, str, bytes]]]

_AUTHENTICATED = "system:authenticated"
_WATCH_SECONDS = 1800
_STOP_SECONDS = 2.0


def allow_all(user: Identity, access: Access) -> bool:  # noqa: ARG001 - the signature of an authorizer
    """Allow everything to everyone, as ``--authorization-mode=AlwaysAllow``."""
    return True


class ApiServer:
    """A kube-apiserver of the store's release.

    Args:
        store: the objects; it outlives the server.
        users: who is who, by bearer token.
        authorize: whether a user may do something. Discovery and the reviews about oneself are
            allowed to every user.
        admit: called as ``admit(user, operation, object)`` before an object is created or updated,
            also on a dry run, but not for the status subresource. The operation is ``CREATE`` or
            ``UPDATE``, the object has apiVersion, kind and namespace and may be changed;
            ``Forbidden`` refuses it. What it returns are warnings for whoever asks.
        node_proxy: called as ``await node_proxy(node, path, query)`` for a GET of
            ``/api/v1/nodes/<node>/proxy<path>?<query>``; returns status, content type and body, or
            raises ConnectionError when the kubelet cannot be reached.
        version: what ``/version`` says, such as ``v1.20.2``; by default the first patch release.
    """

    def __init__(
        self,
        store: ObjectStore,
        *,
        users: Mapping[str, Identity],
        authorize: Authorize = allow_all,
        admit: AdmissionHook | None = None,
        node_proxy: NodeProxy | None = None,
        version: str | None = None,
    ) -> None:
        self._store = store
        self._git_version = version or f"v{store.release}.0"
        self._users = {token: _authenticated(user) for token, user in users.items()}
        self._authorize = authorize
        self._node_proxy = node_proxy
        self._endpoints = Endpoints(store, authorize, admit)
        self._watches: set[Watch] = set()
        self._runner: web.ServerRunner | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> int:
        """Listen, and return the port; 0 asks for a free one.

        Raises:
            RehearsalError: the server runs already.
            OSError: the port cannot be had.
        """
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
        self._loop = asyncio.get_running_loop()
        self._store.changed.append(self._on_change)
        return int(runner.addresses[0][1])

    async def stop(self) -> None:
        """Stop listening and close all connections; harmless when the server does not run."""
        if self._runner is None:
            return
        runner, self._runner = self._runner, None
        self._store.changed.remove(self._on_change)
        for watch in self._watches:
            watch.stop()
        await runner.cleanup()

    def _on_change(self) -> None:
        # Writes may come from any thread; watches live in the server's loop.
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._wake_watches)

    def _wake_watches(self) -> None:
        for watch in self._watches:
            watch.wake()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            return await self._answer(request)
        except ApiError as error:
            return _response(reply(error.status(), error.code))

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path.rstrip("/")
        public = self._public(path)
        if public is not None:
            return public
        user = self._user(request)
        document = self._discovery(path)
        if document is not None:
            if request.method != "GET":
                raise status.method_not_allowed()
            return _response(reply(document))
        target = parse_target(request.rel_url.raw_path)
        if target is None:
            return _page_not_found()
        resource = self._store.catalog.at(target.group, target.version, target.plural)
        if resource is None or not _exists(resource, target):
            return _page_not_found()
        return await self._answer_for(request, user, target, resource)

    async def _answer_for(
        self, request: web.BaseRequest, user: Identity, target: Target, resource: Resource
    ) -> web.StreamResponse:
        access = access_of(verb_of(request.method, target, request.query), target, request.query)
        own = resource.review and resource.kind.startswith("Self")
        allowed = own or self._authorize(user, access)
        check_allowed(allowed, user, access, resource, self._store.release)
        _check_method(resource, target, access.verb)
        if target.subresource == "proxy":
            return await self._proxy(target, request.rel_url.raw_query_string)
        if access.verb == "watch":
            return await self._watch(request, resource, target)
        call = Call(
            user=user,
            access=access,
            target=target,
            resource=resource,
            query=request.query,
            body=await request.content.read(),
            media_type=request.headers.get("Content-Type", "application/json").partition(";")[0],
            agent=request.headers.get("User-Agent", "").partition("/")[0],
        )
        return _response(self._endpoints.answer(call))

    def _public(self, path: str) -> web.Response | None:
        """What needs no token."""
        if path == "/version":
            return _response(reply(_version(self._store.release, self._git_version)))
        newer = feature("/livez and /readyz").in_release(self._store.release)
        if path == "/healthz" or (path in {"/livez", "/readyz"} and newer):
            return web.Response(text="ok")
        return None

    def _user(self, request: web.BaseRequest) -> Identity:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        user = self._users.get(token.strip()) if scheme.lower() == "bearer" else None
        if user is None:
            raise status.unauthorized()
        return user

    def _discovery(self, path: str) -> Any:
        catalog = self._store.catalog
        match path.split("/")[1:]:
            case ["api"]:
                return {"kind": "APIVersions", "versions": ["v1"]}
            case ["api", version]:
                return catalog.resource_list("", version)
            case ["apis"]:
                return catalog.group_list()
            case ["apis", group]:
                return catalog.group(group)
            case ["apis", group, version]:
                return catalog.resource_list(group, version)
        return None

    async def _watch(
        self, request: web.BaseRequest, resource: Resource, target: Target
    ) -> web.StreamResponse:
        query = request.query
        matches = matcher(resource, query.get("labelSelector", ""), query.get("fieldSelector", ""))
        since = parse_number(query, "resourceVersion")
        seconds = parse_number(query, "timeoutSeconds") or _WATCH_SECONDS
        watch = Watch(self._store, resource, target.namespace, matches)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        self._watches.add(watch)
        try:
            await response.prepare(request)
            async for line in watch.lines(since, seconds):
                await response.write(line.encode())
        finally:
            self._watches.discard(watch)
        return response

    async def _proxy(self, target: Target, query: str) -> web.Response:
        # A node may be named with the scheme and port of its kubelet: https:node-1:10250.
        parts = target.name.split(":")
        name = parts[1] if len(parts) > 2 else parts[0]  # noqa: PLR2004 - scheme, name, port
        self._store.get("Node", name)
        try:
            if self._node_proxy is None:
                raise ConnectionRefusedError("connection refused")
            code, content_type, body = await self._node_proxy(name, f"/{target.rest}", query)
        except ConnectionError as error:
            raise status.service_unavailable(f"error trying to reach service: {error}") from error
        return web.Response(status=code, body=body, headers={"Content-Type": content_type})


def _authenticated(user: Identity) -> Identity:
    if _AUTHENTICATED in user.groups:
        return user
    return replace(user, groups=user.groups | {_AUTHENTICATED})


def _exists(resource: Resource, target: Target) -> bool:
    """Whether the real server has a route there."""
    if target.subresource and target.subresource not in resource.subresources:
        return False
    if not resource.namespaced:
        return not target.namespace
    return bool(target.namespace or not target.name)


def _check_method(resource: Resource, target: Target, verb: str) -> None:
    verbs = SUBRESOURCE_VERBS[target.subresource] if target.subresource else resource.verbs
    misplaced = {
        "create": bool(target.name) and not target.subresource,
        "update": not target.name,
        "patch": not target.name,
    }
    everywhere = resource.namespaced and not target.namespace
    if verb not in verbs or misplaced.get(verb) or (everywhere and verb not in {"list", "watch"}):
        raise status.method_not_allowed()


def _response(answer: Reply) -> web.Response:
    # Without a charset, as the real server: clients compare the whole header.
    headers = CIMultiDict({"Content-Type": "application/json"})
    for warning in answer.warnings:
        text = warning.replace("\\", "\\\\").replace('"', '\\"')
        headers.add("Warning", f'299 - "{text}"')
    return web.Response(status=answer.code, body=answer.body.encode(), headers=headers)


def _page_not_found() -> web.Response:
    return web.Response(status=HTTPStatus.NOT_FOUND, text="404 page not found\n")


def _version(release: Release, git_version: str) -> dict[str, str]:
    return {
        "major": str(release.major),
        "minor": str(release.minor),
        "gitVersion": git_version,
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "gc",
        "platform": "linux/amd64",
    }
