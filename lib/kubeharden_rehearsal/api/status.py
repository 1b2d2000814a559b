"""What the API server answers when it does not answer with an object: Status, and its errors.

Codes, reasons and messages are those of k8s.io/apimachinery/pkg/api/errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from kubeharden.errors import RehearsalError
from kubeharden_rehearsal.api.catalog import Resource


class ApiError(RehearsalError):
    """A request that the API server refuses.

    Attributes:
        code: the HTTP status code.
        reason: a machine-readable word, such as ``NotFound``; may be empty.
        message: the sentence that clients show.
        details: what it is about: name, group, kind, causes.
    """

    def __init__(self, code: int, reason: str, message: str, details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details

    def status(self) -> dict[str, Any]:
        """The Status object that is sent."""
        body: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            body["reason"] = self.reason
        if self.details is not None:
            body["details"] = self.details
        return body | {"code": self.code}


class Forbidden(RehearsalError):  # noqa: N818 - the word of Kubernetes for it
    """Raised by admission to refuse an object.

    Args:
        reason: what comes after ``<resource> "<name>" is forbidden: ``.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Cause:
    """One thing that is wrong with an object: ``FieldValueInvalid``, a message, the field's path."""

    reason: str
    message: str
    field: str


def success(code: int | None = None, details: dict[str, Any] | None = None) -> dict[str, Any]:
    """The Status of a request that worked."""
    body: dict[str, Any] = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
    }
    if details is not None:
        body["details"] = details
    return body if code is None else body | {"code": code}


def details_of(resource: Resource, name: str, *, kind: str = "") -> dict[str, Any]:
    """Status details; ``kind`` holds the resource's plural, in Invalid its kind, as the real ones do."""
    details = {"name": name, "group": resource.group, "kind": kind or resource.plural}
    return {key: value for key, value in details.items() if value}


def bad_request(message: str) -> ApiError:
    """400."""
    return ApiError(HTTPStatus.BAD_REQUEST, "BadRequest", message)


def unauthorized() -> ApiError:
    """401: the request carries no token that the server knows."""
    return ApiError(HTTPStatus.UNAUTHORIZED, "Unauthorized", "Unauthorized")


def forbidden(resource: Resource, name: str, why: str) -> ApiError:
    """403, of authorization or of admission."""
    about = f'{resource.qualified} "{name}"' if name else resource.qualified
    return ApiError(
        HTTPStatus.FORBIDDEN,
        "Forbidden",
        f"{about} is forbidden: {why}",
        details_of(resource, name),
    )


def not_found(resource: Resource, name: str) -> ApiError:
    """404 for an object."""
    return ApiError(
        HTTPStatus.NOT_FOUND,
        "NotFound",
        f'{resource.qualified} "{name}" not found',
        details_of(resource, name),
    )


def method_not_allowed() -> ApiError:
    """405."""
    return ApiError(
        HTTPStatus.METHOD_NOT_ALLOWED,
        "MethodNotAllowed",
        "the server does not allow this method on the requested resource",
        {},
    )


def already_exists(resource: Resource, name: str) -> ApiError:
    """409 for a create."""
    return ApiError(
        HTTPStatus.CONFLICT,
        "AlreadyExists",
        f'{resource.qualified} "{name}" already exists',
        details_of(resource, name),
    )


MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"


def conflict(resource: Resource, name: str, why: str = MODIFIED) -> ApiError:
    """409 for a write against an object that has changed meanwhile."""
    return ApiError(
        HTTPStatus.CONFLICT,
        "Conflict",
        f'Operation cannot be fulfilled on {resource.qualified} "{name}": {why}',
        details_of(resource, name),
    )


def expired(message: str) -> ApiError:
    """410: the resourceVersion or the continue token is no longer known."""
    return ApiError(HTTPStatus.GONE, "Expired", message)


def unsupported_media_type(accepted: Sequence[str]) -> ApiError:
    """415."""
    return ApiError(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        "UnsupportedMediaType",
        "the body of the request was in an unknown format - accepted media types include: "
        + ", ".join(accepted),
    )


def invalid(resource: Resource, name: str, causes: Sequence[Cause]) -> ApiError:
    """422 for an object whose fields are wrong."""
    return _invalid(resource.qualified_kind, name, causes, details_of(resource, name, kind=resource.kind))


def invalid_options(kind: str, causes: Sequence[Cause]) -> ApiError:
    """422 for wrong query parameters, which the API server reads as an object of meta.k8s.io."""
    return _invalid(f"{kind}.meta.k8s.io", "", causes, {"group": "meta.k8s.io", "kind": kind})


def _invalid(about: str, name: str, causes: Sequence[Cause], details: dict[str, Any]) -> ApiError:
    sentences = [f"{cause.field}: {cause.message}" for cause in causes]
    listed = sentences[0] if len(sentences) == 1 else f"[{', '.join(sentences)}]"
    details["causes"] = [
        {"reason": cause.reason, "message": cause.message, "field": cause.field} for cause in causes
    ]
    return ApiError(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "Invalid",
        f'{about} "{name}" is invalid: {listed}',
        details,
    )


def too_many_requests(message: str, causes: Sequence[Cause]) -> ApiError:
    """429, as an eviction gets it that a PodDisruptionBudget does not allow."""
    listed = [{"reason": cause.reason, "message": cause.message} for cause in causes]
    return ApiError(HTTPStatus.TOO_MANY_REQUESTS, "TooManyRequests", message, {"causes": listed})


def service_unavailable(message: str) -> ApiError:
    """503."""
    return ApiError(HTTPStatus.SERVICE_UNAVAILABLE, "ServiceUnavailable", message)
