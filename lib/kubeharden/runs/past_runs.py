"""Past runs, for a notebook: the register, one run, two side by side, and a node since a run. Changes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from kubeharden.edges.connect import connect_nodes
from kubeharden.errors import ParameterError
from kubeharden.facts import NodeFacts
from kubeharden.inputs.inventory import read_inventory
from kubeharden.inputs.parameter_types import PathText, Text
from kubeharden.inputs.parameters import read_parameters
from kubeharden.inputs.project import find, runs_folder
from kubeharden.plan.timeline import Timeline
from kubeharden.records.folder import read_run
from kubeharden.records.register import RegisterEntry, RunFilter, compare_runs, record_of, register, since_run
from kubeharden.records.signature import if_known, named_signers
from kubeharden.records.timestamp import find_certificates
from kubeharden.records.verify import Verdict, verify_sealed
from kubeharden.redaction import Redactor
from kubeharden.runs.verb import verb
from kubeharden.show.display import GOOD, Message, View
from kubeharden.show.records_views import comparison_view, files_view, names_on_lines, register_view, run_view

VERIFIED_AT_MOST = 200  # runs of one list; each costs some 10 ms


class Query(BaseModel):
    """The parameters of ``records.ipynb``; all of them are text."""

    model_config = ConfigDict(frozen=True)

    output_dir: PathText = ""
    node: Text = ""
    about: Text = ""
    user: Text = ""
    since: Text = ""
    until: Text = ""
    signers: Text = ""
    oldest: Text = ""
    run: Text = ""
    other: Text = ""
    inventory: PathText = ""


class Records:
    """The runs in a folder, walked by the notebook's cells.

    Args:
        namespace: the notebook's ``globals()``.
        redactor: takes the secrets out of what is shown.

    Raises:
        ParameterError: a parameter is wrong.
        RecordError: there is no such folder.
    """

    def __init__(self, namespace: Mapping[str, Any], redactor: Redactor) -> None:
        self.redactor = redactor
        self.query = query = read_parameters(Query, namespace)
        chosen = RunFilter(query.node, query.about, query.user, query.since, query.until)
        self.entries = register(runs_folder(query.output_dir).absolute(), chosen)

    @verb
    def list(self) -> View:
        """Show the runs that match, the newest first, each with the verdict on its seal."""
        view = register_view(self.entries, self._verdicts(self.entries[:VERIFIED_AT_MOST]))
        if len(self.entries) > VERIFIED_AT_MOST:
            view.add(
                Message(f"The newest {VERIFIED_AT_MOST} were verified; kubeharden verify takes them all.")
            )
        return names_on_lines(view)

    @verb
    def show(self) -> View:
        """Show one run: the one named, else the newest."""
        if not self.entries:
            return _nothing()
        entry = self._entry(self.query.run, 0)
        course = Timeline.of(read_run(entry.folder).events)
        verdict = self._verdicts([entry]).get(entry.run)
        return names_on_lines(run_view(record_of(entry.folder), verdict, course))

    @verb
    def compare(self) -> View:
        """Compare that run with another: the one named, else the one before it in the list on the same cluster."""
        if not self.entries:
            return _nothing()
        one = self._entry(self.query.run, 0)
        older = self.entries[self.entries.index(one) + 1 :]
        same = [self.entries.index(entry) for entry in older if entry.cluster == one.cluster]
        if not self.query.other and not same:
            return View([Message(f"There is no run on {one.cluster} before it to compare it with.")])
        other = self._entry(self.query.other, same[0] if same else 0)
        return names_on_lines(comparison_view(other.run, one.run, compare_runs(other.folder, one.folder)))

    @verb
    def since(self) -> View:
        """Show what is different now on the nodes that the run changed; nothing is changed.

        Raises:
            ParameterError: the inventory is wrong.
            NodeError: a node cannot be reached.
        """
        if not self.entries:
            return _nothing()
        if not self.query.inventory:
            return View([Message("No inventory was given: the nodes were not looked at.")])
        past = read_run(self._entry(self.query.run, 0).folder)
        changed = {entry.node for entry in past.files if self.query.node in ("", entry.node)}
        inventory = read_inventory(find(self.query.inventory))
        nodes_here = [node for node in inventory.nodes if node.name in changed]
        if not nodes_here:
            return View([Message("This run changed no file on any node of this inventory.")])
        with connect_nodes(inventory.model_copy(update={"nodes": nodes_here}), self.redactor) as nodes:
            observed = nodes.observe()
        differences = [
            difference
            for node in observed
            for difference in since_run(past, node.name, _contents(node), self.redactor)
        ]
        same = all(difference.words == "is as the run left it" for difference in differences)
        view = View([Message("Every file is as the run left it.", GOOD)] if same else [])
        return names_on_lines(view.add(*files_view(differences).blocks))

    def _entry(self, name: str, otherwise: int) -> RegisterEntry:
        """Return the run of that name, or the one in that place of the list where none is named."""
        if not name:
            return self.entries[otherwise]
        for entry in self.entries:
            if name in (entry.run, str(entry.folder)):
                return entry
        raise ParameterError(f"there is no run {name!r} among those listed; expected one of the first column")

    def _verdicts(self, entries: Sequence[RegisterEntry]) -> dict[str, Verdict]:
        """Return the verdict on each sealed run; none where it is not known whose signatures count."""
        signers, ca = self.query.signers, find_certificates()
        with if_known(named_signers(signers), named=bool(signers)) as known:
            folders = (entry.folder for entry in entries)
            return verify_sealed(folders, known, self.query.oldest, ca=ca) if known else {}


def _contents(node: NodeFacts) -> dict[str, str]:
    """Return the content of every file that a node's services use, by path."""
    files = (file for service in node.services.values() for file in service.files.values())
    return {file.path: file.content for file in files}


def _nothing() -> View:
    return View([Message("There is no such run.")])
