"""The machines of an inventory against the Node objects of the API: is each the one that it is called? Pure.

A kubelet reports the machine id and the boot id of its machine in ``status.nodeInfo``. Machines that were cloned may
have one machine id, containers have the boot id of their host, and after a reboot a Node has the old boot id until its
kubelet reports: where the two are not enough, the host name decides.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from kubeharden.facts import Facts, NodeFacts
from kubeharden.plan.model import Remark
from kubeharden.releases import api_server

MEND = "Mend the inventory"
_HOSTNAME = "kubernetes.io/hostname"


@dataclass(frozen=True)
class _Identity:
    """The machine that a Node object is about, by its kubelet's word."""

    name: str
    machine: str
    boot: str
    hostnames: frozenset[str]

    @classmethod
    def of(cls, item: Mapping[str, Any]) -> _Identity:
        """Return that of a Node object."""
        metadata, status = item["metadata"], item.get("status") or {}
        info, addresses = status.get("nodeInfo") or {}, status.get("addresses") or ()
        names = [metadata["name"], (metadata.get("labels") or {}).get(_HOSTNAME, "")]
        names += [str(each.get("address") or "") for each in addresses if each.get("type") == "Hostname"]
        return cls(
            metadata["name"],
            str(info.get("machineID") or ""),
            str(info.get("bootID") or ""),
            frozenset(map(_short, names)),
        )

    @cached_property
    def ids(self) -> tuple[str, str]:
        """Its two ids, as they are compared."""
        return _plain(self.machine), _plain(self.boot)


class _Known:
    """The machines of all Node objects, by their ids."""

    def __init__(self, facts: Facts) -> None:
        identities = [_Identity.of(item) for item in facts.cluster.of("nodes")]
        self.by_name = {identity.name: identity for identity in identities}
        self._by_ids: dict[tuple[str, ...], list[_Identity]] = defaultdict(list)
        for identity in identities:
            machine, boot = identity.ids
            for key in ((machine, boot), ("machine", machine), ("boot", boot)):
                self._by_ids[key].append(identity)

    def rivals(self, own: _Identity, ids: tuple[str, str], same: int) -> list[str]:
        """Return the other Nodes that agree with two ids in as many of them as ``same``, and in one at least."""
        keys = (("machine", ids[0]), ("boot", ids[1])) if same < len(ids) else (ids,)
        rivals = [identity for key in keys if key[-1] for identity in self._by_ids.get(key, ())]
        return sorted({identity.name for identity in rivals if identity is not own})

    def twins(self, own: _Identity, ids: tuple[str, str]) -> list[str]:
        """Return the other Nodes that agree with both ids."""
        return self.rivals(own, ids, len(ids)) if all(ids) and own.ids != ids else []


def refusals(facts: Facts) -> Iterator[Remark]:
    """Yield why the inventory cannot be believed: which machine is another one, or is of another role."""
    yield from _twins(facts)
    yield from (remark for remark, is_certain in _strangers(facts) if is_certain)
    yield from _misplaced_servers(facts)


def remarks(facts: Facts) -> Iterator[Remark]:
    """Yield what else there is to know of the machines."""
    if facts.left_out:
        yield Remark("nodes", left_out_words(facts))
    if facts.unlisted:
        yield Remark(f"inventory of {facts.cluster.name}", unlisted_words(facts))
    yield from (remark for remark, is_certain in _strangers(facts) if not is_certain)
    if not _server_places(facts) and not facts.left_out:
        yield Remark("control plane", "kube-apiserver was not found on any node: where it runs is not known")


def unlisted_words(facts: Facts) -> str:
    """Return which nodes of the API the inventory leaves out, in words; empty where it names all."""
    if not facts.unlisted:
        return ""
    names = ", ".join(facts.unlisted)
    return f"leaves out nodes of the API, on which nothing is seen, changed or proved: {names}"


def left_out_words(facts: Facts) -> str:
    """Return which nodes of the inventory this run leaves alone, in words; empty where it leaves none."""
    if not facts.left_out:
        return ""
    names = ", ".join(facts.left_out)
    return f"leaves out these of the inventory, on which nothing is seen, changed or proved, in any step: {names}"


def _twins(facts: Facts) -> Iterator[Remark]:
    """Yield the machines that the inventory has under two names."""
    names: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for node in facts.nodes:
        if node.boot or node.machine:
            names[_plain(node.machine), _plain(node.boot), node.hostname].append(node.name)
    for (_, _, hostname), same in names.items():
        if len(same) > 1:
            why = (
                f"are one machine (its host name is {hostname}; machine id and boot id are the same). {MEND}"
            )
            yield Remark(" and ".join(same), why)


def _strangers(facts: Facts) -> Iterator[tuple[Remark, bool]]:
    """Yield the machines that are not, or may not be, those of their Node objects, and whether that is certain."""
    known = _Known(facts)
    for node in facts.nodes:
        own = known.by_name.get(node.name)
        if own is None or not node.runs_pods:
            continue
        why, is_certain = _mismatch(node, own, known)
        if why:
            yield Remark(node.name, why), is_certain


def _mismatch(node: NodeFacts, own: _Identity, known: _Known) -> tuple[str, bool]:
    """Return why a machine is not that of its Node object, and whether that is certain; empty where it is."""
    ids = _plain(node.machine), _plain(node.boot)
    same, different = _agreement(ids, own.ids)
    if same and not known.rivals(own, ids, same):
        # Where one id differs: rebooted, and not reported since; or given another machine id.
        return "", False
    words = (
        f"the machine at its address has the host name {node.hostname}, the machine id {node.machine or 'unknown'} and "
        f"the boot id {node.boot or 'unknown'}; the kubelet of this Node reported {own.machine or 'none'} and "
        f"{own.boot or 'none'}"
    )
    if twins := known.twins(own, ids):
        return f"{words}. It is the machine of the Node {', '.join(twins)}. {MEND}", True
    is_named = _short(node.hostname) in own.hostnames
    if is_named and (same or not different):
        return "", False
    if is_named and different == 1:
        return f"{words}. Was it rebooted, and is its kubelet down?", False
    if not same and not different:
        return f"{words}. It cannot be told which machine it is", False
    return f"{words}. It is another machine. {MEND}", True


def _agreement(ids: tuple[str, str], reported: tuple[str, str]) -> tuple[int, int]:
    """Return how many of the two ids are the same, and how many differ; one that is missing is neither."""
    pairs = [(a, b) for a, b in zip(ids, reported, strict=True) if a and b]
    same = sum(a == b for a, b in pairs)
    return same, len(pairs) - same


def _misplaced_servers(facts: Facts) -> Iterator[Remark]:
    """Yield the nodes whose ``control_plane`` is not where kube-apiserver runs."""
    places = _server_places(facts)
    for node in facts.nodes:
        server = node.api_server
        if not node.control_plane and node.name in places and (server is None or server.running):
            why = f"kube-apiserver runs there, and the inventory does not say control_plane: true. {MEND}"
            yield Remark(node.name, why)
        elif node.control_plane and places and node.name not in places:
            where = ", ".join(sorted(places))
            why = f"the inventory says control_plane: true, and kube-apiserver is not there, but on {where}. {MEND}"
            yield Remark(node.name, why)


def _server_places(facts: Facts) -> set[str]:
    """Return the nodes that have an API server: as a service, or in a pod, as kubeadm sets it up."""
    pods = (item for item in facts.cluster.of("pods") if item["metadata"].get("namespace") == "kube-system")
    specs, server = (item.get("spec") or {} for item in pods), api_server().name
    return {node.name for node in facts.nodes if node.api_server is not None} | {
        spec["nodeName"]
        for spec in specs
        if spec.get("nodeName")
        and any(container["name"] == server for container in spec.get("containers") or ())
    }


def _plain(identity: str) -> str:
    return identity.replace("-", "").strip().lower()


def _short(hostname: str) -> str:
    """Return a host name without its domain; an address, as which some name their hosts, has none."""
    return hostname if hostname.replace(".", "").isdecimal() else hostname.partition(".")[0].lower()
