"""The refusals of the API server, with the codes, reasons and sentences of k8s.io/apimachinery/pkg/api/errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kubeharden.errors import RehearsalError
from kubeharden_rehearsal.api.catalog import Resource


class ApiError(RehearsalError):
    """A request that the API server refuses.

    Attributes:
        reason: a machine-readable word, such as ``NotFound``.
        message: the sentence that clients show.
    """

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code, self.reason, self.message = code, reason, message

    def status(self) -> dict[str, Any]:
        """Return the Status object that is sent."""
        return {**status("Failure", self.code), "reason": self.reason, "message": self.message}


class Forbidden(RehearsalError):  # noqa: N818 - the word of Kubernetes for it
    """An object that admission refuses; the reason comes after ``<resource> "<name>" is forbidden: ``."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def status(result: str, code: int) -> dict[str, Any]:
    """Return a Status object: ``Success`` or ``Failure``."""
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": result, "code": code}


def bad_request(message: str) -> ApiError:
    """Return 400."""
    return ApiError(400, "BadRequest", message)


def forbidden(resource: Resource, name: str, why: str) -> ApiError:
    """Return 403."""
    about = f'{resource.qualified} "{name}"' if name else resource.qualified
    return ApiError(403, "Forbidden", f"{about} is forbidden: {why}")


def not_found(resource: Resource, name: str) -> ApiError:
    """Return 404 for an object."""
    return ApiError(404, "NotFound", f'{resource.qualified} "{name}" not found')


def method_not_allowed() -> ApiError:
    """Return 405."""
    words = "the server does not allow this method on the requested resource"
    return ApiError(405, "MethodNotAllowed", words)


MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"


def conflict(resource: Resource, name: str, why: str = MODIFIED) -> ApiError:
    """Return 409 for a write to an object that has changed meanwhile."""
    about = f'Operation cannot be fulfilled on {resource.qualified} "{name}"'
    return ApiError(409, "Conflict", f"{about}: {why}")


def invalid(resource: Resource, name: str, problems: Sequence[str]) -> ApiError:
    """Return 422 for an object with wrong fields; each problem is ``field: what is wrong``."""
    about = f"{resource.kind}.{resource.group}" if resource.group else resource.kind
    listed = problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]"
    return ApiError(422, "Invalid", f'{about} "{name}" is invalid: {listed}')
