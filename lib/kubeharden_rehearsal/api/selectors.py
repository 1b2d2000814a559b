"""Label and field selectors in a query string, as far as they compare for equality: ``app=web,tier!=db``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from kubeharden_rehearsal.api.status import bad_request

Matcher = Callable[[Mapping[str, Any]], bool]
_REQUIREMENT = re.compile(r"\s*([\w./-]+)\s*(==|=|!=)\s*([\w./:-]*)\s*")
# The value of a field that is absent (the field label conversion functions in pkg/apis/core).
_UNSET = {"spec.unschedulable": "false"}


def matcher(labels: str, fields: str) -> Matcher | None:
    """Return a predicate for both selectors together; None when both are empty and all objects match.

    One that does not only compare for equality is refused (400).
    """
    by_label, by_field = _requirements(labels), _requirements(fields)
    if not by_label and not by_field:
        return None

    def matches(obj: Mapping[str, Any]) -> bool:
        its = obj["metadata"].get("labels") or {}
        return all((its.get(key) == value) is equal for key, value, equal in by_label) and all(
            (_field(obj, path) == value) is equal for path, value, equal in by_field
        )

    return matches


def _requirements(selector: str) -> list[tuple[str, str, bool]]:
    found = []
    for part in selector.split(",") if selector.strip() else ():
        match = _REQUIREMENT.fullmatch(part)
        if match is None:
            raise bad_request(
                f"a rehearsal cannot select by {part.strip()!r}, only by KEY=VALUE and KEY!=VALUE"
            )
        found.append((match[1], match[3], match[2] != "!="))
    return found


def _field(obj: Any, path: str) -> str:
    for step in path.split("."):
        obj = obj.get(step) if isinstance(obj, Mapping) else None
    if obj is None:
        return _UNSET.get(path, "")
    return str(obj).lower() if isinstance(obj, bool) else str(obj)
