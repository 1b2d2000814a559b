"""A pod as the checks of the Pod Security Standards read it: typed, by path, without a copy.

What the API server's decoder would refuse (a string in the place of a boolean) is refused here too: guessing what
was meant would judge another pod than the one that runs. Null is the same as absent, as it is in Kubernetes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from kubeharden.errors import ParameterError
from kubeharden.kube.pods import CONTAINER_LISTS

_NOTHING: Mapping[str, Any] = {}


class Fields:
    """An object within a pod, and where it is: ``spec.containers[0].securityContext``.

    Every reader returns None for a field that is absent or null, and raises ParameterError for a wrong type.
    """

    __slots__ = ("path", "values")

    def __init__(self, path: str, values: Mapping[str, Any]) -> None:
        self.path = path
        self.values = values

    def flag(self, key: str) -> bool | None:
        """Return a boolean."""
        value = self.values.get(key)
        if value is None or value is True or value is False:
            return value
        raise _type_error(f"{self.path}.{key}", "true or false", value)

    def number(self, key: str) -> int | None:
        """Return an integer; a boolean is refused."""
        value = self.values.get(key)
        if value is None or type(value) is int:
            return value
        raise _type_error(f"{self.path}.{key}", "an integer", value)

    def text(self, key: str) -> str | None:
        """Return a string."""
        value = self.values.get(key)
        if value is None or isinstance(value, str):
            return value
        raise _type_error(f"{self.path}.{key}", "a string", value)

    def child(self, key: str) -> Fields | None:
        """Return an object; None differs from an empty one: ``seccompProfile: {}`` is a profile without a type."""
        value = self.values.get(key)
        if value is None:
            return None
        return Fields(f"{self.path}.{key}", _mapping(f"{self.path}.{key}", value))

    def descend(self, *keys: str) -> Fields | None:
        """Return the object at the end of these keys; None where one of them is absent or null."""
        here: Fields | None = self
        for key in keys:
            here = here.child(key) if here else None
        return here

    def children(self, key: str) -> list[Fields]:
        """Return the objects of a list; null within it is an empty object, as for Kubernetes' decoder."""
        path = f"{self.path}.{key}"
        return [
            Fields(f"{path}[{i}]", _NOTHING if value is None else _mapping(f"{path}[{i}]", value))
            for i, value in enumerate(_sequence(path, self.values.get(key)))
        ]

    def texts(self, key: str) -> list[str]:
        """Return the strings of a list; null within it is an empty string, as for Kubernetes' decoder."""
        path = f"{self.path}.{key}"
        texts = []
        for value in _sequence(path, self.values.get(key)):
            if value is not None and not isinstance(value, str):
                raise _type_error(path, "strings", value)
            texts.append(value or "")
        return texts


class Container(NamedTuple):
    """A container of any of the three kinds.

    Attributes:
        label: what a person calls it: ``init container setup``.
        security: its securityContext; empty where it has none.
    """

    label: str
    fields: Fields
    security: Fields


class Pod:
    """A Pod object, an item of a list of pods, or a pod template; what it does not have is empty.

    Raises:
        ParameterError: it is something else, or something in it has a type that Kubernetes does not accept.
    """

    __slots__ = ("annotations", "containers", "security", "spec")

    def __init__(self, pod: Mapping[str, Any]) -> None:
        kind = _mapping("the pod", pod).get("kind")
        if kind not in (None, "", "Pod"):
            raise ParameterError(
                f"pod: expected a Pod or a pod template, found the kind {kind!r}; take its template"
            )
        metadata = pod.get("metadata")
        annotations = None if metadata is None else _mapping("metadata", metadata).get("annotations")
        self.annotations = Fields("metadata.annotations", _NOTHING)
        if annotations is not None:
            self.annotations.values = _mapping("metadata.annotations", annotations)
        spec = pod.get("spec")
        self.spec = Fields("spec", _NOTHING if spec is None else _mapping("spec", spec))
        self.security = _security(self.spec)
        self.containers = [
            Container(f"{label} {fields.text('name') or fields.path}", fields, _security(fields))
            for key, label in CONTAINER_LISTS.items()
            if key in self.spec.values
            for fields in self.spec.children(key)
        ]

    def contexts(self) -> list[tuple[str, Fields]]:
        """Return every securityContext with whose it is: the pod's, then those of its containers."""
        return [("the pod", self.security), *((c.label, c.security) for c in self.containers)]

    @property
    def windows(self) -> bool:
        """Return whether it says that it is for Windows."""
        system = self.spec.child("os")
        return system is not None and system.text("name") == "windows"

    @property
    def in_user_namespace(self) -> bool:
        """Return whether root in its containers is not root on the node."""
        return self.spec.flag("hostUsers") is False


def _security(holder: Fields) -> Fields:
    return holder.child("securityContext") or Fields(f"{holder.path}.securityContext", _NOTHING)


def _mapping(path: str, value: object) -> Mapping[str, Any]:
    if isinstance(value, dict | Mapping):
        return value
    raise _type_error(path, "an object", value)


def _sequence(path: str, value: object) -> Sequence[Any]:
    if value is None:
        return ()
    if isinstance(value, list | tuple):
        return value
    raise _type_error(path, "a list", value)


def _type_error(path: str, wanted: str, value: object) -> ParameterError:
    """Return the error without the value itself, which may be a secret."""
    return ParameterError(f"pod: {path} must be {wanted}, found {type(value).__name__}")
