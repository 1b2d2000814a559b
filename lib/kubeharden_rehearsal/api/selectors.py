"""Label and field selectors, as they stand in a query string."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from kubeharden_rehearsal.api.catalog import Resource
from kubeharden_rehearsal.api.status import bad_request

Matcher = Callable[[Mapping[str, Any]], bool]

_KEY = r"(?:[A-Za-z0-9.-]+/)?[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?"
_VALUE = r"[A-Za-z0-9_.-]*"
_REQUIREMENT = re.compile(
    rf"\s*(?:"
    rf"(?P<absent>!)?\s*(?P<exists>{_KEY})"
    rf"|(?P<key>{_KEY})\s*(?P<op>==|=|!=)\s*(?P<value>{_VALUE})"
    rf"|(?P<set_key>{_KEY})\s+(?P<set_op>in|notin)\s*\((?P<values>[^()]*)\)"
    rf")\s*"
)
_OUTSIDE_PARENTHESES = re.compile(r",(?![^()]*\))")


def matcher(resource: Resource, label_selector: str, field_selector: str) -> Matcher | None:
    """A predicate for both selectors together; None when both are empty and all objects match.

    Raises:
        ApiError: 400, a selector cannot be read.
    """
    if not label_selector and not field_selector:
        return None
    labels, fields = label_matcher(label_selector), field_matcher(field_selector, resource)
    return lambda obj: labels(obj) and fields(obj)


def label_matcher(selector: str) -> Matcher:
    """A predicate on objects for a labelSelector, equality based or set based.

    Raises:
        ApiError: 400, the selector cannot be read.
    """
    requirements = [
        _label_requirement(part, selector)
        for part in (_OUTSIDE_PARENTHESES.split(selector) if selector.strip() else [])
    ]

    def matches(obj: Mapping[str, Any]) -> bool:
        labels = obj["metadata"].get("labels") or {}
        return all(requirement(labels) for requirement in requirements)

    return matches


def field_matcher(selector: str, resource: Resource) -> Matcher:
    """A predicate on objects of a resource for a fieldSelector.

    Raises:
        ApiError: 400, the selector cannot be read or names a field that cannot be selected by.
    """
    requirements = [_field_requirement(part, resource) for part in selector.split(",") if part.strip()]
    return lambda obj: all(requirement(obj) for requirement in requirements)


def _label_requirement(part: str, selector: str) -> Matcher:
    match = _REQUIREMENT.fullmatch(part)
    if match is None:
        raise bad_request(f"unable to parse requirement: {part.strip()!r} in {selector!r}")
    if match["exists"]:
        key, expected = match["exists"], match["absent"] is None
        return lambda labels: (key in labels) is expected
    if match["set_key"]:
        values = frozenset(value.strip() for value in match["values"].split(","))
        return _membership(match["set_key"], values, inside=match["set_op"] == "in")
    return _membership(match["key"], frozenset({match["value"]}), inside=match["op"] != "!=")


def _membership(key: str, values: frozenset[str], *, inside: bool) -> Matcher:
    if inside:
        return lambda labels: key in labels and labels[key] in values
    # An object without the label satisfies != and notin: labels.Requirement.Matches.
    return lambda labels: key not in labels or labels[key] not in values


def _field_requirement(part: str, resource: Resource) -> Matcher:
    match = re.fullmatch(r"\s*([\w.]+)\s*(==|=|!=)\s*(.*?)\s*", part)
    if match is None:
        raise bad_request(f"invalid selector: {part!r}; can't understand {part!r}")
    path, equal, value = match[1], match[2] != "!=", match[3]
    if path not in {"metadata.name", "metadata.namespace"}:
        _check_selectable(path, resource)
    unset = resource.selectable_fields.get(path, "")
    steps = path.split(".")
    return lambda obj: (_text_at(obj, steps, unset) == value) is equal


def _check_selectable(path: str, resource: Resource) -> None:
    if path in resource.selectable_fields:
        return
    if resource.selectable_fields:
        raise bad_request(f"field label not supported: {path}")
    raise bad_request(f'"{path}" is not a known field selector: only "metadata.name", "metadata.namespace"')


def _text_at(obj: Any, steps: list[str], unset: str) -> str:
    for step in steps:
        obj = obj.get(step) if isinstance(obj, Mapping) else None
    if obj is None:
        return unset
    return str(obj).lower() if isinstance(obj, bool) else str(obj)
