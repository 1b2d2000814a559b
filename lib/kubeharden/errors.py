"""Private. Everything that kubeharden raises on purpose; ``kubeharden`` itself has these names, too.

    KubehardenError
    ├── ParameterError            a parameter, an inventory or a policies file is wrong: nothing was touched
    ├── UnknownReleaseError       no table covers this Kubernetes release
    │   └── UnknownApiVersionError    the release accepts no config file of this apiVersion
    ├── UnitError                 a systemd unit or a command line cannot be read
    ├── MigrationRefusedError     a node has settings that cannot be moved safely: it is left alone
    ├── NodeError                 one or more nodes cannot be reached, or what runs there failed
    │   ├── HostKeyError              an SSH host key is unknown or has changed
    │   ├── ForwardingError           the SSH server of a node forwards nothing
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
    ├── WindowError               it is not the time in which the change was planned: nothing was changed
    ├── RecordError               an event cannot be recorded, or a record cannot be read
    ├── RehearsalError            the embedded rehearsal cluster cannot run
    └── UnexpectedError           something that nobody thought of; its message is the redacted traceback

Every message says what was wrong, where, and what to do about it. What caused an error is its ``__cause__``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = [
    "ApprovalError",
    "ClusterError",
    "ExpiredError",
    "ForwardingError",
    "HostKeyError",
    "KubehardenError",
    "LockedError",
    "MigrationRefusedError",
    "NodeError",
    "NotFoundError",
    "ParameterError",
    "ProofError",
    "RecordError",
    "RehearsalError",
    "RetryableError",
    "RevertedError",
    "StaleError",
    "StepError",
    "StoppedError",
    "TooManyRequestsError",
    "UnexpectedError",
    "UnitError",
    "UnknownApiVersionError",
    "UnknownReleaseError",
    "WindowError",
]


class KubehardenError(Exception):
    """The root of all errors raised by kubeharden on purpose; all of them can be pickled.

    Causes: a verb was called out of order, or after its run was over; everything else has a class of its
        own below.

    Way out: do what the message says: it names the cell to run.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args, vars(self))

    @property
    def page(self) -> str:
        """The place in the project's documents with the causes of such an error, and the way out."""
        public = next(kind for kind in type(self).__mro__ if kind.__module__ == __name__)
        return f"docs/errors.md#{public.__name__.lower()}"


def _rebuild(kind: type[KubehardenError], args: tuple[Any, ...], state: Mapping[str, Any]) -> KubehardenError:
    """Return an error as it was, whatever arguments its class takes."""
    error = kind.__new__(kind, *args)
    vars(error).update(state)
    return error


class ParameterError(KubehardenError, ValueError):
    """A parameter, an inventory or a policies file is wrong; nothing was touched.

    Causes: a name that is not a parameter, a value of another type (papermill guesses types with ``-p``),
        a file that is not there or has a key that is not known, a secret in ``reason`` or ``change_id``.

    Way out: the message names each parameter with what is expected. Keep text as text with papermill's
        ``-r``. Correct it and run again: nothing was contacted, or nothing was changed.
    """


class UnknownReleaseError(KubehardenError, LookupError):
    """No table covers this Kubernetes release.

    Causes: the cluster, or ``target_release``, is older than 1.10, or the version cannot be read.

    Way out: name a release that docs/support.md has. One that is newer than the tables is judged as the
        newest; add it as docs/howto/release.md says.
    """


class UnknownApiVersionError(UnknownReleaseError):
    """The release accepts no config file of this apiVersion.

    Causes: a config file names an apiVersion that this release has dropped, or does not have yet.

    Way out: write the apiVersion that the message names; ``target_release`` has the run write one that
        both releases accept.
    """


class UnitError(KubehardenError, ValueError):
    """A systemd unit or a command line cannot be read.

    Causes: a unit file, a drop-in or a command line cannot be read as systemd reads it: a quote without
        its end, a line that cannot be.

    Way out: ``systemd-analyze verify`` on the node names the line; correct the unit, reload, and run
        again.
    """


class MigrationRefusedError(KubehardenError):
    """A node has settings that cannot be moved safely; it is left alone.

    Causes: two settings contradict each other, a value cannot be read, the effective configuration would
        change where nothing was declared, or a workload that is in use would not start again.

    Way out: the plan names the setting or the workload, and why. Correct a setting on the node, or take the
        service out of this run with ``steps``; the other services go on. A workload needs a policy,
        ``default_policy``, or its name in ``accept_breaking``: docs/pod-security.md.
    """


class NodeError(KubehardenError):
    """One or more nodes cannot be reached, or what was run there failed.

    Causes: no route, a refused login, a user without sudo, an expired password, a full disk, or a program
        that did not end well on the node.

    Way out: the message has the node's own words. Try ``ssh NODE sudo true`` by hand; then run again:
        what is done is not done twice.

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
    """The SSH host key of a node is unknown, or is not the one in known_hosts.

    Causes: the key of a node is in no known_hosts file that counts, or it is another one than there.

    Way out: compare the fingerprint with ``ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub`` on the
        node's console. If it is the node's, add it (``ssh-keyscan``); if not, somebody may be between.
    """


class ForwardingError(NodeError):
    """The SSH server of a node forwards nothing.

    Causes: ``AllowTcpForwarding no``, or ``PermitOpen``, in the node's sshd_config.

    Way out: a run goes on without it: that kubelet's configuration is called unverified. To have it verified,
        allow the SSH user ``AllowTcpForwarding local``, or give the API user the right ``nodes/proxy``.
    """


class RevertedError(NodeError):
    """A change failed on a node, which has its old configuration again.

    Causes: the service did not come up, the proof failed, or nobody confirmed the change in time. The
        node has its old files and runs with them.

    Way out: read why in the message, or on the node with ``journalctl -u 'kubeharden-*'``; correct that,
        plan and apply again.
    """


class ClusterError(KubehardenError):
    """The API server cannot be used, or refused a request.

    Causes: an expired credential, a missing right, a certificate that is not trusted, a refused object,
        or a kubeconfig that cannot be used.

    Way out: the message names the request and the API server's own words. Try it with ``kubectl
        --kubeconfig FILE auth can-i``; renew the credential or ask for the right.
    """


class NotFoundError(ClusterError):
    """There is no such object, or no such path (404).

    Causes: somebody deleted the object meanwhile, or the release does not have this kind.

    Way out: plan again: the next plan is made from what is there.
    """


class ExpiredError(ClusterError):
    """The rest of a list cannot be read any more (410).

    Causes: reading a long list took longer than the API server keeps its place.

    Way out: run again; it is read from the start. If it happens each time, the API server or the network
        is too slow for its own ``--etcd-compaction-interval``.
    """


class TooManyRequestsError(ClusterError):
    """Not now (429): the server is busy, or a PodDisruptionBudget forbids an eviction.

    Causes: the API server is busy, or a PodDisruptionBudget does not let a pod go while a node is
        drained.

    Way out: the request was sent again as long as it may be. For a budget: ``kubectl get pdb -A`` shows
        which one; add a replica, or give ``drain_timeout`` more time.
    """


class RetryableError(ClusterError):
    """There was no answer, or one (5xx) that may be another in a moment.

    Causes: the API server, or what stands before it, did not answer or was starting.

    Way out: it was tried again for a while. Look at the API server's own log, and run again once
        ``kubectl get --raw /healthz`` answers ok.
    """


class StaleError(KubehardenError):
    """Something changed since it was last looked at; nothing was written over it.

    Causes: a person or a program changed a file or an object between the plan and its change.

    Way out: plan again, and read what is different: the new plan is made against what is there now.
    """


class LockedError(KubehardenError):
    """Somebody else's run has the cluster, or has taken it over; nothing more is written.

    Causes: another run has the cluster, or a change open on a node; or a run that was cut off elsewhere still holds its
        lock.

    Way out: the message says who has it, since when, and how to end that. A lock that is left over is
        taken over by itself after a minute.
    """


class StepError(KubehardenError):
    """A step of a plan failed: an object, or more nodes than may. Its cause is the failure that ended it.

    Causes: more nodes failed than ``max_failures`` allows, or an object was refused.

    Way out: each failure is named with its own class, and this page has it. Nodes that failed have their
        old files; run again when the cause is gone: what is done is not done twice.

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
    """A run was interrupted; the message says what became of the nodes that it had in hand.

    Causes: Ctrl-C or SIGTERM while a step was carried out.

    Way out: the message says which nodes are done and which have their old files. Run again; nothing
        needs to be cleaned up.
    """


class ProofError(KubehardenError):
    """After a change, something is not as the plan promised.

    Causes: a service runs with another configuration than planned, a warning is still there, or a node
        changed beside what was declared.

    Way out: the proof has a row for each difference. If somebody else changed the node meanwhile, plan
        again; if not, roll back and report it.
    """


class ApprovalError(KubehardenError):
    """The plan is not the one that was approved, or an approval is missing; nothing was changed.

    Causes: the plan has another digest than the approved one, the signature is not by an approver, or it
        is by a key of the person who runs it.

    Way out: the message has the difference. Have the plan that is shown now approved: docs/records.md,
        Approval.
    """


class WindowError(KubehardenError):
    """It is not the time in which the change was planned; nothing was changed.

    Causes: ``window`` has not begun, or is over, by the clock of the machine that runs the notebook.

    Way out: run it within the window, or give the one that was agreed on. In an emergency, ``outside_window``
        applies all the same, and the record says so.
    """


class RecordError(KubehardenError):
    """An event cannot be recorded, or a record cannot be read.

    Causes: a full disk where records go, a folder that is not a run's, a record that was changed, or a
        key that cannot sign.

    Way out: ``kubeharden verify RUN`` names what is wrong with a record. Where events cannot be written,
        nothing more is changed: make room, and run again.
    """


class RehearsalError(KubehardenError):
    """The embedded rehearsal cluster cannot run.

    Causes: another process has the rehearsal's folder, or the folder is of another rehearsal.

    Way out: leave ``rehearsal_dir`` empty for a fresh folder, or end the other one; docs/rehearsal.md.
    """


class UnexpectedError(KubehardenError):
    """Something that nobody thought of; its message is the traceback, without secrets.

    Causes: a fault of kubeharden.

    Way out: the message is the traceback without secrets. A node whose change was not confirmed reverts
        it by itself. Please report it with the record (SECURITY.md, if it may be used against somebody).
    """
