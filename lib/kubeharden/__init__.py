"""From start-up flags to config files and pod security, for Kubernetes clusters built by hand.

Notebooks use ``kubeharden.runbook``. Without a cluster, ``kubeharden.migrate`` turns a command line into a
config file and what must stay a flag.
"""

import typing as _typing

from kubeharden import errors as _errors
from kubeharden.errors import *  # noqa: F403 - its list of errors is the only one

if _typing.TYPE_CHECKING:
    from kubeharden.components import Effect, Finding, Migration, Profile, Setting, migrate, readiness

__version__ = "0.2.0"

__all__ = [
    "Effect",
    "Finding",
    "Migration",
    "Profile",
    "Setting",
    "__version__",
    "migrate",
    "readiness",
]
__all__ += _errors.__all__


def __getattr__(name: str) -> _typing.Any:
    """Return what ``components`` has, once somebody asks: papermill imports this package whatever it executes."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from kubeharden import components  # noqa: PLC0415 - see above

    return getattr(components, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
