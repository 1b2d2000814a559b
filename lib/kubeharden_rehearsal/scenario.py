"""Scenarios: a rehearsal cluster as a folder of data, and how its file trees are laid out.

    scenarios/NAME/
      scenario.yaml           release, nodes, accounts, file modes and owners
      nodes/_all/…            files of every node
      nodes/NODE/…            files of one node, over those of _all
      cluster/*.yaml          API objects

In the text of a node's file ``@NODE@`` and ``@ADDRESS@`` stand for the node's, ``@PEM KIND NAME@`` for
made-up but well-formed PEM text (KIND is certificate, key or public) and ``@DATA KIND NAME@`` for the same
in base64, as kubeconfig files hold it. So no key, not even a false one, is in this repository.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from kubeharden.errors import RehearsalError
from kubeharden.releases.files import LOADER, Row
from kubeharden_rehearsal import SCENARIOS

_TOKEN = re.compile(r"@(NODE|ADDRESS|PEM|DATA)(?: (\w+) ([\w-]+))?@")
_LABELS = {"certificate": "CERTIFICATE", "key": "EC PRIVATE KEY", "public": "PUBLIC KEY"}


class Account(Row):
    """A user of a node, with its groups; the first is its own."""

    uid: int
    groups: tuple[str, ...]


class NodeSpec(Row):
    """A node of a scenario."""

    name: str
    address: str
    control_plane: bool = False
    users: Mapping[str, Account] = {}


class FileRule(Row):
    """Mode (in octal) and owner of the files that a pattern names."""

    path: str
    owner: str = "root"
    group: str = "root"
    mode: str = "0644"


class Scenario(Row):
    """A scenario as its folder describes it.

    Attributes:
        release: the full version of Kubernetes, ``v1.10.0``.
        runtime: as a Node object's status says it, ``docker://17.6.2``.
        systemd: its version number.
        sudo: ``nopasswd``, ``password`` or ``none``: what the user ``ops`` may do.
    """

    name: str
    folder: Path
    title: str
    release: str
    runtime: str
    systemd: int
    service_cluster_ip_range: str
    sudo: str = "nopasswd"
    sudo_password: str = ""
    nodes: tuple[NodeSpec, ...]
    directories: tuple[str, ...] = ()
    files: tuple[FileRule, ...] = ()

    def objects(self) -> list[dict[str, Any]]:
        """Return the API objects that the cluster is loaded with."""
        return [
            document
            for path in sorted((self.folder / "cluster").glob("*.yaml"))
            for document in yaml.load_all(path.read_text(encoding="utf-8"), Loader=LOADER)
        ]

    def rule(self, path: str) -> FileRule:
        """Return the mode and owner of a file, by its path without a leading slash; the last line wins."""
        rule = FileRule(path=path)
        for candidate in self.files:
            if PurePosixPath(path).match(candidate.path):
                rule = candidate
        return rule


def load_scenario(name: str) -> Scenario:
    """Load a scenario by its name, or by the path of a folder; a RehearsalError where it cannot be read."""
    folder = Path(name) if "/" in name else SCENARIOS / name
    try:
        raw = yaml.load((folder / "scenario.yaml").read_text(encoding="utf-8"), Loader=LOADER)  # noqa: S506
        return Scenario(name=folder.name, folder=folder, **raw)
    except FileNotFoundError:
        known = ", ".join(sorted(path.parent.name for path in SCENARIOS.glob("*/scenario.yaml")))
        raise RehearsalError(f"there is no rehearsal cluster {name!r}; there are {known}") from None
    except (TypeError, ValueError, yaml.YAMLError) as error:
        raise RehearsalError(f"{folder / 'scenario.yaml'} cannot be read: {error}") from error


def lay_out(scenario: Scenario, node: NodeSpec, root: Path, modified: float) -> None:
    """Write a node's file tree to the folder that is to be its ``/``; ``modified`` is in seconds since the epoch."""
    for directory in scenario.directories:
        (root / directory).mkdir(parents=True, exist_ok=True)
    for name in ("_all", node.name):
        source = scenario.folder / "nodes" / name
        for path in sorted(p for p in source.rglob("*") if p.is_file()):
            relative = path.relative_to(source)
            target = root / relative
            target.parent.mkdir(parents=True, exist_ok=True)
            text = _fill_in(path.read_text(encoding="utf-8"), scenario, node)
            target.write_text(text, encoding="utf-8")
            target.chmod(int(scenario.rule(str(relative)).mode, 8))
            os.utime(target, (modified, modified))
    _enable_units(root)


def _fill_in(text: str, scenario: Scenario, node: NodeSpec) -> str:
    def value(match: re.Match[str]) -> str:
        if match[1] == "NODE":
            return node.name
        if match[1] == "ADDRESS":
            return node.address
        pem = made_up_pem(match[2], f"{scenario.name}/{match[3]}")
        return pem.rstrip("\n") if match[1] == "PEM" else base64.b64encode(pem.encode()).decode()

    return _TOKEN.sub(value, text)


def made_up_pem(kind: str, seed: str) -> str:
    """Return PEM text that is well-formed and means nothing; the same seed gives the same text."""
    body = b"".join(hashlib.sha512(f"{seed}/{index}".encode()).digest() for index in range(4))
    label = _LABELS[kind]
    lines = base64.encodebytes(body).decode().replace("\n", "")
    wrapped = "\n".join(lines[i : i + 64] for i in range(0, len(lines), 64))
    return f"-----BEGIN {label}-----\n{wrapped}\n-----END {label}-----\n"


def _enable_units(root: Path) -> None:
    # systemctl enable writes absolute links; here they would point out of the node's tree.
    wants = root / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir(parents=True, exist_ok=True)
    for folder in ("etc/systemd/system", "usr/lib/systemd/system"):
        for unit in (root / folder).glob("*.service"):
            link = wants / unit.name
            if not link.is_symlink():
                link.symlink_to(Path("../../../..") / folder / unit.name)
