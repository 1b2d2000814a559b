"""What a request asks for: who, which verb, which resource, with which options and body."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import yaml

from kubeharden.kube.rbac import Identity
from kubeharden.releases import Release, feature
from kubeharden_rehearsal.api.catalog import Resource
from kubeharden_rehearsal.api.status import (
    Cause,
    bad_request,
    forbidden,
    invalid_options,
    unsupported_media_type,
)

BODY_TYPES = ("application/json", "application/yaml")
_PROPAGATION_POLICIES = ("Background", "Foreground", "Orphan")
_NAMESPACE_SUBRESOURCES = frozenset({"status", "finalize"})
_TRUE = frozenset({"true", "True", "1"})


@dataclass(frozen=True)
class Access:
    """What an authorizer is asked about.

    Attributes:
        verb: get, list, watch, create, update, patch, delete, deletecollection; in an access review
            any word, such as ``use``.
        group: the API group, empty for the core group.
        resource: the plural.
        subresource: such as ``status``; empty for none.
        namespace: empty for the cluster scope, or for all namespaces.
        name: the object's name; empty for a create or a list.
        path: the path, in an access review about something that is not a resource; empty otherwise.
    """

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""


@dataclass(frozen=True)
class Target:
    """What a URL under ``/api/v1`` or ``/apis/<group>/<version>`` points at.

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


def parse_target(raw_path: str) -> Target | None:
    """Read a URL's path, still percent-encoded; None when it points at no API version.

    Source: RequestInfoFactory.NewRequestInfo in k8s.io/apiserver/pkg/endpoints/request.
    """
    parts = [unquote(part) for part in raw_path.lstrip("/").split("/")]
    if parts[0] == "api" and len(parts) > 1:
        group, version, parts = "", parts[1], parts[2:]
    elif parts[0] == "apis" and len(parts) > 2:  # noqa: PLR2004 - apis, group, version
        group, version, parts = parts[1], parts[2], parts[3:]
    else:
        return None
    namespace = ""
    if len(parts) > 2 and parts[0] == "namespaces" and parts[2] not in _NAMESPACE_SUBRESOURCES:  # noqa: PLR2004
        namespace, parts = parts[1], parts[2:]
    plural, name, subresource = (*parts, "", "", "")[:3]
    return Target(group, version, plural, namespace, name, subresource, "/".join(parts[3:]))


def verb_of(method: str, target: Target, query: Mapping[str, str]) -> str:
    """The API verb of a request; empty for a method that the API does not know."""
    if method == "GET":
        if is_true(query.get("watch", "")) and not target.name:
            return "watch"
        return "get" if target.name else "list"
    if method == "DELETE":
        return "delete" if target.name else "deletecollection"
    return {"POST": "create", "PUT": "update", "PATCH": "patch"}.get(method, "")


def access_of(verb: str, target: Target, query: Mapping[str, str]) -> Access:
    """What must be allowed for a request.

    A list of the one object that a fieldSelector names counts as access to that object, and a
    namespace counts as lying in itself, as in NewRequestInfo.
    """
    name = target.name
    selector = query.get("fieldSelector", "")
    if not name and selector.startswith("metadata.name=") and "," not in selector:
        name = selector.removeprefix("metadata.name=").removeprefix("=")
    namespace = target.name if target.plural == "namespaces" else target.namespace
    return Access(verb, target.group, target.plural, target.subresource, namespace, name)


def check_allowed(
    allowed: bool,
    user: Identity,
    access: Access,
    resource: Resource,
    release: Release,
) -> None:
    """Refuse what the authorizer did not allow.

    Source: forbiddenMessage in k8s.io/apiserver/pkg/endpoints/handlers/responsewriters/errors.go;
    kubernetes/kubernetes PR 67209 changed its wording in 1.12.

    Raises:
        ApiError: 403.
    """
    if allowed:
        return
    plural = access.resource
    sub = f"/{access.subresource}" if access.subresource else ""
    where = f'in the namespace "{access.namespace}"' if access.namespace else "at the cluster scope"
    if feature("message: in API group").in_release(release):
        what = f'resource "{plural}{sub}" in API group "{access.group}"'
    else:
        what = (f"{plural}.{access.group}" if access.group else plural) + sub
    why = f'User "{user.user}" cannot {access.verb} {what} {where}'
    raise forbidden(resource, access.name, why)


def parse_body(body: bytes, media_type: str, accepted: Sequence[str] = BODY_TYPES) -> Any:
    """Read a body: JSON, or YAML where the media type says so.

    Raises:
        ApiError: 415 for a media type that is not accepted, 400 for a body that cannot be read.
    """
    if media_type not in accepted:
        raise unsupported_media_type(accepted)
    try:
        # JSON is tried first for YAML, too: clients write it there, and it is read far quicker.
        return json.loads(body)
    except ValueError as error:
        if not media_type.endswith("yaml"):
            raise bad_request(f"couldn't get version/kind; json parse error: {error}") from error
    try:
        return yaml.safe_load(body)
    except yaml.YAMLError as error:
        raise bad_request(f"error converting YAML to JSON: {error}") from error


def parse_object(body: bytes, media_type: str, accepted: Sequence[str] = BODY_TYPES) -> dict[str, Any]:
    """Read a body that must be an object; see ``parse_body``.

    Raises:
        ApiError: 400 or 415.
    """
    obj = parse_body(body, media_type, accepted)
    if not isinstance(obj, dict):
        raise bad_request("the object provided is unrecognized (must be of type map)")
    return obj


def parse_dry_run(kind: str, values: Sequence[str], release: Release) -> bool:
    """Whether nothing is to be stored.

    Server-side dry run is on from 1.13 (kubernetes/kubernetes PR 69644); 1.12 and before refuse it
    in their own words (kubernetes/kubernetes issue 68583).

    Raises:
        ApiError: 400 before 1.13; 422 for anything but ``All``.
    """
    values = [value for value in values if value]
    if not values:
        return False
    if release < feature("dry run").alpha:
        raise bad_request("dryRun is not supported yet")
    if not feature("dry run").in_release(release):
        raise bad_request("the dryRun alpha feature is disabled")
    wrong = [value for value in values if value != "All"]
    if wrong:
        shown = ", ".join(f'"{value}"' for value in wrong)
        message = f'Unsupported value: {shown}: supported values: "All"'
        raise invalid_options(kind, [Cause("FieldValueNotSupported", message, "dryRun")])
    return True


@dataclass(frozen=True)
class DeleteOptions:
    """How to delete, from the body and the query.

    Attributes:
        uid: the object must have this one; empty: any.
        resource_version: the object must have this one; empty: any.
        dry_run: do everything but delete.
    """

    uid: str
    resource_version: str
    dry_run: bool


def parse_delete_options(
    body: Mapping[str, Any], query: Mapping[str, str], release: Release
) -> DeleteOptions:
    """Read DeleteOptions; a propagationPolicy is checked, but there is no garbage collector.

    Raises:
        ApiError: 400 or 422.
    """
    policy = body.get("propagationPolicy") or query.get("propagationPolicy")
    if policy and policy not in _PROPAGATION_POLICIES:
        supported = ", ".join(f'"{known}"' for known in (*_PROPAGATION_POLICIES, "nil"))
        message = f'Unsupported value: "{policy}": supported values: {supported}'
        cause = Cause("FieldValueNotSupported", message, "propagationPolicy")
        raise invalid_options("DeleteOptions", [cause])
    dry_run = [*(body.get("dryRun") or []), query.get("dryRun", "")]
    preconditions = body.get("preconditions") or {}
    return DeleteOptions(
        uid=preconditions.get("uid") or "",
        resource_version=preconditions.get("resourceVersion") or "",
        dry_run=parse_dry_run("DeleteOptions", dry_run, release),
    )


def parse_number(query: Mapping[str, str], name: str) -> int:
    """A query parameter that is a number, 0 or more; 0 when it is absent.

    Raises:
        ApiError: 400.
    """
    text = query.get(name) or "0"
    if not text.isascii() or not text.isdigit():
        raise bad_request(f'Invalid value: "{text}": {name} must be a number of 0 or more')
    return int(text)


def is_true(text: str) -> bool:
    """Whether a query parameter says yes."""
    return text in _TRUE
