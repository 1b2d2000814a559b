"""Acceptance checks for a changed node, seen from outside: what must hold before its change is confirmed.

"active (running)" is never enough. A node may look Ready only because nobody has noticed yet that its kubelet is
gone, may be Ready at once and fail a moment later, and may be Ready while its pods are not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from kubeharden.edges.observe import kubelet_health, observe_nodes
from kubeharden.edges.ports import ApiPort, Clock, Ports, StopRequest
from kubeharden.errors import ClusterError, KubehardenError, NodeError, ProofError, StoppedError
from kubeharden.facts import NodeFacts, ServiceFacts
from kubeharden.kube.manifests import controller_of
from kubeharden.kube.pods import missing_pods, node_of
from kubeharden.plan import NodeChange
from kubeharden.plan.proof import not_serving, unproved
from kubeharden.redaction import excerpt
from kubeharden.releases import find_component

POLL_SECONDS = 0.2
SERVE_SECONDS = 15  # how long a component may take until it serves its effective configuration


@dataclass(frozen=True)
class Before:
    """A node before its change."""

    facts: NodeFacts
    pods: tuple[Mapping[str, Any], ...] = ()  # those that ran there, and the others of the same controllers


class Health:
    """Proves changed nodes from outside.

    Args:
        settle: how many seconds a node must stay as it should be.
        stop: set when the run is to end; whatever is waited for then is given up.
    """

    def __init__(self, ports: Ports, settle: float, stop: StopRequest) -> None:
        self.nodes, self.cluster, self.clock = ports.nodes, ports.cluster, ports.clock
        self.settle, self.stop = settle, stop

    def before(self, change: NodeChange, facts: NodeFacts) -> Before:
        """Return what a node is like now, before a change; a ClusterError where the API server does not say."""
        return Before(
            facts, tuple(self._pods(change.node)) if find_component(change.service).runs_pods else ()
        )

    def prove(
        self,
        change: NodeChange,
        before: Before,
        restarted: str,
        end: float,
        ready: Callable[[], None] = lambda: None,
    ) -> str:
        """Wait until all holds that must hold, and return in words what was seen.

        Args:
            restarted: when its service was restarted, by the node's own clock (RFC 3339 in UTC with whole seconds).
            end: until when to wait, by the clock's ``monotonic``.
            ready: called once the node is Ready again.

        Raises:
            ProofError: something does not hold at that time.
            StoppedError: the run is to end.
        """
        served, component = "", find_component(change.service)
        if component.serves_api:
            self.cluster.wait_until_up(max(1.0, end - self.clock.monotonic()))
        if component.healthz is not None:
            served = self._stay_serving(change, end)
        if component.runs_pods:
            self._wait(lambda: self._not_reported(change.node, restarted), end)
            ready()
            self._wait(lambda: self._unhealthy(before.facts), end)
            self._stay(
                lambda: self._not_reported(change.node, restarted), "the node does not stay Ready", end
            )
        self._wait(
            lambda: self._not_as_planned(change, before), min(end, self.clock.monotonic() + SERVE_SECONDS)
        )
        if not component.runs_pods:
            return served
        node, pods = change.node, before.pods
        self._wait(lambda: "; ".join(missing_pods(node, pods, self._pods(node, pods))), end)
        count = sum(node_of(pod) == node for pod in pods)
        return f"Ready for {self.settle:g} s with a new heartbeat, {count} pods as before"

    def _wait(self, problem: Callable[[], str], end: float) -> None:
        """Wait until there is no problem; what cannot be asked now is one."""
        while True:
            try:
                text = problem()
            except (ClusterError, NodeError) as error:  # the API server may stumble while a node comes back
                text = f"it cannot be seen: {error}"
            if not text:
                return
            if self.clock.monotonic() > end:
                raise ProofError(text)
            self._pause()

    def _pause(self) -> None:
        if self.clock.wait(self.stop, POLL_SECONDS):
            raise StoppedError("the run was stopped before this was proved")

    def _not_reported(self, node: str, restarted: str) -> str:
        """Ready counts only as posted by the new kubelet: with a heartbeat of after the restart."""
        status = self.cluster.node_status(node)
        if not status.ready:
            return "the node is not Ready; look at `journalctl -u kubelet` there"
        if status.reported < restarted:
            return f"the node's last heartbeat is of {status.reported or 'never'}, before the restart ({restarted})"
        # A kubelet may post within the second of its start, and then not again for 5 minutes: its Lease tells.
        if status.reported == restarted and _second(status.renewed) <= _second(restarted):
            lease = f", and its Lease of {status.renewed}" if status.renewed else ""
            words = f"the node's last heartbeat is of the second of the restart ({restarted}){lease}"
            return f"{words}: it may be of before"
        return ""

    def _unhealthy(self, node: NodeFacts) -> str:
        answer = kubelet_health(self.nodes, self.cluster, node)
        return "" if answer in {"", "ok"} else f"the kubelet's /healthz says {excerpt(answer, 200)}"

    def _stay(self, problem: Callable[[], str], words: str, end: float) -> None:
        """Wait until there is no problem for as long as it must settle; each problem starts the time again."""
        since = self.clock.monotonic()
        while self.clock.monotonic() < since + self.settle:
            self._pause()
            try:
                trouble = problem()
            except ClusterError:
                continue  # a stumbling API server says nothing about the node
            except NodeError as error:
                trouble = str(error)
            if trouble:
                self._wait(problem, end)
                since = self.clock.monotonic()
            if self.clock.monotonic() > end:
                raise ProofError(f"{words} for {self.settle:g} seconds")

    def _stay_serving(self, change: NodeChange, end: float) -> str:
        """Wait until the node's own server stays healthy, and return what it said.

        It is asked on its node: behind the address of the API, the server of another node may answer in its place.
        """
        answer = ""

        def problem() -> str:
            nonlocal answer
            [node] = observe_nodes(self.nodes, self.cluster, [change.node], [change.service])
            server = node.service(change.service)
            if server is None or not server.running:
                return "it does not run"
            answer = server.healthz
            return not_serving(server)

        self._wait(problem, end)
        if not answer:
            return "the API answers; the node has neither curl nor wget to ask its own server"
        self._stay(problem, "its own server does not stay healthy", end)
        return f"its own server answered /healthz with {answer} for {self.settle:g} s"

    def _not_as_planned(self, change: NodeChange, before: Before) -> str:
        [node] = observe_nodes(self.nodes, self.cluster, [change.node], [change.service])
        service, old = node.service(change.service), before.facts.service(change.service)
        problems = unproved(change, node, before.facts)
        if change.restart and service is not None and old is not None:
            problems += _old_process(service, old)
        return "; ".join(problems)

    def _pods(self, node: str, known: Iterable[Mapping[str, Any]] = ()) -> list[dict[str, Any]]:
        """Return the pods of a node, and those elsewhere that have the same controllers."""
        pods = self.cluster.pods_on(node)
        owned = [(pod, owner["uid"]) for pod in (*pods, *known) if (owner := controller_of(pod))]
        owners = {uid for _, uid in owned}
        pods_by_uid = {pod["metadata"]["uid"]: pod for pod in pods}
        for namespace in sorted({pod["metadata"]["namespace"] for pod, _ in owned}):
            for pod in self.cluster.items("Pod", namespace):
                if (controller_of(pod) or {}).get("uid") in owners:
                    pods_by_uid[pod["metadata"]["uid"]] = pod
        return list(pods_by_uid.values())


class Readiness:
    """Counts the seconds in which a node is not Ready, as the API server says, while something is done to it."""

    def __init__(self, cluster: ApiPort, clock: Clock, node: str, every: float) -> None:
        self.seconds = 0.0
        self._cluster, self._clock, self._node, self._every = cluster, clock, node, every

    def __enter__(self) -> Readiness:
        self._last = self._clock.monotonic()
        self._repetition = self._clock.repeat(self._look, self._every)
        return self

    def __exit__(self, *exception: object) -> None:
        self._repetition.stop()

    def _look(self) -> None:
        try:
            ready = self._cluster.node_status(self._node).ready
        except KubehardenError:
            ready = True  # not to be seen is not the same as not Ready
        now = self._clock.monotonic()
        self.seconds += 0 if ready else now - self._last
        self._last = now


def _old_process(service: ServiceFacts, old: ServiceFacts) -> list[str]:
    """Return why the process is not one new process: it is the old one, or one of many since."""
    if service.main_pid == old.main_pid and service.started == old.started:
        return [f"process {service.main_pid} is the one that ran before: it was not restarted"]
    restarts = service.show.get("NRestarts") or "0"  # systemd before 235 does not count
    if restarts != "0":
        return [f"it has been restarted by systemd {restarts} times since"]
    return []


def _second(time: str) -> str:
    """Return the whole second of a time in RFC 3339 and UTC, as text that compares as the times do."""
    return time[: len("2000-01-01T00:00:00")]
