"""Server-side apply: who owns which field, and what an applied configuration makes of an object.

Field sets are written as the real server does (FieldsV1: sigs.k8s.io/structured-merge-diff), with two
simplifications: items of lists are told apart by the keys of strategic merge patch, and fields that
are changed by other writes are recorded from the first apply on, not before.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from kubeharden_rehearsal.api.patching import merge_key, strategic_merge
from kubeharden_rehearsal.api.status import ApiError, Cause, invalid_options

APPLY_PATCH = "application/apply-patch+yaml"

# A path from the root: "f:<field>" or "k:<JSON of the item's key>" a step.
Path = tuple[str, ...]

_SYSTEM_METADATA = frozenset(
    {
        "name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp",
        "deletionTimestamp", "managedFields", "generateName", "selfLink",
    }
)  # fmt: skip
_BEFORE_FIRST_APPLY = "before-first-apply"
_ABSENT = object()


def apply(
    live: dict[str, Any] | None,
    config: dict[str, Any],
    *,
    manager: str,
    force: bool,
    now: str,
) -> dict[str, Any]:
    """The object after a server-side apply.

    Args:
        live: a private copy of the object as it is, None when it does not exist yet; its parts are
            taken over into the result.
        config: the applied configuration, with apiVersion and kind; not changed.
        manager: the field manager that applies.
        force: take over the fields that others own.
        now: the time for managedFields, RFC 3339.

    Raises:
        ApiError: 422 without a manager; 409 when another manager owns a field with another value.
    """
    if not manager:
        cause = Cause("FieldValueRequired", "Required value: is required for apply patch", "fieldManager")
        raise invalid_options("PatchOptions", [cause])
    config = {**config, "metadata": {**config.get("metadata", {})}}
    config["metadata"].pop("managedFields", None)
    config["metadata"].pop("resourceVersion", None)
    owners = _owners(live, config["apiVersion"], now)
    mine = owners.pop((manager, "Apply"), None)
    wanted = field_paths(config)
    _settle_conflicts(live or {}, config, wanted, owners, force=force)
    merged: dict[str, Any] = strategic_merge(live or {}, config)
    if mine is not None:
        elsewhere = frozenset().union(*(owner.paths for owner in owners.values()))
        _drop(merged, mine.paths - wanted, kept=elsewhere | wanted)
    owners[manager, "Apply"] = (mine or _Owner(config["apiVersion"], now)).owning(wanted, now)
    merged["metadata"] = {**merged["metadata"], "managedFields": _managed_fields(owners)}
    return merged


def track_update(
    live: dict[str, Any], new: dict[str, Any], *, manager: str, now: str
) -> list[dict[str, Any]]:
    """Make changed fields belong to the manager of a write that is not an apply; return managedFields."""
    owners = _owners(live, new["apiVersion"], now)
    present = field_paths(new)
    changed = {path for path in present if _value_at(live, path) != _value_at(new, path)}
    for key, owner in owners.items():
        owners[key] = owner.owning((owner.paths & present) - changed, now)
    if changed:
        mine = owners.get((manager, "Update"), _Owner(new["apiVersion"], now))
        owners[manager, "Update"] = mine.owning(mine.paths | changed, now)
    return _managed_fields(owners)


class _Owner:
    """One entry of managedFields."""

    def __init__(self, api_version: str, time: str, paths: Iterable[Path] = ()) -> None:
        self.api_version = api_version
        self.time = time
        self.paths = frozenset(paths)

    def owning(self, paths: Iterable[Path], now: str) -> _Owner:
        # An apply that changes nothing must not change the object, so not the time either.
        paths = frozenset(paths)
        return self if paths == self.paths else _Owner(self.api_version, now, paths)


def _owners(live: dict[str, Any] | None, api_version: str, now: str) -> dict[tuple[str, str], _Owner]:
    if live is None:
        return {}
    entries = live["metadata"].get("managedFields")
    if not entries:
        return {(_BEFORE_FIRST_APPLY, "Update"): _Owner(api_version, now, field_paths(live))}
    return {
        (entry["manager"], entry["operation"]): _Owner(
            entry["apiVersion"], entry["time"], _paths_of(entry["fieldsV1"])
        )
        for entry in entries
    }


def _managed_fields(owners: Mapping[tuple[str, str], _Owner]) -> list[dict[str, Any]]:
    return [
        {
            "manager": manager,
            "operation": operation,
            "apiVersion": owner.api_version,
            "time": owner.time,
            "fieldsType": "FieldsV1",
            "fieldsV1": _fields_v1(owner.paths),
        }
        for (manager, operation), owner in sorted(owners.items())
        if owner.paths
    ]


def field_paths(obj: Mapping[str, Any]) -> frozenset[Path]:
    """The paths of all fields of an object that can be owned."""
    content = {name: value for name, value in obj.items() if name not in {"apiVersion", "kind"}}
    metadata = content.get("metadata", {})
    content["metadata"] = {name: value for name, value in metadata.items() if name not in _SYSTEM_METADATA}
    return frozenset(_walk(content, (), ()))


def _walk(value: Any, path: Path, names: tuple[str, ...]) -> Iterable[Path]:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _walk(inner, (*path, f"f:{name}"), (*names, name))
        return
    key = merge_key(names, value) if isinstance(value, list) and value else None
    if key is None:
        if path and path != ("f:metadata",):
            yield path
        return
    for item in value:
        step = (*path, "k:" + json.dumps({key: item[key]}, separators=(",", ":")))
        yield step
        yield from _walk(item, step, names)


def _value_at(obj: Any, path: Path) -> Any:
    for step in path:
        obj = _step_into(obj, step)
        if obj is _ABSENT:
            return _ABSENT
    # An item of a list is owned as such; its fields are owned one by one.
    return True if path[-1].startswith("k:") else obj


def _step_into(obj: Any, step: str) -> Any:
    if step.startswith("f:"):
        return obj.get(step[2:], _ABSENT) if isinstance(obj, dict) else _ABSENT
    ((key, wanted),) = json.loads(step[2:]).items()
    if not isinstance(obj, list):
        return _ABSENT
    return next((item for item in obj if item.get(key) == wanted), _ABSENT)


def _settle_conflicts(
    live: dict[str, Any],
    config: dict[str, Any],
    wanted: frozenset[Path],
    owners: dict[tuple[str, str], _Owner],
    *,
    force: bool,
) -> None:
    """Refuse to change fields of others, or take those fields away from them."""
    found: list[tuple[str, Path]] = []
    for (manager, operation), owner in list(owners.items()):
        disputed = {path for path in owner.paths & wanted if _value_at(live, path) != _value_at(config, path)}
        found += [(f'"{manager}" using {owner.api_version}', path) for path in sorted(disputed)]
        owners[manager, operation] = _Owner(owner.api_version, owner.time, owner.paths - disputed)
    if found and not force:
        raise _apply_conflict(found)


def _apply_conflict(found: list[tuple[str, Path]]) -> ApiError:
    if len(found) == 1:
        who, path = found[0]
        listed = f"1 conflict: conflict with {who}: {_readable(path)}"
    else:
        listed = f"{len(found)} conflicts:" + "".join(
            f"\n- conflict with {who}: {_readable(path)}" for who, path in found
        )
    causes = [
        {
            "reason": "FieldManagerConflict",
            "message": f"conflict with {who}",
            "field": _readable(path),
        }
        for who, path in found
    ]
    return ApiError(HTTPStatus.CONFLICT, "Conflict", f"Apply failed with {listed}", {"causes": causes})


def _readable(path: Path) -> str:
    text = ""
    for step in path:
        if step.startswith("f:"):
            text += f".{step[2:]}"
        else:
            ((key, value),) = json.loads(step[2:]).items()
            text += f"[{key}={json.dumps(value)}]"
    return text


def _drop(obj: dict[str, Any], paths: frozenset[Path], *, kept: frozenset[Path]) -> None:
    """Take away the fields that their manager no longer applies and nobody else owns."""
    # Items of lists go before their fields: without its key an item could not be found.
    for path in sorted(paths, key=len):
        if not any(other[: len(path)] == path for other in kept):
            _drop_at(obj, path)


def _drop_at(obj: Any, path: Path) -> None:
    parents = [obj]
    for step in path[:-1]:
        parents.append(_step_into(parents[-1], step))
        if parents[-1] is _ABSENT:
            return
    for parent, step in zip(reversed(parents), reversed(path), strict=True):
        if isinstance(parent, list):
            parent[:] = [item for item in parent if item is not _step_into(parent, step)]
        else:
            parent.pop(step[2:], None)
        if parent:
            return


def _fields_v1(paths: frozenset[Path]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for path in sorted(paths):
        node = tree
        for step in path:
            node = node.setdefault(step, {})
        if path[-1].startswith("k:"):
            node["."] = {}
    return tree


def _paths_of(tree: Mapping[str, Any], path: Path = ()) -> Iterable[Path]:
    if path and (not tree or "." in tree):
        yield path
    for step, inner in tree.items():
        if step != ".":
            yield from _paths_of(inner, (*path, step))
