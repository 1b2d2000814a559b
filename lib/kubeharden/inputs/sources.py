"""Where an inventory comes from, where it is not a file: a package that runs a cluster and says how to reach it.

Such a package names itself as an entry point of the group ``kubeharden.inventory``. This library imports none of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Protocol, cast

from kubeharden.errors import ParameterError

GROUP = "kubeharden.inventory"
REHEARSAL = "rehearsal"


class OpenCluster(Protocol):
    """A cluster that a source has started.

    Attributes:
        directory: where it lives.
        inventory: the inventory file that leads to it.
    """

    directory: Path
    inventory: Path

    def stop(self) -> None:
        """Stop the cluster; calling it again does no harm."""


class Source(Protocol):
    """A package that runs clusters."""

    def available(self) -> Mapping[str, str]:
        """Return the clusters that can be started: name and one line of description."""

    def service_range(self, name: str) -> str:
        """Return the ``--service-cluster-ip-range`` of a cluster's API server before it runs."""

    def start(self, name: str, directory: Path | None) -> OpenCluster:
        """Start a cluster and wait until it can be used.

        Args:
            name: one of ``available()``.
            directory: where it lives; None for a fresh temporary folder.
        """


@cache
def source(name: str = REHEARSAL) -> Source:
    """Return the installed source of that name; it is looked for once, since that reads the names of all packages.

    Raises:
        ParameterError: no installed package offers it.
    """
    for point in entry_points(group=GROUP, name=name):
        return cast("Source", point.load())
    raise ParameterError(
        f"inventory: no installed package offers {name!r}; install kubeharden anew (pip install -e .), or name a file"
    )


def split_inventory(text: str) -> tuple[str, str]:
    """Split ``rehearsal:article-1.10`` into source and cluster; the cluster is empty for any other text."""
    name, _, cluster = text.partition(":")
    return (name, cluster) if name == REHEARSAL else (text, "")
