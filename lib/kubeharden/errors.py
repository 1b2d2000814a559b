"""Everything that kubeharden raises on purpose.

    KubehardenError
    ├── ParameterError          a parameter, an inventory or a policies file is wrong: nothing was touched
    ├── UnknownReleaseError     no table covers this Kubernetes release
    │   └── UnknownApiVersionError  the release accepts no config file of this apiVersion
    ├── UnitError               a systemd unit or a command line cannot be read
    ├── MigrationRefusedError   a node has settings that cannot be moved safely: it is left alone
    ├── NodeError               a node cannot be reached, or what runs there failed
    │   └── HostKeyError        its SSH host key is unknown or has changed
    │   └── RevertedError       the change failed there, and the node has its old configuration again
    ├── ClusterError            the API server cannot be used, or refused a request
    ├── StaleError              something changed since it was last looked at: nothing was written over it
    ├── LockedError             somebody else's run has the cluster, or has taken it over: nothing more is written
    ├── StoppedError            a run was interrupted; the message says what became of the nodes in hand
    ├── ProofError              after a change, something is not as the plan promised
    ├── ApprovalError           the plan is not the one that was approved, or an approval lacks: nothing was changed
    ├── RecordError             what happens cannot be recorded, or a record cannot be read
    ├── RehearsalError          the embedded rehearsal cluster cannot run
    └── UnexpectedError         something that nobody thought of; its message is the redacted traceback

Every message says what was wrong, where, and what to do about it.
"""

from __future__ import annotations


class KubehardenError(Exception):
    """The root of all errors raised by kubeharden on purpose."""


class ParameterError(KubehardenError, ValueError):
    """A parameter, an inventory or a policies file is wrong; nothing was touched."""


class UnknownReleaseError(KubehardenError, LookupError):
    """No table covers this Kubernetes release."""


class UnknownApiVersionError(UnknownReleaseError):
    """The release accepts no config file of this apiVersion."""


class UnitError(KubehardenError, ValueError):
    """A systemd unit or a command line cannot be read."""


class MigrationRefusedError(KubehardenError):
    """A node has settings that cannot be moved safely; it is left alone."""


class NodeError(KubehardenError):
    """A node cannot be reached, or what was run there failed."""


class HostKeyError(NodeError):
    """The SSH host key of a node is unknown, or is not the one in known_hosts."""


class RevertedError(NodeError):
    """A change failed on a node, which has its old configuration again."""


class ClusterError(KubehardenError):
    """The API server cannot be used, or refused a request."""


class StaleError(KubehardenError):
    """Something changed since it was last looked at; nothing was written over it."""


class LockedError(KubehardenError):
    """Somebody else's run has the cluster, or has taken it over; nothing more is written."""


class StoppedError(KubehardenError):
    """A run was interrupted; the message says what became of the nodes that it had in hand."""


class ProofError(KubehardenError):
    """After a change, something is not as the plan promised."""


class ApprovalError(KubehardenError):
    """The plan is not the one that was approved, or an approval lacks; nothing was changed."""


class RecordError(KubehardenError):
    """What happens cannot be recorded, or a record cannot be read."""


class RehearsalError(KubehardenError):
    """The embedded rehearsal cluster cannot run."""


class UnexpectedError(KubehardenError):
    """Something that nobody thought of; its message is the traceback, without secrets."""
