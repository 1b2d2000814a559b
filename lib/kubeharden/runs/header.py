"""The top of a notebook: its run, with what and on which cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kubeharden.inputs.sources import source
from kubeharden.show.display import Message, Table, View

if TYPE_CHECKING:
    from kubeharden.runs.run import Run


def header_of(run: Run) -> View:
    """Show what a run is: its change, mode, steps, cluster, nodes and record."""
    kind, p, inventory, rehearsal = run.kind, run.parameters, run.inventory, run.rehearsal
    mode, target, user = kind.mode, getattr(p, "target_release", ""), run.cluster.user
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
        *([("Nodes left out", ", ".join(run.left_out))] if run.left_out else []),
        ("Record", str(run.record.folder)),
    ]
    view = View([Table("This run", ("", ""), rows)])
    if rehearsal is not None:
        clusters = [
            (name, text, "this one" if name == p.rehearsal else "")
            for name, text in source().available().items()
        ]
        view.add(Table("Rehearsal clusters", ("Name", "What it is", ""), clusters))
        view.add(Message(f"This is a rehearsal: its nodes live in {rehearsal.directory} and nowhere else."))
    if run.notebook.is_tracked and run.person.is_there:
        words = "This is the project's own notebook, which git tracks: saved with its outputs, it counts as changed."
        command = f"kubeharden notebook {kind.name} CHG-4711"
        view.add(Message(f"{words} For a copy in outputs/, named after the change: {command}"))
    view.redactor = run.redactor
    return view
