"""The folder that a rehearsal lives in: whether it may be used, its keys, and the files that lead to it."""

from __future__ import annotations

import fcntl
import ipaddress
import json
import os
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from kubeharden.errors import RehearsalError
from kubeharden_rehearsal.atomic import write_atomically
from kubeharden_rehearsal.scenario import Scenario

LAYOUT = 1
SETTLE_SECONDS = 0.3


@dataclass
class Directory:
    """The folder of a rehearsal, locked as long as this lives.

    Attributes:
        resumed: whether it held a rehearsal of the same scenario.
    """

    path: Path
    resumed: bool
    _lock: int

    @classmethod
    def take(cls, path: Path, scenario: Scenario) -> Directory:
        """Make the folder, or take up the rehearsal in it.

        Raises:
            RehearsalError: it holds something else, another scenario, or is in use.
        """
        place = path.resolve()
        marker = place / "state/rehearsal.json"
        if place.exists() and not place.is_dir():
            raise RehearsalError(f"{place} is not a directory; give an empty one or one that does not exist")
        # A rehearsal that was killed before it had written its marker has left a lock and nothing else.
        contents = {*place.iterdir()} if place.is_dir() else set()
        if contents == {place / "state"}:
            contents = {*(place / "state").iterdir()} - {place / "state/lock"}
        if contents and not marker.exists():
            raise RehearsalError(
                f"{place} is not empty and holds no rehearsal; give an empty directory or a new one"
            )
        try:
            (place / "state").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RehearsalError(f"cannot make {place} ({error.strerror}); give another directory") from None
        lock = _lock_folder(place)
        found = json.loads(marker.read_text(encoding="utf-8")) if marker.exists() else {}
        if found and (found["scenario"], found["layout"]) != (scenario.name, LAYOUT):
            raise RehearsalError(
                f"{place} holds the rehearsal {found['scenario']}, not {scenario.name}; give another directory"
            )
        directory = cls(place, bool(found.get("complete")), lock)
        if not directory.resumed:
            directory.clear(scenario)
        return directory

    def clear(self, scenario: Scenario) -> None:
        """Remove the cluster; the way in (keys and token) stays, and so does what is not of the rehearsal."""
        self.resumed = False
        for trees in ("nodes", "state/nodes"):
            shutil.rmtree(self.path / trees, ignore_errors=True)
        self.mark(scenario, complete=False)

    def mark(self, scenario: Scenario, *, complete: bool) -> None:
        """Write down what the folder holds, and whether it can be resumed."""
        marker = {"scenario": scenario.name, "layout": LAYOUT, "complete": complete}
        write_atomically(self.path / "state/rehearsal.json", json.dumps(marker) + "\n")

    def token(self) -> str:
        """Return the administrator's bearer token."""
        path = self.path / "state/admin.token"
        if not path.exists():
            write_atomically(path, secrets.token_urlsafe(24), 0o600)
        return path.read_text(encoding="utf-8")

    def write_kubeconfig(self, scenario: Scenario, port: int) -> None:
        """Write the administrator's kubeconfig."""
        name, user = scenario.name, "kubernetes-admin"
        certificate = {"client-certificate": "state/admin.crt", "client-key": "state/admin.key"}
        proof = {"token": self.token(), **(certificate if (self.path / "state/admin.crt").exists() else {})}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": name, "cluster": {"server": f"http://127.0.0.1:{port}"}}],
            "users": [{"name": user, "user": proof}],
            "contexts": [{"name": f"{user}@{name}", "context": {"cluster": name, "user": user}}],
            "current-context": f"{user}@{name}",
        }
        write_atomically(self.path / "admin.kubeconfig", yaml.safe_dump(config, sort_keys=False), 0o600)

    def write_inventory(self, scenario: Scenario, ports: dict[str, int], host_keys: dict[str, str]) -> Path:
        """Write the inventory and the known_hosts that it names, and return the inventory's path."""
        hosts = [f"[127.0.0.1]:{port} {host_keys[node]}\n" for node, port in ports.items()]
        write_atomically(self.path / "known_hosts", "".join(hosts))
        inventory: dict[str, Any] = {
            "cluster": scenario.name,
            "kubeconfig": "admin.kubeconfig",
            "service_cluster_ip_range": str(ipaddress.ip_network(scenario.service_cluster_ip_range)),
            "settle_seconds": SETTLE_SECONDS,
            "ssh": {"user": "ops", "identity_file": "id_ed25519", "known_hosts": "known_hosts"},
            "nodes": [
                {"name": spec.name, "host": "127.0.0.1", "port": ports[spec.name]}
                | ({"control_plane": True} if spec.control_plane else {})
                for spec in scenario.nodes
            ],
        }
        path = self.path / "inventory.yaml"
        write_atomically(path, yaml.safe_dump(inventory, sort_keys=False))
        return path


def _lock_folder(place: Path) -> int:
    descriptor = os.open(place / "state/lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise RehearsalError(
            f"{place} is in use by another rehearsal; stop that one or give another directory"
        ) from None
    return descriptor
