"""The kinds of run, a module each. To add one: a module here with its class, and that in ``KINDS``."""

from __future__ import annotations

from typing import Any

from kubeharden.errors import ParameterError
from kubeharden.runs.kind import Kind
from kubeharden.runs.kinds.harden import Harden
from kubeharden.runs.kinds.rollback import Rollback
from kubeharden.runs.kinds.upgrade_readiness import UpgradeReadiness

KINDS: tuple[type[Kind[Any]], ...] = (Harden, Rollback, UpgradeReadiness)


def kind_named(name: str) -> type[Kind[Any]]:
    """Return the kind of run with this name; a ParameterError says that there is none."""
    for kind in KINDS:
        if kind.name == name:
            return kind
    raise ParameterError(
        f"there is no kind of run {name!r}; expected one of {', '.join(k.name for k in KINDS)}"
    )
