"""From start-up flags to config files and pod security, for Kubernetes clusters built by hand.

Notebooks use ``kubeharden.runbook``. Without a cluster, ``kubeharden.migrate`` turns a command line into a
config file and what must stay a flag.
"""

from kubeharden.components import Effect, Finding, Migration, Profile, Setting, migrate, readiness
from kubeharden.errors import (
    ApprovalError,
    ClusterError,
    HostKeyError,
    KubehardenError,
    LockedError,
    MigrationRefusedError,
    NodeError,
    ParameterError,
    ProofError,
    RecordError,
    RehearsalError,
    RevertedError,
    StaleError,
    StoppedError,
    UnexpectedError,
    UnitError,
    UnknownApiVersionError,
    UnknownReleaseError,
)

__version__ = "0.2.0"

__all__ = [
    "ApprovalError",
    "ClusterError",
    "Effect",
    "Finding",
    "HostKeyError",
    "KubehardenError",
    "LockedError",
    "Migration",
    "MigrationRefusedError",
    "NodeError",
    "ParameterError",
    "Profile",
    "ProofError",
    "RecordError",
    "RehearsalError",
    "RevertedError",
    "Setting",
    "StaleError",
    "StoppedError",
    "UnexpectedError",
    "UnitError",
    "UnknownApiVersionError",
    "UnknownReleaseError",
    "__version__",
    "migrate",
    "readiness",
]
