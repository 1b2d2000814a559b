"""Linux capabilities: pkg/security/podsecuritypolicy/capabilities. Names are compared as written."""

from __future__ import annotations

from typing import Any

from kubeharden.podsecurity.psp.policy import PolicySpec
from kubeharden.podsecurity.psp.wording import invalid

ANY = "*"


def with_required(spec: PolicySpec, capabilities: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return what a container gets, both lists sorted; the very same object where nothing is added.

    A default that the container drops itself is not added.
    """
    added = frozenset((capabilities or {}).get("add") or ())
    dropped = frozenset((capabilities or {}).get("drop") or ())
    add = added | (frozenset(spec.default_add) - dropped)
    drop = dropped | frozenset(spec.required_drop)
    if (add, drop) == (added, dropped):
        return capabilities
    return {key: sorted(names) for key, names in (("add", add), ("drop", drop)) if names}


def capability_refusals(spec: PolicySpec, path: str, capabilities: dict[str, Any] | None) -> list[str]:
    """Return why these capabilities may not be added; the required drops are there, since they were generated."""
    allowed = {*spec.default_add, *spec.allowed_capabilities}
    if ANY in spec.allowed_capabilities:
        return []
    added = (capabilities or {}).get("add") or ()
    return [
        invalid(f"{path}.add", name, "capability may not be added") for name in added if name not in allowed
    ]
