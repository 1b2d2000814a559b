"""Linux capabilities: pkg/security/podsecuritypolicy/capabilities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kubeharden.podsecurity.psp.wording import invalid

ANY = "*"


@dataclass(frozen=True)
class CapabilitiesStrategy:
    """defaultAddCapabilities, requiredDropCapabilities and allowedCapabilities. Names are compared as written."""

    default_add: frozenset[str] = frozenset()
    required_drop: frozenset[str] = frozenset()
    allowed: frozenset[str] = frozenset()

    def generate(self, capabilities: dict[str, Any] | None) -> dict[str, Any] | None:
        """Return what a container gets, both lists sorted; the very same object where nothing is added.

        A default that the container drops itself is not added.
        """
        added = frozenset((capabilities or {}).get("add") or ())
        dropped = frozenset((capabilities or {}).get("drop") or ())
        add = added | (self.default_add - dropped)
        drop = dropped | self.required_drop
        if (add, drop) == (added, dropped):
            return capabilities
        return {key: sorted(names) for key, names in (("add", add), ("drop", drop)) if names}

    def refusals(self, path: str, capabilities: dict[str, Any] | None) -> list[str]:
        """Return why these capabilities may not be added; the required drops are there, since they were generated."""
        if ANY in self.allowed:
            return []
        return [
            invalid(f"{path}.add", name, "capability may not be added")
            for name in (capabilities or {}).get("add") or ()
            if name not in self.default_add and name not in self.allowed
        ]
