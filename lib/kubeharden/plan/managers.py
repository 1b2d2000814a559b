"""Programs and services that make the files of a node, and would write a change over: see ``managers.yaml``. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from kubeharden.facts import NodeFacts, ServiceFacts
from kubeharden.plan.model import FileChange
from kubeharden.releases.files import Row, read


class Manager(Row):
    """A program or a service that makes the files of nodes; the attributes are explained in ``managers.yaml``."""

    name: str
    why: str
    source: str
    annotations: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    version: str = ""
    os: str = ""
    unit: tuple[str, ...] = ()
    comment: str = ""
    refuses: bool = False

    def manages(self, node: NodeFacts, item: Mapping[str, Any]) -> bool:
        """Return whether it manages a node, by what was seen there and by its Node object."""
        metadata, info = item.get("metadata") or {}, (item.get("status") or {}).get("nodeInfo") or {}
        annotations, labels = metadata.get("annotations") or {}, metadata.get("labels") or {}
        systems = (node.os, str(info.get("osImage") or ""))
        return (
            any(key in annotations for key in self.annotations)
            or any(key in labels for key in self.labels)
            or (bool(self.version) and self.version in str(info.get("kubeletVersion") or ""))
            or (bool(self.os) and any(system.startswith(self.os) for system in systems))
        )

    def has_written(self, text: str) -> bool:
        """Return whether a comment in a file names it."""
        if not self.comment:
            return False
        comments = (line for line in text.splitlines() if line.lstrip(" \t\ufeff").startswith(("#", ";")))
        return any(re.search(self.comment, line, re.IGNORECASE) for line in comments)


def refusal(node: NodeFacts, item: Mapping[str, Any]) -> str:
    """Return why the files of a node are not to be changed from here; empty where they may be.

    Args:
        node: as seen.
        item: its Node object; empty for none.
    """
    managers = (manager for manager in _all() if manager.refuses and manager.manages(node, item))
    return next((f"its node is managed by {manager.name}: {manager.why}" for manager in managers), "")


def warnings(
    node: NodeFacts, item: Mapping[str, Any], service: ServiceFacts, files: Sequence[FileChange]
) -> Iterator[str]:
    """Yield what will write the files of a service over that are to be changed; arguments as of ``refusal``."""
    units = "".join(unit.text for _, unit in service.service.files)
    for manager in _all() if files else ():
        if manager.manages(node, item):
            yield f"its node is managed by {manager.name}: {manager.why}"
        elif manager.unit and all(re.search(pattern, units) for pattern in manager.unit):
            yield f"its unit is managed by {manager.name}: {manager.why}"
    for file in files:
        text = str(file.before.content) if file.before is not None else ""
        writers = [each for each in _all() if each.has_written(text)][:1]
        yield from (f"{file.path} is managed by {each.name}: {each.why}" for each in writers)


@cache
def _all() -> tuple[Manager, ...]:
    return tuple(Manager(**row) for row in read("managers", __package__))
