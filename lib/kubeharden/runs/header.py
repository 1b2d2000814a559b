"""The top of a notebook: its run, with what and on which cluster."""

from __future__ import annotations

from collections.abc import Sequence

from kubeharden.inputs.inventory import Inventory
from kubeharden.inputs.sources import OpenCluster, source
from kubeharden.records.folder import Record
from kubeharden.runs.kind import AnyKind
from kubeharden.show.display import Message, View
from kubeharden.show.run_views import header_view, tracked_words


def header_of(
    kind: AnyKind,
    inventory: Inventory,
    record: Record,
    user: str,
    rehearsal: OpenCluster | None,
    left_out: Sequence[str],
    *,
    tracked: bool,
) -> View:
    """Show what a run is: its change, mode, steps, cluster, nodes and record.

    Args:
        user: of the API.
        left_out: the nodes of the inventory that the run leaves alone.
        tracked: whether somebody works in the project's own notebook.
    """
    p, mode, target = kind.parameters, kind.mode, getattr(kind.parameters, "target_release", "")
    rows = [
        ("Change", p.change_id or "– (none given)"),
        ("Reason", p.reason or "– (none given)"),
        (
            "Mode",
            f"{mode}: {'reads and shows, changes nothing' if mode == 'plan' else 'carries the plan out'}",
        ),
        ("Steps", ", ".join(kind.steps) if kind.plans else "none: it only looks"),
        *([("Target release", target)] if target else []),
        ("Cluster", f"{inventory.cluster}, API user {user or '(unnamed)'}"),
        ("Nodes", ", ".join(node.name for node in inventory.nodes)),
        *([("Nodes left out", ", ".join(left_out))] if left_out else []),
        ("Record", str(record.folder)),
    ]
    clusters: list[tuple[str, ...]] = []
    if rehearsal is not None:
        clusters = [
            (name, text, "this one" if name == p.rehearsal else "")
            for name, text in source().available().items()
        ]
    view = header_view(rows, clusters, str(rehearsal.directory) if rehearsal else "")
    if tracked:
        view.add(Message(tracked_words(kind.name)))
    view.redactor = record.redactor
    return view
