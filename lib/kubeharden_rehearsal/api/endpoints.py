"""The verbs of the API on stored objects: from a request that is allowed to the reply."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any

from multidict import MultiMapping

from kubeharden.kube.rbac import Identity
from kubeharden.releases import feature
from kubeharden_rehearsal.api import reviews, status
from kubeharden_rehearsal.api.apply import APPLY_PATCH
from kubeharden_rehearsal.api.catalog import Resource
from kubeharden_rehearsal.api.eviction import evict
from kubeharden_rehearsal.api.objects import Object, check_type, private_copy
from kubeharden_rehearsal.api.patching import JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH
from kubeharden_rehearsal.api.requests import (
    Access,
    Target,
    check_allowed,
    is_true,
    parse_body,
    parse_delete_options,
    parse_dry_run,
    parse_number,
    parse_object,
)
from kubeharden_rehearsal.api.selectors import Matcher, matcher
from kubeharden_rehearsal.store import Admit, ObjectStore

AdmissionHook = Callable[[Identity, str, Object], Sequence[str] | None]


@dataclass(frozen=True)
class Call:
    """One request for a resource, read and allowed.

    Attributes:
        user: who asks.
        access: what was allowed.
        target: what the URL points at.
        resource: the resource at the target.
        query: the query parameters.
        body: the body as it came.
        media_type: the body's type, without parameters.
        agent: the program that asks, from the User-Agent header.
        warnings: what admission has to say of an object that it admits.
    """

    user: Identity
    access: Access
    target: Target
    resource: Resource
    query: MultiMapping[str]
    body: bytes
    media_type: str
    agent: str
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Reply:
    """What is sent back; each of the warnings becomes a header of its own."""

    code: int
    body: str
    warnings: tuple[str, ...] = ()


def reply(obj: Any, code: int = HTTPStatus.OK) -> Reply:
    """A reply with an object as JSON."""
    return Reply(code, json.dumps(obj, separators=(",", ":")))


class Endpoints:
    """All verbs but watch and proxy.

    Args:
        store: the objects.
        authorize: who may do what, for reviews.
        admit: the admission of ``ApiServer``.
    """

    def __init__(self, store: ObjectStore, authorize: reviews.Authorize, admit: AdmissionHook | None) -> None:
        self._store = store
        self._authorize = authorize
        self._admit = admit
        self._verbs: dict[str, Callable[[Call], Reply]] = {
            "get": self._get,
            "list": self._list,
            "create": self._create,
            "update": self._update,
            "patch": self._patch,
            "delete": self._delete,
            "deletecollection": self._delete_collection,
        }

    def answer(self, call: Call) -> Reply:
        """Do what a call asks for.

        Raises:
            ApiError: the call is refused.
        """
        if call.resource.review:
            return self._review(call)
        if call.target.subresource == "eviction":
            return self._evict(call)
        answered = self._verbs[call.access.verb](call)
        return (
            replace(answered, warnings=tuple(call.warnings))
            if feature("Warning headers").in_release(self._store.release)
            else answered
        )

    def _get(self, call: Call) -> Reply:
        return reply(self._store.get(call.resource, call.target.name, call.target.namespace))

    def _list(self, call: Call) -> Reply:
        page = self._store.page(
            call.resource,
            call.target.namespace,
            matches=_matcher(call),
            limit=parse_number(call.query, "limit"),
            token=call.query.get("continue", ""),
        )
        metadata: dict[str, Any] = {"resourceVersion": str(page.resource_version)}
        if page.continue_token:
            metadata["continue"] = page.continue_token
            counted = feature("remainingItemCount of lists").in_release(self._store.release)
            if page.remaining is not None and counted:
                metadata["remainingItemCount"] = page.remaining
        # The items are JSON already: a list of a big cluster is put together, not serialised.
        head = json.dumps(_list_head(call.resource, metadata), separators=(",", ":"))
        items = ",".join([stored.json for stored in page.items])
        return Reply(HTTPStatus.OK, f'{head[:-1]},"items":[{items}]}}')

    def _create(self, call: Call) -> Reply:
        created = self._store.create(
            call.resource,
            parse_object(call.body, call.media_type),
            call.target.namespace,
            admit=self._admission(call, "CREATE"),
            dry_run=self._dry_run(call, "CreateOptions"),
        )
        return reply(created, HTTPStatus.CREATED)

    def _update(self, call: Call) -> Reply:
        updated = self._store.replace(
            call.resource,
            parse_object(call.body, call.media_type),
            name=call.target.name,
            namespace=call.target.namespace,
            subresource=call.target.subresource,
            admit=self._admission(call, "UPDATE"),
            dry_run=self._dry_run(call, "UpdateOptions"),
            manager=_manager(call),
        )
        return reply(updated)

    def _patch(self, call: Call) -> Reply:
        accepted = [JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH]
        if feature("server-side apply").in_release(self._store.release):
            accepted.append(APPLY_PATCH)
        patch = parse_body(call.body, call.media_type, accepted)
        dry_run = self._dry_run(call, "PatchOptions")
        if call.media_type == APPLY_PATCH:
            return self._apply(call, patch, dry_run=dry_run)
        patched = self._store.patch(
            call.resource,
            call.target.name,
            call.target.namespace,
            patch,
            call.media_type,
            subresource=call.target.subresource,
            admit=self._admission(call, "UPDATE"),
            dry_run=dry_run,
            manager=_manager(call),
        )
        return reply(patched)

    def _apply(self, call: Call, config: Any, *, dry_run: bool) -> Reply:
        if not isinstance(config, dict):
            raise status.bad_request("error decoding YAML: expected an object")
        exists = self._store.exists(call.resource, call.target.name, call.target.namespace)
        if not exists:
            access = replace(call.access, verb="create")
            allowed = self._authorize(call.user, access)
            check_allowed(allowed, call.user, access, call.resource, self._store.release)
        applied = self._store.apply(
            call.resource,
            config,
            manager=call.query.get("fieldManager", ""),
            force=is_true(call.query.get("force", "")),
            name=call.target.name,
            namespace=call.target.namespace,
            subresource=call.target.subresource,
            admit=self._admission(call, "UPDATE" if exists else "CREATE"),
            dry_run=dry_run,
        )
        return reply(applied, HTTPStatus.OK if exists else HTTPStatus.CREATED)

    def _delete(self, call: Call) -> Reply:
        options = parse_delete_options(_options(call), call.query, self._store.release)
        resource = call.resource
        last = self._store.delete(
            resource,
            call.target.name,
            call.target.namespace,
            uid=options.uid,
            resource_version=options.resource_version,
            dry_run=options.dry_run,
        )
        metadata = last["metadata"]
        if resource.returns_deleted or resource.kind == "Namespace" or "finalizers" in metadata:
            return reply(last)
        details = status.details_of(resource, metadata["name"]) | {"uid": metadata["uid"]}
        return reply(status.success(details=details))

    def _delete_collection(self, call: Call) -> Reply:
        options = parse_delete_options(_options(call), call.query, self._store.release)
        deleted = self._store.delete_collection(
            call.resource, call.target.namespace, matches=_matcher(call), dry_run=options.dry_run
        )
        metadata = {"resourceVersion": str(self._store.generation)}
        return reply(_list_head(call.resource, metadata) | {"items": deleted})

    def _evict(self, call: Call) -> Reply:
        eviction = private_copy(parse_object(call.body, call.media_type))
        options = eviction.get("deleteOptions") or {}
        deletion = parse_delete_options(options, call.query, self._store.release)
        evict(
            self._store,
            call.target.name,
            call.target.namespace,
            eviction,
            dry_run=deletion.dry_run,
        )
        return reply(status.success(HTTPStatus.CREATED), HTTPStatus.CREATED)

    def _review(self, call: Call) -> Reply:
        review = private_copy(parse_object(call.body, call.media_type))
        check_type(call.resource, review)
        answered = reviews.answer(call.resource, review, call.user, self._authorize, self._store.catalog)
        return reply(answered, HTTPStatus.CREATED)

    def _dry_run(self, call: Call, options: str) -> bool:
        return parse_dry_run(options, call.query.getall("dryRun", []), self._store.release)

    def _admission(self, call: Call, operation: str) -> Admit | None:
        hook = self._admit
        if hook is None:
            return None

        def admit(obj: Object) -> None:
            try:
                call.warnings.extend(hook(call.user, operation, obj) or ())
            except status.Forbidden as refusal:
                metadata = obj["metadata"]
                # As the real messages do: the name is not yet made up when admission is asked.
                name = metadata.get("name") or metadata.get("generateName", "")
                raise status.forbidden(call.resource, name, refusal.reason) from refusal

        return admit


def _matcher(call: Call) -> Matcher | None:
    return matcher(call.resource, call.query.get("labelSelector", ""), call.query.get("fieldSelector", ""))


def _options(call: Call) -> Object:
    """DeleteOptions, which may be left out, or be null."""
    options = parse_body(call.body, call.media_type) if call.body else None
    return {} if options is None else private_copy(options)


def _manager(call: Call) -> str:
    return call.query.get("fieldManager") or call.agent or "unknown"


def _list_head(resource: Resource, metadata: Object) -> Object:
    return {
        "kind": f"{resource.kind}List",
        "apiVersion": resource.api_version,
        "metadata": metadata,
    }
