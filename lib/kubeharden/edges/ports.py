"""The ports: what a run needs of nodes, of an API server and of time.

SSH and the kubernetes client are adapters of them (``nodes``, ``cluster``), the system's clock is one (``clock``);
the tests have others, which work in one process on plain data and jump in time.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from kubeharden.facts import ClusterFacts, ConfigMapPorts, NodeFacts
from kubeharden.inputs.inventory import Inventory
from kubeharden.plan import NodeChange, ObjectChange
from kubeharden.redaction import Redactor

MAX_THREADS = 32  # how many nodes are worked on at the same time
# Called after each page: what is read, how many of it there are so far, and how many in all (None: not known yet).
OnPage = Callable[[str, int, int | None], None]


@dataclass(frozen=True)
class TransactionResult:
    """The outcome of a change on its node, with the node's own words.

    Attributes:
        outcome: ``waiting``: it runs with the new files, and the node puts the old ones back unless it is confirmed
            in time. ``unchanged``: nothing was to be done. ``confirmed``: it was confirmed. ``stale``, ``busy``:
            nothing was changed, since a file differs from the plan or another transaction has the node.
            ``reverted``: it was changed, and is as it was before. ``failed``: nothing was changed, or not all of it
            could be put back; the words say which.
        words: what the node says of it.
        restarted: when the service was restarted, by the node's own clock (RFC 3339, UTC); empty if it was not.
        journal: what the service wrote to its journal since then, where it did not come up.
    """

    outcome: str
    words: str
    restarted: str = ""
    journal: str = ""


@dataclass(frozen=True)
class Transaction:
    """A transaction that a node knows.

    Attributes:
        open: whether it holds the node: it works, or waits to be confirmed.
        state: in the words of ``transaction.sh``.
        service: the service that it is about.
        since: when it began, by the node's own clock (RFC 3339, UTC).
        until: about when the node puts it back unless it is confirmed, by the same clock; empty where it does not say.
    """

    run: str
    open: bool
    state: str
    service: str
    since: str
    until: str
    holder: str


@dataclass(frozen=True)
class NodeStatus:
    """The state of a node according to the API.

    Attributes:
        ready: whether its condition Ready is true.
        reported: when its kubelet posted that (lastHeartbeatTime, RFC 3339 in UTC); empty if never.
        renewed: when its kubelet renewed the node's Lease; empty where the release has none. From 1.14 on the
            Lease is renewed every 10 s, while an unchanged status is posted every 5 minutes only, and once when
            the kubelet starts (KEP-589, pkg/kubelet/kubelet_node_status.go).
        unschedulable: whether it is cordoned.
    """

    ready: bool
    reported: str
    renewed: str = ""
    unschedulable: bool = False


@dataclass(frozen=True)
class Written:
    """The outcome of a write.

    Attributes:
        item: as the server has it now; None where it was deleted.
        warnings: what the server warns of where it was replaced: pods that a namespace's new labels would refuse.
    """

    item: dict[str, Any] | None
    warnings: tuple[str, ...] = ()


class Stream(Protocol):
    """Bytes to and from one port of a node, as of a socket."""

    def settimeout(self, value: float | None, /) -> None:
        """Let each of the others take that many seconds at the most."""

    def recv(self, nbytes: int, /) -> bytes:
        """Return what came, ``nbytes`` at the most; nothing at the end."""

    def sendall(self, data: bytes, /) -> None:
        """Send all of it."""

    def close(self) -> None:
        """End it."""


class NodePort(Protocol):
    """The nodes of one inventory. Every method may raise a NodeError, which names each node that it is about."""

    inventory: Inventory
    redactor: Redactor
    round_trips: dict[str, int]  # how many requests each node has got, by its name

    def logins(self) -> dict[str, dict[str, str]]:
        """Return by node how it was logged in to: ``user``, ``key`` and ``host_key``; empty texts where unknown."""

    def check(self) -> None:
        """Log in to every node and become root there, and do nothing else."""

    def observe(
        self, names: Iterable[str] | None = None, services: Sequence[str] | None = None
    ) -> list[NodeFacts]:
        """Return what is seen on the nodes (all by default), of these services (those of all components by default)."""

    def reach(self, node: str, host: str, port: int) -> Stream:
        """Connect to a port as from the node itself, over the connection to it; nothing runs there for that."""

    def forwards(self) -> dict[str, str]:
        """Return why nothing can be reached from a node, by its name, for those where that is so."""

    def begin(self, change: NodeChange, run: str, confirm_timeout: float) -> TransactionResult:
        """Carry out a change, up to the point where it must be confirmed within ``confirm_timeout`` seconds."""

    def confirm(self, node: str, run: str) -> TransactionResult:
        """Say that a change stays."""

    def undo(self, node: str, run: str) -> TransactionResult:
        """Put a change back at once."""

    def state(self, names: Iterable[str] | None = None) -> dict[str, tuple[Transaction, ...]]:
        """Return the transactions that each node knows."""

    def backup(self, node: str, run: str, digest: str) -> str | None:
        """Return a content that a transaction backed up, by its SHA-256; None where it is not there."""

    def clean(self, names: Iterable[str] | None = None) -> dict[str, tuple[str, ...]]:
        """Remove all that is kept on the nodes between runs, and return the paths that are gone."""

    def close(self) -> None:
        """Close all connections."""


class ApiPort(Protocol):
    """One API server, as one user. Every method may raise a ClusterError."""

    user: str

    def version(self) -> str:
        """Return the server's version, such as ``v1.10.0``."""

    def observe(self, kinds: Iterable[str] | None = None, on_page: OnPage | None = None) -> ClusterFacts:
        """Return all objects of these kinds; by default of every kind that a plan is made from."""

    def may(self, verb: str, kind: str, namespace: str = "", subresource: str = "") -> bool:
        """Return whether this user may do that."""

    def serves(self, kind: str) -> bool:
        """Return whether the server has this kind in a version that is known here."""

    def api_version(self, kind: str) -> str:
        """Return the apiVersion in which the server has a kind; empty where it has none that is known here."""

    def get(self, kind: str, name: str, namespace: str = "") -> dict[str, Any] | None:
        """Return one object, or None where there is none."""

    def items(self, kind: str, namespace: str = "") -> list[dict[str, Any]]:
        """Return all objects of a kind, in one namespace or in all; none where the kind is not served."""

    def pods_on(self, node: str) -> list[dict[str, Any]]:
        """Return the pods of one node."""

    def create(self, manifest: Mapping[str, Any], what: str = "") -> dict[str, Any]:
        """Create an object; a StaleError where there is one already."""

    def replace(
        self, manifest: Mapping[str, Any], what: str = "", warnings: list[str] | None = None
    ) -> dict[str, Any]:
        """Replace an object at the resourceVersion of the manifest; a StaleError where it is another by now."""

    def patch(self, kind: str, name: str, patch: Mapping[str, Any], namespace: str = "") -> dict[str, Any]:
        """Merge into an object; a StaleError where it is not at the resourceVersion of the patch."""

    def delete(self, item: Mapping[str, Any]) -> None:
        """Delete this very object; a StaleError where it is another by now."""

    def apply(self, change: ObjectChange) -> Written:
        """Create, replace or delete an object as a plan says; a StaleError where it was changed since."""

    def evict(self, pod: Mapping[str, Any]) -> str:
        """Ask for a pod's end, once; empty where that was taken up, else why it was not this time."""

    def ports_in_config_maps(
        self, names: Sequence[tuple[str, str]], ports: Collection[int]
    ) -> ConfigMapPorts:
        """Return which ports ConfigMaps (namespace and name of each) name; nothing else of them is kept."""

    def kubelet_config(self, node: str) -> dict[str, Any] | None:
        """Return the configuration that a node's kubelet serves through the API server; None where it does not.

        That takes the right nodes/proxy.
        """

    def kubelet_config_at(self, stream: Stream, certificates: Sequence[str]) -> dict[str, Any]:
        """Return the effective configuration that a kubelet serves at its own port; nodes/configz is enough there.

        The stream to that port is closed afterwards; ``certificates`` are the SHA-256 of each that it may show.
        """

    def kubelet_health_at(self, stream: Stream, certificates: Sequence[str]) -> str:
        """Return what a kubelet says of its health at its own port; empty where this user may not ask it there."""

    def certificate_problem(self) -> str:
        """Return why this user cannot ask a kubelet at its own port; empty where that may work."""

    def kubelet_health(self, node: str) -> str:
        """Return what a node's kubelet says of its health; empty where this user may not ask it."""

    def wait_until_up(self, seconds: float) -> None:
        """Wait until the API server is healthy, that many seconds at the most."""

    def node_status(self, node: str) -> NodeStatus:
        """Return what the API says of a node, asked once."""

    def close(self) -> None:
        """Close the connections."""


class StopRequest(Protocol):
    """A request to stop, such as a ``threading.Event``."""

    def is_set(self) -> bool:
        """Return whether it was made."""

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for it, that many seconds at the most, and return whether it was made."""


class Repetition(Protocol):
    """Work that is done again and again."""

    def stop(self) -> None:
        """End it; the work is not going on any more when this returns."""


class Clock(Protocol):
    """Time: to tell it, to wait, and to do something again and again meanwhile."""

    def now(self) -> datetime:
        """Return the time of day, in UTC."""

    def monotonic(self) -> float:
        """Return seconds since some moment, whatever is done to the time of day."""

    def sleep(self, seconds: float) -> None:
        """Wait that long."""

    def wait(self, request: StopRequest, seconds: float) -> bool:
        """Wait until a stop is requested, that long at the most; return whether it is."""

    def repeat(self, work: Callable[[], object], every: float) -> Repetition:
        """Do some work every ``every`` seconds beside the caller, first after that time."""


@dataclass(frozen=True)
class Ports:
    """All that a run reaches."""

    nodes: NodePort
    cluster: ApiPort
    clock: Clock

    def close(self) -> None:
        """Close all connections."""
        self.nodes.close()
        self.cluster.close()
