"""Polling helpers: wait until the API server answers and a node has reported again."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from kubeharden.edges.cluster.client import segment
from kubeharden.edges.cluster.objects import Objects
from kubeharden.edges.ports import NodeStatus, Stream
from kubeharden.errors import ClusterError
from kubeharden.facts import ConfigMapPorts
from kubeharden.formats import as_json
from kubeharden.plan.callers import names_port
from kubeharden.redaction import excerpt

CONFIGZ, HEALTHZ = "/configz", "/healthz"
OK, UNAUTHORIZED, FORBIDDEN = 200, 401, 403
UP_SECONDS = 90
POLL_SECONDS = 0.2
MOST_CONFIG_MAPS = 500  # that are read one by one


class Cluster(Objects):
    """One API server, as one user: its objects, and waiting for them."""

    _may_ask_kubelets: bool | None = None  # not known yet

    def kubelet_config(self, node: str) -> dict[str, Any] | None:
        """Return the effective configuration of a node's kubelet (``/configz``), or None where it does not serve it."""
        try:
            config = self._client.call("GET", f"/api/v1/nodes/{segment(node)}/proxy/configz").get(
                "kubeletconfig"
            )
        except ClusterError:
            return None
        return config if isinstance(config, dict) else None

    def ports_in_config_maps(
        self, names: Sequence[tuple[str, str]], ports: Collection[int]
    ) -> ConfigMapPorts:
        """Return which ports ConfigMaps name, the most important first. Some of many are not read.

        What else they hold may be secret: nothing of it is kept, shown or told. One that is not there counts as none.
        The first one that cannot be read ends it.
        """
        named_ports: dict[tuple[str, str], frozenset[int]] = {}
        for namespace, name in names[:MOST_CONFIG_MAPS]:
            try:
                data = (self.get("ConfigMap", name, namespace) or {}).get("data")
            except ClusterError as error:
                return ConfigMapPorts(named_ports, f"those of workloads were not all read ({error})")
            if named := frozenset(port for port in ports if names_port(data, port)):
                named_ports[namespace, name] = named
        more = len(names) - MOST_CONFIG_MAPS
        return ConfigMapPorts(
            named_ports, f"{more} of {len(names)} of workloads were not read" if more > 0 else ""
        )

    def kubelet_config_at(self, stream: Stream, certificates: Sequence[str]) -> dict[str, Any]:
        """Return the effective configuration that a kubelet serves at its own port, asked with a client certificate."""
        status, text = self._client.ask(stream, CONFIGZ, certificates)
        if status in (UNAUTHORIZED, FORBIDDEN):
            answer = self._redactor.redact(excerpt(text.strip(), 300))
            raise ClusterError(f"it refuses {CONFIGZ} ({status}): {answer}")
        content = as_json(text, CONFIGZ, ClusterError) if status == OK else None
        config = content.get("kubeletconfig") if isinstance(content, dict) else None
        if not isinstance(config, dict):
            raise ClusterError(f"it answers {CONFIGZ} with {status}, and with no configuration")
        return config

    def kubelet_health_at(self, stream: Stream, certificates: Sequence[str]) -> str:
        """Return what a kubelet says to ``/healthz`` at its own port; empty where this user may not ask it there.

        Raises:
            RetryableError: it does not answer.
            ClusterError: it is somebody else.
        """
        status, text = self._client.ask(stream, HEALTHZ, certificates)
        return "" if status in (UNAUTHORIZED, FORBIDDEN) else text.strip() or f"nothing, with {status}"

    def certificate_problem(self) -> str:
        """Return why this user cannot ask a kubelet at its own port; empty where that may work."""
        return self._client.certificate_problem

    def kubelet_health(self, node: str) -> str:
        """Return what a node's kubelet says to ``/healthz``; empty where this user may not ask it."""
        if self._may_ask_kubelets is None:
            self._may_ask_kubelets = self.may("get", "Node", subresource="proxy")
        if not self._may_ask_kubelets:
            return ""
        return self._client.text(f"/api/v1/nodes/{segment(node)}/proxy/healthz", again=False).strip()

    def wait_until_up(self, seconds: float = UP_SECONDS) -> None:
        """Wait until the API server is healthy."""
        end = self._clock.monotonic() + seconds
        while True:
            try:
                if self._client.text("/healthz", again=False).strip() == "ok":
                    return
                problem = "it is not healthy"
            except ClusterError as error:
                problem = str(error)
            if self._clock.monotonic() > end:
                raise ClusterError(f"the API server did not come back within {seconds:g} seconds: {problem}")
            self._clock.sleep(POLL_SECONDS)

    def node_status(self, node: str) -> NodeStatus:
        """Return what the API says of a node, asked once."""
        item = self._client.call("GET", f"/api/v1/nodes/{segment(node)}", again=False)
        conditions = item.get("status", {}).get("conditions", ())
        ready: dict[str, Any] = next((c for c in conditions if c["type"] == "Ready"), {})
        return NodeStatus(
            ready=ready.get("status") == "True",
            reported=ready.get("lastHeartbeatTime") or "",
            renewed=self._lease_renewal(node),
            unschedulable=bool(item.get("spec", {}).get("unschedulable")),
        )

    def _lease_renewal(self, node: str) -> str:
        if not self.serves("Lease"):
            return ""
        try:
            lease = self.get("Lease", node, "kube-node-lease")
        except ClusterError:  # 403: a user who may read nodes may be forbidden to read their Leases
            return ""
        return str((lease or {}).get("spec", {}).get("renewTime") or "")
