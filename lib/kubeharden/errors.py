"""Everything that kubeharden raises on purpose.

    KubehardenError
    ├── ParameterError            a parameter, an inventory or a policies file is wrong: nothing was touched
    ├── UnknownReleaseError       no table covers this Kubernetes release
    │   └── UnknownApiVersionError    the release accepts no config file of this apiVersion
    ├── UnitError                 a systemd unit or a command line cannot be read
    ├── MigrationRefusedError     a node has settings that cannot be moved safely: it is left alone
    ├── NodeError                 one or more nodes cannot be reached, or what runs there failed
    │   ├── HostKeyError              an SSH host key is unknown or has changed
    │   └── RevertedError             the change failed there, and the node has its old configuration again
    ├── ClusterError              the API server cannot be used, or refused a request
    │   ├── NotFoundError             there is no such object or path (404)
    │   ├── ExpiredError              the rest of a list cannot be read any more (410)
    │   ├── TooManyRequestsError      not now (429): the server is busy, or a PodDisruptionBudget forbids an eviction
    │   └── RetryableError            no answer, or one (5xx) that may be another in a moment
    ├── StaleError                something changed since it was last looked at: nothing was written over it
    ├── LockedError               somebody else's run has the cluster, or has taken it over: nothing more is written
    ├── StepError                 a step of a plan failed; ``failures`` has the error of each node and object
    ├── StoppedError              a run was interrupted; the message says what became of the nodes in hand
    ├── ProofError                after a change, something is not as the plan promised
    ├── ApprovalError             the plan is not the approved one, or an approval is missing: nothing was changed
    ├── RecordError               an event cannot be recorded, or a record cannot be read
    ├── RehearsalError            the embedded rehearsal cluster cannot run
    └── UnexpectedError           something that nobody thought of; its message is the redacted traceback

Every message says what was wrong, where, and what to do about it. What caused an error is its ``__cause__``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class KubehardenError(Exception):
    """The root of all errors raised by kubeharden on purpose; all of them can be pickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args, vars(self))


def _rebuild(kind: type[KubehardenError], args: tuple[Any, ...], state: Mapping[str, Any]) -> KubehardenError:
    """Return an error as it was, whatever arguments its class takes."""
    error = kind.__new__(kind, *args)
    vars(error).update(state)
    return error


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
    """One or more nodes cannot be reached, or what was run there failed.

    Attributes:
        failures: by node, where several nodes were asked at once.
        journal: what a service wrote to its journal since it was restarted, where that is what failed.
    """

    def __init__(
        self, message: str, failures: Mapping[str, NodeError] | None = None, journal: str = ""
    ) -> None:
        super().__init__(message)
        self.failures, self.journal = dict(failures or {}), journal


class HostKeyError(NodeError):
    """The SSH host key of a node is unknown, or is not the one in known_hosts."""


class ForwardingError(NodeError):
    """The SSH server of a node forwards nothing."""


class RevertedError(NodeError):
    """A change failed on a node, which has its old configuration again."""


class ClusterError(KubehardenError):
    """The API server cannot be used, or refused a request."""


class NotFoundError(ClusterError):
    """There is no such object, or no such path (404)."""


class ExpiredError(ClusterError):
    """The rest of a list cannot be read any more (410)."""


class TooManyRequestsError(ClusterError):
    """Not now (429): the server is busy, or a PodDisruptionBudget forbids an eviction."""


class RetryableError(ClusterError):
    """There was no answer, or one (5xx) that may be another in a moment."""


class StaleError(KubehardenError):
    """Something changed since it was last looked at; nothing was written over it."""


class LockedError(KubehardenError):
    """Somebody else's run has the cluster, or has taken it over; nothing more is written."""


class StepError(KubehardenError):
    """A step of a plan failed: an object, or more nodes than may. Its cause is the failure that ended it.

    Attributes:
        step: the name of the step.
        failures: the errors that are not repaired, by subject: ``kubelet on k8s-node1``, ``Role weave/psp``.
    """

    def __init__(
        self, message: str, step: str = "", failures: Mapping[str, KubehardenError] | None = None
    ) -> None:
        super().__init__(message)
        self.step, self.failures = step, dict(failures or {})


class StoppedError(KubehardenError):
    """A run was interrupted; the message says what became of the nodes that it had in hand."""


class ProofError(KubehardenError):
    """After a change, something is not as the plan promised."""


class ApprovalError(KubehardenError):
    """The plan is not the one that was approved, or an approval is missing; nothing was changed."""


class RecordError(KubehardenError):
    """An event cannot be recorded, or a record cannot be read."""


class RehearsalError(KubehardenError):
    """The embedded rehearsal cluster cannot run."""


class UnexpectedError(KubehardenError):
    """Something that nobody thought of; its message is the traceback, without secrets."""
