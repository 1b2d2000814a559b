"""The verbs that a notebook calls. Notebooks import this module and no other.

run = runbook.start(globals())    # checks every parameter before anything is contacted
run.look()                        # reads the nodes and the cluster
run.plan()                        # what would be done; nothing has been changed yet
run.apply("kubelet")              # carries out one step of that plan
run.prove()                       # looks again and compares with what the plan promised
run.finish()                      # closes the record
"""

from __future__ import annotations

import getpass
import traceback
from collections.abc import Callable, Mapping
from functools import wraps
from ipaddress import ip_network
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from kubeharden import display, views
from kubeharden.cluster import Cluster
from kubeharden.decide import make_plan
from kubeharden.display import BAD, GOOD, NOTE, Block, Message, Table, View
from kubeharden.errors import KubehardenError, MigrationRefusedError, ProofError, UnexpectedError
from kubeharden.facts import Facts
from kubeharden.inventory import Inventory, read_inventory
from kubeharden.nodes import Nodes
from kubeharden.parameters import Parameters, check_dns_ip, read_parameters
from kubeharden.plan import Plan
from kubeharden.podsecurity import PolicySet, read_policies
from kubeharden.preflight import preflight
from kubeharden.project import POLICIES, find, project_folder
from kubeharden.proof import Proof, compare
from kubeharden.record import Record
from kubeharden.redact import redact
from kubeharden.rehearsal import Rehearsal, available, service_range
from kubeharden.releases import LAST, Release
from kubeharden.results import Result
from kubeharden.rollout import Rollout
from kubeharden.upgrade import upgrade_findings

P = ParamSpec("P")
T = TypeVar("T")


def _verb(method: Callable[P, T]) -> Callable[P, T]:
    """Refuse a run that is over, and let no exception reach the notebook with a secret in its traceback."""

    @wraps(method)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
        if args and isinstance(args[0], Run) and args[0].is_over:
            raise KubehardenError(
                "this run is over: run the cell with runbook.start(globals()) for a new one"
            )
        try:
            return method(*args, **kwargs)
        except KubehardenError:
            raise
        except Exception as error:
            trace = "".join(traceback.format_exception(error))
            raise UnexpectedError(
                f"this should not have happened; please report it:\n{redact(trace)}"
            ) from error

    return guarded


_current: list[Run] = []  # at most one: the run that this notebook has open


class Run:
    """One run of the runbook: made by ``start``, walked by the notebook's cells."""

    def __init__(
        self,
        parameters: Parameters,
        inventory: Inventory,
        policies: PolicySet,
        record: Record,
        rehearsal: Rehearsal | None,
        *,
        looks_only: bool = False,
    ) -> None:
        self.parameters, self.inventory, self.policies = parameters, inventory, policies
        self.record, self.rehearsal, self.looks_only = record, rehearsal, looks_only
        self.nodes = Nodes(inventory, _ask_password)
        self.cluster = Cluster(inventory.kubeconfig, inventory.context)
        self._facts: Facts | None = None
        self._plan: Plan | None = None
        self._done: dict[str, list[Result]] = {}
        self._closed = False

    @_verb
    def check(self) -> View:
        """Check logins, root and permissions; nothing is changed.

        Raises:
            KubehardenError: something that this run may need does not work; what to do is said.
        """
        found = preflight(self.parameters, self.inventory, self.policies, self.nodes, self.cluster)
        self.record.event("checked", checks=[check.what for check in found])
        return views.checks_view(found)

    @_verb
    def look(self) -> View:
        """Read every node and the cluster; nothing is changed.

        Raises:
            KubehardenError: a node or the API server cannot be reached.
        """
        self._facts = self._observe()
        self.record.event("observed", nodes=[node.name for node in self._facts.nodes])
        return views.facts_view(self._facts)

    @_verb
    def plan(self) -> View:
        """Decide what to do, from what was seen; nothing is changed.

        Raises:
            ParameterError: a parameter does not fit this cluster.
        """
        self._plan = make_plan(self._seen(), self.parameters, self.policies)
        self._done.clear()
        self.record.plan(self._plan)
        self.record.event("planned", digest=self._plan.digest, needed=self._plan.needed)
        return views.plan_view(self._plan)

    @_verb
    def readiness(self) -> View:
        """What stands between the cluster, as it is, and ``target_release``; nothing is changed.

        Raises:
            ParameterError: the release is older than one that runs.
        """
        target = Release.parse(self.parameters.target_release or str(LAST))
        findings = upgrade_findings(self._seen(), str(target))
        self.record.event("judged", target_release=str(target), findings=len(findings))
        view = views.findings_view(findings, str(target))
        return view.add(*views.releases_view(self._seen(), findings, target).blocks)

    @_verb
    def show(self, step: str) -> View:
        """What the plan holds for one step, in full: every setting's verdict, every diff."""
        if step not in self.parameters.steps:
            return View(
                [Message(f"{step} is not among the steps of this run ({', '.join(self.parameters.steps)}).")]
            )
        return views.step_view(self._planned(), step)

    @_verb
    def apply(self, step: str) -> View:
        """Carry out one step of the plan; in ``plan`` mode, say that nothing was.

        Raises:
            MigrationRefusedError: the plan cannot be carried out; nothing was changed.
            KubehardenError: a node or an object failed; the later ones are untouched.
        """
        plan = self._planned()
        if step not in self.parameters.steps:
            return View([Message(f"{step} is not among the steps of this run: not touched.")])
        if self.parameters.mode == "plan":
            return View(
                [Message(f"mode is plan: {step} was not carried out, and nothing was changed anywhere.")]
            )
        if plan.refused:
            reasons = "\n".join(f"  {r.subject}: {r.text}" for r in plan.refused)
            raise MigrationRefusedError(
                f"this plan cannot be carried out, and nothing was changed:\n{reasons}"
            )
        if step in self._done:
            return View(
                [
                    Message(
                        f"{step} was carried out in this run already; look and plan again to see what is left."
                    )
                ]
            )
        progress = _Progress()
        rollout = Rollout(self._seen(), self.nodes, self.cluster, self.record, progress.add)
        results = rollout.apply(plan.of(step))
        self._done[step] = results
        if not plan.of(step).needed:
            return View(
                [
                    Message(
                        f"{step}: everything was as it should be; nothing was changed, nothing restarted.",
                        GOOD,
                    )
                ]
            )
        return View([Message(f"{step}: carried out and proved, one after the other.", GOOD)])

    @_verb
    def prove(self) -> View:
        """Look again and compare with what the plan promised; in ``plan`` mode, with what was there.

        Raises:
            ProofError: something is not as promised. What was found is shown first.
        """
        proof = compare(
            self._seen(), self._observe(), self._planned(), applied=self.parameters.mode == "apply"
        )
        self.record.event("proved", problems=list(proof.problems))
        view = _proof_view(proof)
        if proof.problems:
            _show(view)
            raise ProofError(
                "not everything is as the plan promised:\n" + "\n".join(f"  {p}" for p in proof.problems)
            )
        return view

    @_verb
    def finish(self) -> View:
        """What was changed, per node, with diffs; then close the record and stop the rehearsal."""
        if self.looks_only:
            self.record.event("finished", mode="plan", changed=[], not_carried_out=[])
            self.close()
            seen = Message("Nothing was changed anywhere: this runbook only looks.", GOOD)
            return View([seen, Message(f"Record of this run: {self.record.folder}")])
        plan = self._planned()
        done = [step for step in plan.steps if step in self._done and plan.of(step).needed]
        left = [step for step in plan.steps if step not in self._done and plan.of(step).needed]
        self.record.event("finished", mode=self.parameters.mode, changed=done, not_carried_out=left)
        self.close()
        view = View(_ending(plan, self.parameters.mode, done, left))
        for step in done or (left if self.parameters.mode == "plan" else []):
            view.add(*views.summary_view(plan.of(step)).blocks)
        if plan.uncovered and "pod-security" in plan.steps:
            view.add(Message(views.uncovered_text(plan.uncovered), BAD))
        return view.add(Message(f"Record of this run: {self.record.folder}"))

    def close(self) -> None:
        """Close connections, record and rehearsal; more than once does no harm."""
        self._closed = True
        self.nodes.close()
        self.cluster.close()
        self.record.close()
        if self.rehearsal is not None:
            self.rehearsal.stop()

    @property
    def is_over(self) -> bool:
        """Whether ``finish`` or ``close`` has been called."""
        return self._closed

    def _observe(self) -> Facts:
        nodes = self.nodes.observe()
        cluster = self.cluster.observe()
        with_configz = tuple(
            node.with_kubelet_configz(self.cluster.kubelet_config(node.name))
            if node.service("kubelet")
            else node
            for node in nodes
        )
        return Facts(nodes=with_configz, cluster=cluster)

    def _seen(self) -> Facts:
        if self._facts is None:
            raise KubehardenError("nothing has been looked at yet: run the cell with run.look() first")
        return self._facts

    def _planned(self) -> Plan:
        if self._plan is None:
            raise KubehardenError("there is no plan yet: run the cell with run.plan() first")
        return self._plan

    def _repr_html_(self) -> str:
        return self._header()._repr_html_()

    def __repr__(self) -> str:
        return str(self._header())

    def _header(self) -> View:
        p = self.parameters
        rows = [
            ("Change", p.change_id or "– (none given)"),
            ("Reason", p.reason or "– (none given)"),
            (
                "Mode",
                f"{p.mode}: {'reads and shows, changes nothing' if p.mode == 'plan' else 'carries the plan out'}",
            ),
            ("Steps", "none: it only looks" if self.looks_only else ", ".join(p.steps)),
            *([("Target release", p.target_release)] if p.target_release else []),
            ("Cluster", f"{self.inventory.cluster}, API user {self.cluster.user or '(unnamed)'}"),
            ("Nodes", ", ".join(node.name for node in self.inventory.nodes)),
            ("Record", str(self.record.folder)),
        ]
        view = View([Table("This run", ("", ""), rows)])
        if self.rehearsal is not None:
            clusters = [
                (name, text, "this one" if name == p.rehearsal else "") for name, text in available().items()
            ]
            view.add(Table("Rehearsal clusters", ("Name", "What it is", ""), clusters))
            view.add(
                Message(
                    f"This is a rehearsal: its nodes live in {self.rehearsal.directory} and nowhere else."
                )
            )
        return view


@_verb
def start(namespace: Mapping[str, Any], *, looks_only: bool = False) -> Run:
    """Check the parameters, open the inventory or start the rehearsal, and begin the record.

    Args:
        namespace: the notebook's ``globals()``.
        looks_only: for a notebook that changes nothing, and has no parameters for it.

    Raises:
        ParameterError: a parameter, the inventory or the policies file is wrong; nothing was contacted.
        RehearsalError: the rehearsal cluster cannot run.
    """
    _short_errors(namespace)
    while _current:
        _current.pop().close()
    parameters = read_parameters(namespace, rehearsals=available(), looks_only=looks_only)
    policies = read_policies(
        find(parameters.policies) if parameters.policies else project_folder() / POLICIES
    )
    rehearsal = None
    if parameters.inventory != "rehearsal":
        inventory = read_inventory(find(parameters.inventory))
        known = inventory.service_cluster_ip_range
        check_dns_ip(parameters.dns_ip, (known,) if known else (), "from the inventory")
    else:
        ranges = (ip_network(service_range(parameters.rehearsal)),)
        check_dns_ip(parameters.dns_ip, ranges, f"of the rehearsal cluster {parameters.rehearsal}")
        rehearsal = Rehearsal.start(parameters.rehearsal, _rehearsal_folder(parameters.rehearsal_dir))
        inventory = read_inventory(rehearsal.inventory)
    try:
        parent = (
            Path(parameters.output_dir).expanduser()
            if parameters.output_dir
            else project_folder() / "outputs"
        )
        label = parameters.change_id or _label(parameters, looks_only)
        record = Record(parent, inventory.cluster, label)
        run = Run(parameters, inventory, policies, record, rehearsal, looks_only=looks_only)
    except BaseException:
        if rehearsal is not None:
            rehearsal.stop()
        raise
    _current.append(run)
    record.event(
        "run started", mode=parameters.mode, steps=list(parameters.steps), change_id=parameters.change_id
    )
    return run


def _label(parameters: Parameters, looks_only: bool) -> str:
    """What the record's folder is called where no change has a name."""
    if looks_only:
        return "upgrade-readiness"
    return parameters.steps[0] if len(parameters.steps) == 1 else "harden"


def _ending(plan: Plan, mode: str, done: list[str], left: list[str]) -> list[Block]:
    """What became of the plan as a whole, in a sentence or two."""
    if plan.refused and mode == "plan":
        return [
            Message("Nothing was changed. This plan would be refused; see what is red in section 4.", BAD)
        ]
    if not plan.needed:
        return [Message("Nothing had to be done: no file, no object and no process was changed.", GOOD)]
    if mode == "plan":
        return [Message("Nothing was changed anywhere. This is what mode=apply would change:", NOTE)]
    ending: list[Block] = []
    if left:
        ending.append(Message(f"Planned and NOT carried out: {', '.join(left)}.", BAD))
    if done:
        ending.append(Message(f"Carried out: {', '.join(done)}. This is what was changed:", GOOD))
    return ending


def _rehearsal_folder(text: str) -> Path | None:
    return Path(text).expanduser().absolute() if text else None


def _proof_view(proof: Proof) -> View:
    view = View()
    view.add(*display.sentences(proof.problems, BAD))
    view.add(*display.sentences(proof.confirmed, GOOD))
    view.add(*display.sentences(proof.notes, NOTE))
    if proof.services:
        view.add(views.services_view(proof.services))
    if proof.differences:
        view.add(views.effective_view(proof.differences))
    return view


class _Progress:
    """Shows results as they come, in one place that grows."""

    def __init__(self) -> None:
        self._results: list[Result] = []
        self._handle: Any = None

    def add(self, result: Result) -> None:
        self._results.append(result)
        view = views.results_view(self._results)
        if self._handle is None:
            self._handle = _show(view)
        else:
            self._handle.update(view)


def _show(view: View) -> Any:
    """Show a view now, whatever the cell returns; the handle can replace it."""
    from IPython.display import display as show  # noqa: PLC0415 - half a second, and for notebooks only

    return show(view, display_id=True)  # type: ignore[no-untyped-call]


def _ask_password() -> str:
    try:
        return getpass.getpass("sudo password on the nodes: ")
    except Exception:  # ipykernel raises its own kind when nobody can answer
        return ""


def _short_errors(namespace: Mapping[str, Any]) -> None:
    """Show the errors that we raise on purpose as their message, without a traceback around it."""
    shell = namespace["get_ipython"]() if "get_ipython" in namespace else None
    if shell is not None:
        shell.set_custom_exc(
            (KubehardenError,),
            lambda shell, kind, error, _trace, tb_offset=None: shell.showtraceback(  # noqa: ARG005
                (kind, kind(redact(str(error))), None)
            ),
        )
