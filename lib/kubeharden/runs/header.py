"""The top of a notebook: its run, with what and on which cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kubeharden.inputs.sources import source
from kubeharden.show.display import Message, View
from kubeharden.show.run_views import header_view, tracked_words

if TYPE_CHECKING:
    from kubeharden.runs.run import Run


def header_of(run: Run) -> View:
    """Show what a run is: its change, mode, steps, cluster, nodes and record."""
    p, mode, target = run.parameters, run.kind.mode, getattr(run.parameters, "target_release", "")
    rows = [
        ("Change", p.change_id or "– (none given)"),
        ("Reason", p.reason or "– (none given)"),
        (
            "Mode",
            f"{mode}: {'reads and shows, changes nothing' if mode == 'plan' else 'carries the plan out'}",
        ),
        ("Steps", ", ".join(run.kind.steps) if run.kind.plans else "none: it only looks"),
        *([("Target release", target)] if target else []),
        ("Cluster", f"{run.inventory.cluster}, API user {run.cluster.user or '(unnamed)'}"),
        ("Nodes", ", ".join(node.name for node in run.inventory.nodes)),
        *([("Nodes left out", ", ".join(run.left_out))] if run.left_out else []),
        ("Record", str(run.record.folder)),
    ]
    clusters: list[tuple[str, ...]] = []
    if run.rehearsal is not None:
        clusters = [
            (name, text, "this one" if name == p.rehearsal else "")
            for name, text in source().available().items()
        ]
    view = header_view(rows, clusters, str(run.rehearsal.directory) if run.rehearsal else "")
    if run.notebook.is_tracked and run.person.is_there:
        view.add(Message(tracked_words(run.kind.name)))
    view.redactor = run.redactor
    return view
