"""Changes made by hand to the lab's nodes, and the library's hands that carry them out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from places import INVENTORY, Node

from kubeharden.edges.clock import SystemClock
from kubeharden.edges.cluster import Cluster
from kubeharden.edges.nodes import Nodes
from kubeharden.edges.observe import observe
from kubeharden.edges.ports import Ports
from kubeharden.facts import Facts
from kubeharden.inputs.inventory import read_inventory
from kubeharden.plan import FileChange, NodeChange, Plan
from kubeharden.records.folder import Record
from kubeharden.rollout.lock import Lock
from kubeharden.rollout.rollout import Pace, Rollout


class Hands:
    """What a run has: facts, nodes, the cluster, a record."""

    def __init__(self, folder: Path, stack: ExitStack, settle: float, confirm_timeout: float) -> None:
        self.inventory = read_inventory(INVENTORY).model_copy(update={"settle_seconds": settle})
        self.nodes = stack.enter_context(Nodes(self.inventory))
        self.cluster = Cluster(self.inventory.kubeconfig)
        self.ports = Ports(self.nodes, self.cluster, SystemClock())
        stack.callback(self.cluster.close)
        self._folder, self._stack = folder, stack
        self._pace = Pace(confirm_timeout=confirm_timeout, settle=settle)
        self.facts: Facts = observe(self.ports)

    def edited(self, node: Node, service: str, edit: Callable[[str], str]) -> NodeChange:
        """A change to the unit of a service."""
        return self._change(node, service, edit)

    def kubelet_on_a_file(self, node: Node, path: str, text: str) -> NodeChange:
        """A kubelet that reads a config file which was not there."""
        config = FileChange(path, None, text, "644", "root", "root")
        return self._change(
            node, "kubelet", lambda unit: unit.replace("--v=2", f"--v=2 --config={path}"), config
        )

    def other_config(self, node: Node, service: str, edit: Callable[[str], str]) -> NodeChange:
        """A change to the config file that a service reads; its command line stays."""
        found = self.facts.node(node.name).services[service]
        path, config = found.config(found.unit_argv())
        assert config is not None
        file = found.files[path]
        after = edit(file.content)
        assert after != file.content
        change = FileChange(path, file, after, file.mode, file.owner, file.group)
        return NodeChange(
            service, node.name, service, (change,), "a test", expected_argv=tuple(found.unit_argv())
        )

    def _change(
        self, node: Node, service: str, edit: Callable[[str], str], *configs: FileChange
    ) -> NodeChange:
        found = self.facts.node(node.name).services[service]
        unit = found.files[f"/etc/systemd/system/{service}.service"]
        after = edit(unit.content)
        assert after != unit.content
        change = FileChange(unit.path, unit, after, unit.mode, unit.owner, unit.group)
        argv = tuple(edit(" \\\n  ".join([f"ExecStart={found.cmdline[0]}", *found.cmdline[1:]])).split())
        argv = tuple(word.removeprefix("ExecStart=") for word in argv if word != "\\")
        return NodeChange(service, node.name, service, (*configs, change), "a test", expected_argv=argv)

    def roll_out(self, change: NodeChange) -> None:
        """Carry a change out as a run does."""
        record = Record(self._folder, self.inventory.cluster, change.service)
        lock = Lock(self.cluster, self.ports.clock, record.run)
        with ExitStack() as stack:
            stack.callback(record.close)
            lock.acquire()
            stack.callback(lock.release)
            rollout = Rollout(self.ports, record, lock, self._pace)
            rollout.apply(Plan((change.step,), (change,)), self.facts)


@contextmanager
def hands(folder: Path) -> Iterator[Callable[..., Hands]]:
    """Make hands, of which everything is closed in the end."""
    with ExitStack() as stack:
        yield lambda settle=3, confirm_timeout=120: Hands(folder, stack, settle, confirm_timeout)
