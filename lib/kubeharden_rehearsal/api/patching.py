"""JSON patch, merge patch and strategic merge patch.

Sources: RFC 6902; RFC 7386; the patchStrategy and patchMergeKey tags in k8s.io/api.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from kubeharden_rehearsal.api.status import ApiError, bad_request, unsupported_media_type

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_MERGE_PATCH = "application/strategic-merge-patch+json"

# The end of a field's path, and the field by which its items are told apart. The longest end wins:
# a list under "ports" is a list of ports only in a container and in a Service.
MERGE_KEYS: dict[tuple[str, ...], str] = {
    ("containers",): "name",
    ("initContainers",): "name",
    ("ephemeralContainers",): "name",
    ("env",): "name",
    ("volumeMounts",): "mountPath",
    ("volumeDevices",): "devicePath",
    ("containers", "ports"): "containerPort",
    ("initContainers", "ports"): "containerPort",
    ("spec", "ports"): "port",
    ("spec", "volumes"): "name",
    ("hostAliases",): "ip",
    ("imagePullSecrets",): "name",
    ("topologySpreadConstraints",): "topologyKey",
    ("status", "conditions"): "type",
    ("status", "addresses"): "type",
    ("metadata", "ownerReferences"): "uid",
    ("secrets",): "name",
}
MERGED_SETS = (("metadata", "finalizers"),)
_LONGEST = max(len(end) for end in MERGE_KEYS)


def patched(target: Any, patch: Any, media_type: str) -> Any:
    """``target`` with a patch of one of the three media types applied; neither is changed.

    Raises:
        ApiError: 400, 415 or 422, the patch is of no known type or does not fit.
    """
    if media_type == JSON_PATCH:
        return json_patch(target, patch)
    if not isinstance(patch, dict):
        raise bad_request("json: cannot unmarshal the patch: expected an object")
    if media_type == MERGE_PATCH:
        return merge_patch(target, patch)
    if media_type == STRATEGIC_MERGE_PATCH:
        return strategic_merge(target, patch)
    raise unsupported_media_type((JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH))


def merge_key(path: Sequence[str], items: Sequence[Any]) -> str | None:
    """The merge key of the list at a path (field names from the root of the object).

    Returns:
        None for a list that is replaced as a whole, such as the volumes of a PodSecurityPolicy,
        which are words, not objects.
    """
    for length in range(_LONGEST, 0, -1):
        key = MERGE_KEYS.get(tuple(path[-length:]))
        if key is not None:
            known = all(isinstance(item, dict) and key in item for item in items)
            return key if known else None
    return None


def merge_patch(target: Any, patch: Any) -> Any:
    """What RFC 7386 makes of ``target``; neither argument is changed."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), value)
    return merged


def strategic_merge(target: Any, patch: Any, path: tuple[str, ...] = ()) -> Any:
    """``target`` with a strategic merge patch applied; neither argument is changed.

    ``$patch: delete`` and ``replace``, ``$deleteFromPrimitiveList`` and ``$retainKeys`` are obeyed;
    ``$setElementOrder`` is accepted and changes no order.
    """
    if isinstance(patch, list):
        return _merge_list(target if isinstance(target, list) else [], patch, path)
    if not isinstance(patch, dict):
        return patch
    directive = patch.get("$patch")
    if directive == "delete":
        return {}
    merged = dict(target) if isinstance(target, dict) and directive != "replace" else {}
    if "$retainKeys" in patch:
        merged = {name: value for name, value in merged.items() if name in patch["$retainKeys"]}
    for name, value in patch.items():
        if name.startswith("$"):
            _obey_list_directive(merged, name, value)
        elif value is None:
            merged.pop(name, None)
        else:
            merged[name] = strategic_merge(merged.get(name), value, (*path, name))
    return merged


def _obey_list_directive(merged: dict[str, Any], name: str, value: Any) -> None:
    directive, _, field = name.partition("/")
    if directive == "$deleteFromPrimitiveList":
        merged[field] = [item for item in merged.get(field, []) if item not in value]


def _merge_list(target: list[Any], patch: list[Any], path: tuple[str, ...]) -> list[Any]:
    if path in MERGED_SETS:
        return [*target, *(item for item in patch if item not in target)]
    if {"$patch": "replace"} in patch:
        return [copy.deepcopy(item) for item in patch if item != {"$patch": "replace"}]
    key = merge_key(path, [*target, *patch])
    if key is None:
        return copy.deepcopy(patch)
    merged = list(target)
    for item in patch:
        _merge_item(merged, item, key, path)
    return merged


def _merge_item(merged: list[Any], item: dict[str, Any], key: str, path: tuple[str, ...]) -> None:
    place = next((at for at, old in enumerate(merged) if old[key] == item[key]), None)
    if item.get("$patch") == "delete":
        if place is not None:
            del merged[place]
    elif place is None:
        merged.append(strategic_merge({}, item, path))
    else:
        merged[place] = strategic_merge(merged[place], item, path)


def json_patch(target: Any, operations: Any) -> Any:
    """``target`` with the operations of RFC 6902 applied in order; ``target`` is not changed.

    Raises:
        ApiError: 400 for something that is not a JSON patch, 422 for one that does not fit the object.
    """
    if not isinstance(operations, list) or not all(isinstance(op, dict) for op in operations):
        raise bad_request("json: cannot unmarshal object into Go value of type jsonpatch.Patch")
    document = copy.deepcopy(target)
    for operation in operations:
        document = _apply_operation(document, operation)
    return document


def _apply_operation(document: Any, operation: dict[str, Any]) -> Any:
    try:
        op, path = operation["op"], _steps(operation["path"])
        if op == "test":
            if _at(document, path) != operation["value"]:
                raise _unfit(f"testing value {operation['path']} failed")
            return document
        if op in {"copy", "move"}:
            value = copy.deepcopy(_at(document, _steps(operation["from"])))
            if op == "move":
                document = _remove(document, _steps(operation["from"]))
            return _add(document, path, value)
        if op == "remove":
            return _remove(document, path)
        if op == "replace":
            _at(document, path)
            return _replace(document, path, operation["value"])
        if op == "add":
            return _add(document, path, operation["value"])
    except (LookupError, ValueError, TypeError) as error:
        raise _unfit(f"{operation}: {error}") from error
    raise bad_request(f"Unexpected kind: {op}")


def _unfit(why: str) -> ApiError:
    cause = {"reason": "UnexpectedServerResponse", "message": why}
    return ApiError(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "Invalid",
        "the server rejected our request due to an error in our request",
        {"causes": [cause]},
    )


def _steps(pointer: str) -> list[str]:
    if pointer and not pointer.startswith("/"):
        raise ValueError(f"{pointer!r} is not a JSON pointer")
    return [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]


def _at(document: Any, steps: Sequence[str]) -> Any:
    for step in steps:
        document = document[_index(document, step)]
    return document


def _index(container: Any, step: str) -> Any:
    if not isinstance(container, list):
        return step
    at = int(step)
    if not 0 <= at < len(container):
        raise IndexError(f"no item {step}")
    return at


def _add(document: Any, steps: list[str], value: Any) -> Any:
    if not steps:
        return value
    parent, last = _at(document, steps[:-1]), steps[-1]
    if not isinstance(parent, list):
        parent[last] = value
    elif last == "-" or int(last) == len(parent):
        parent.append(value)
    else:
        parent.insert(_index(parent, last), value)
    return document


def _replace(document: Any, steps: list[str], value: Any) -> Any:
    if not steps:
        return value
    parent = _at(document, steps[:-1])
    parent[_index(parent, steps[-1])] = value
    return document


def _remove(document: Any, steps: list[str]) -> Any:
    if not steps:
        raise ValueError("the whole document cannot be removed")
    parent = _at(document, steps[:-1])
    del parent[_index(parent, steps[-1])]
    return document
