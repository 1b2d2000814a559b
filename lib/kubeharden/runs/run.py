"""One run of the runbook: what a notebook's cells do one after the other, and what may not be done out of order."""

from __future__ import annotations

import getpass
import traceback
from collections.abc import Callable, Iterable
from functools import wraps
from typing import ParamSpec, TypeVar

from kubeharden.edges.cluster import Cluster
from kubeharden.edges.nodes import Nodes
from kubeharden.edges.observe import observe
from kubeharden.errors import (
    ClusterError,
    KubehardenError,
    MigrationRefusedError,
    ProofError,
    RecordError,
    StepError,
    UnexpectedError,
)
from kubeharden.facts import Facts
from kubeharden.inputs.batch_size import BatchSize
from kubeharden.inputs.inventory import Inventory
from kubeharden.inputs.parameters import Parameters
from kubeharden.inputs.sources import OpenCluster, source
from kubeharden.plan import Plan
from kubeharden.plan.decide import make_plan
from kubeharden.plan.events import (
    Abandoned,
    Approved,
    Checked,
    Error,
    Finished,
    Judged,
    JudgedPods,
    Listeners,
    Observed,
    Planned,
    Proved,
    Waited,
)
from kubeharden.plan.proof import compare
from kubeharden.plan.step import Right
from kubeharden.plan.upgrade import upgrade_findings
from kubeharden.podsecurity import PolicySet
from kubeharden.records import Record
from kubeharden.records.approval import Approval, check_approved, check_signer
from kubeharden.records.executed_notebook import RUN_TYPE
from kubeharden.redaction import Redactor
from kubeharden.releases import LAST, Release
from kubeharden.rollout.interrupts import Stop
from kubeharden.rollout.leftovers import uncordon_left_overs, wait_for_open_changes
from kubeharden.rollout.lock import Lock
from kubeharden.rollout.rollout import Pace, Rollout
from kubeharden.runs.preflight import preflight
from kubeharden.show import views
from kubeharden.show.display import GOOD, NOTE, Message, View
from kubeharden.show.impact_views import impact_view
from kubeharden.show.live import Progress, Reading, show
from kubeharden.show.run_views import (
    applied_view,
    approval_message,
    ending_view,
    header_view,
    proof_view,
    record_message,
    steps_of,
)

# How long a node may take to be over with a change, once its time to be confirmed is up.
OVER_SECONDS = 120

P = ParamSpec("P")
T = TypeVar("T")


def verb(method: Callable[P, T]) -> Callable[P, T]:
    """Refuse a run that is over, and let no exception reach the notebook with a secret in its traceback."""

    @wraps(method)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
        owner = args[0] if args else None
        run = owner if isinstance(owner, Run) else None
        redactor = getattr(owner, "redactor", None) or Redactor()
        if run is not None and run.is_over:
            raise KubehardenError(
                "this run is over: run the cell with runbook.start(globals()) for a new one"
            )
        try:
            shown = method(*args, **kwargs)
        except KubehardenError as error:
            _note(run, method.__name__, error)
            raise
        except Exception as error:
            _note(run, method.__name__, error)
            trace = "".join(traceback.format_exception(error))
            raise UnexpectedError(
                f"this should not have happened; please report it:\n{redactor.redact(trace)}"
            ) from error
        except KeyboardInterrupt as interrupt:
            _note(run, method.__name__, interrupt)
            raise
        if isinstance(shown, View):
            shown.redactor = redactor
        return shown

    return guarded


def _note(run: Run | None, name: str, error: BaseException) -> None:
    """Emit what ended a verb; where the journal itself is what failed, there is nowhere to write it."""
    cause = error.__cause__ if isinstance(error, StepError) and error.__cause__ else error
    if run is not None and not isinstance(cause, RecordError):
        run.emit(Error(name, type(cause).__name__, str(error)))


class Run:
    """One run of the runbook: made by ``start``, walked by the notebook's cells."""

    def __init__(
        self,
        parameters: Parameters,
        inventory: Inventory,
        policies: PolicySet,
        record: Record,
        rehearsal: OpenCluster | None,
        *,
        approval: Approval | None = None,
        looks_only: bool = False,
    ) -> None:
        self.parameters, self.inventory, self.policies = parameters, inventory, policies
        self.record, self.rehearsal, self.looks_only = record, rehearsal, looks_only
        self.redactor = record.redactor
        self.nodes = Nodes(inventory, ask_password, self.redactor)
        self.cluster = Cluster(inventory.kubeconfig, inventory.context, self.redactor)
        self.emit = Listeners(record)
        self.lock = Lock(self.cluster, record.run, self.emit)
        self.rollout = Rollout(self.nodes, self.cluster, self.emit, self.lock, _pace(parameters, inventory))
        self._facts: Facts | None = None
        self._plan: Plan | None = None
        self._done: set[str] = set()  # the steps that were carried out since the last plan
        self._changed: list[Plan] = []  # what was carried out in this run, whatever was planned since
        self.approval = approval
        self._failed = ""  # the step that ended with an error since the last plan
        self._approved = self._finished = self._closed = False

    @verb
    def check(self) -> View:
        """Check logins, root and permissions; nothing is changed.

        Raises:
            KubehardenError: something that this run may need does not work; what to do is said.
        """
        if self.parameters.mode == "apply":
            self.lock.check_free()
            waited = wait_for_open_changes(
                self.nodes, self.parameters.confirm_timeout + OVER_SECONDS, self._say
            )
            self.emit(Waited(waited))
        found = preflight(
            self.parameters, self.inventory, self.policies, self.nodes, self.cluster, self._rights()
        )
        self.emit(Checked.of(found, self.nodes.logins()))
        return views.checks_view(found)

    @verb
    def look(self) -> View:
        """Read every node and the cluster; nothing is changed.

        Raises:
            KubehardenError: a node or the API server cannot be reached.
        """
        self._facts = observe(self.nodes, self.cluster, Reading())
        self.emit(Observed.of(self._facts))
        return views.facts_view(self._facts)

    @verb
    def plan(self) -> View:
        """Decide what to do, from what was seen; nothing is changed.

        Raises:
            ParameterError: a parameter does not fit this cluster.
        """
        plan = self._make_plan()
        if self._plan is not None:
            self.rollout.failures.repair(self._plan.subjects - plan.subjects)
        self._plan = plan
        self._done.clear()
        self._approved = False
        self._failed = ""
        self.emit(Planned.of(self._plan))
        view = views.plan_view(self._plan)
        if self.approval is not None and self._plan.needed:
            view.add(approval_message(self.approval.approver, same=self.approval.plan == self._plan.digest))
        return view

    @verb
    def readiness(self) -> View:
        """What stands between the cluster, as it is, and ``target_release``; nothing is changed.

        Raises:
            ParameterError: the release is older than one that runs.
        """
        target = Release.parse(self.parameters.target_release or str(LAST))
        findings = upgrade_findings(self._seen(), str(target))
        self.emit(Judged(str(target), len(findings)))
        view = views.findings_view(findings, str(target))
        return view.add(*views.releases_view(self._seen(), findings, target).blocks)

    @verb
    def impact(self) -> View:
        """Who breaks under what is planned: what runs today and would not start again; nothing is changed."""
        impacts = self._planned().impacts
        self.emit(JudgedPods([str(j) for impact in impacts for j in impact.breaking]))
        return impact_view(impacts)

    @verb
    def show(self, step: str) -> View:
        """What the plan holds for one step, in full: every setting's verdict, every diff."""
        if step not in self.parameters.steps:
            return View(
                [Message(f"{step} is not among the steps of this run ({', '.join(self.parameters.steps)}).")]
            )
        return views.step_view(self._planned(), step)

    @verb
    def apply(self, step: str) -> View:
        """Carry out one step of the plan; in ``plan`` mode, say that nothing was.

        Raises:
            MigrationRefusedError: the plan cannot be carried out; nothing was changed.
            ApprovalError: it is not the plan that was approved; nothing was changed.
            StepError: a node or an object failed; the later ones are untouched.
            LockedError: another run has the cluster.
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
        if self._failed:
            raise KubehardenError(
                f"{self._failed} ended with an error, and the plan is from before it: look and plan again first"
            )
        part = plan.of(step)
        if part.needed:
            self._hold_against_approval(plan)
            self._take_lock()
        progress = Progress(self.redactor)
        try:
            with self.emit.also(progress):
                for piece in self._pieces(part):
                    self.rollout.apply(piece, self._seen())
        except KubehardenError:
            self._failed = step
            raise
        finally:
            done = {result.subject for result in progress.results if result.outcome == "done"}
            self._changed.append(part.about(done))
        self._done.add(step)
        return applied_view(step, progress.results)

    @verb
    def prove(self) -> View:
        """Look again and compare with what the plan promised; in ``plan`` mode, with what was there.

        Raises:
            ProofError: something is not as promised. What was found is shown first.
        """
        after = observe(self.nodes, self.cluster, Reading())
        proof = compare(self._seen(), after, self._planned(), applied=self.parameters.mode == "apply")
        self.emit(Proved.of(proof, after))
        view = proof_view(proof)
        if proof.problems:
            show(view, self.redactor)
            raise ProofError(
                "not everything is as the plan promised:\n" + "\n".join(f"  {p}" for p in proof.problems)
            )
        return view

    @verb
    def finish(self) -> View:
        """What was changed, per node, with diffs; then close the record and stop the rehearsal."""
        if self.looks_only:
            self.emit(Finished("plan"))
            self._finished = True
            self.close()
            seen = Message("Nothing was changed anywhere: this runbook only looks.", GOOD)
            return View([seen, record_message(self.record.folder)])
        plan = self._planned()
        changed = [part for part in self._changed if part.needed]
        left = [step for step in plan.steps if step not in self._done and plan.of(step).needed]
        failed = tuple(self.rollout.failures.left)
        self.emit(Finished.of(plan, self.parameters.mode, steps_of(changed), left, failed))
        self._finished = True
        self.close()
        view = ending_view(plan, self.parameters.mode, changed, left, failed)
        return view.add(record_message(self.record.folder))

    def close(self) -> None:
        """Close connections, record and rehearsal; more than once does no harm."""
        if self._closed:
            return
        self._closed = True
        self._release_lock()
        self.nodes.close()
        self.cluster.close()
        if self.rehearsal is not None:
            self.rehearsal.stop()
        try:
            if not self._finished:
                self.emit(Abandoned())
        finally:
            self.record.close()

    @property
    def is_over(self) -> bool:
        """Whether ``finish`` or ``close`` has been called."""
        return self._closed

    def _rights(self) -> list[Right]:
        """Return what else this run may have to do."""
        return []

    def _make_plan(self) -> Plan:
        return make_plan(self._seen(), self.parameters, self.policies)

    def _pieces(self, part: Plan) -> Iterable[Plan]:
        """A step, in pieces that are carried out one after the other."""
        return [part]

    def _take_lock(self) -> None:
        if self.lock.held:
            return
        left_over = self.lock.acquire()
        if left_over:
            self._say(f"The cluster was locked by a run that is dead ({left_over}): taken over.")
        drain = self.rollout.drain(Stop())
        uncordoned = uncordon_left_overs(drain)
        if uncordoned:
            self._say(
                f"An earlier run had left these nodes cordoned; they are not any more: {', '.join(uncordoned)}."
            )
        if drain.recordoned:
            self._say(
                "An earlier run had cordoned these nodes, and somebody has cordoned them anew since: they stay so: "
                f"{', '.join(drain.recordoned)}."
            )

    def _release_lock(self) -> None:
        try:
            self.lock.release()
        except ClusterError as error:
            self._say(f"The lock of this run could not be given back, and is void a minute from now: {error}")

    def _hold_against_approval(self, plan: Plan) -> None:
        """Refuse a plan that is not the approved one, and what somebody approved for themselves."""
        if self.approval is None or self._approved:
            return
        check_approved(plan, self.approval, self.record.folder.parent)
        logins = {login["key"] for login in self.nodes.logins().values()}
        check_signer(self.approval, logins)
        self.emit(Approved(self.approval.plan, self.approval.how, self.approval.approver, self.approval.key))
        self._approved = True

    def _say(self, text: str) -> None:
        show(View([Message(text, NOTE)]), self.redactor)

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

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, object]:  # noqa: ARG002 - IPython's signature
        """Beside what is shown: which run this notebook is of, for the seal."""
        return {RUN_TYPE: {"run": self.record.run, "folder": str(self.record.folder.absolute())}}

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
        clusters: list[tuple[str, ...]] = []
        if self.rehearsal is not None:
            clusters = [
                (name, text, "this one" if name == p.rehearsal else "")
                for name, text in source().available().items()
            ]
        view = header_view(rows, clusters, str(self.rehearsal.directory) if self.rehearsal else "")
        view.redactor = self.redactor
        return view


def _pace(parameters: Parameters, inventory: Inventory) -> Pace:
    return Pace(
        batch_size=BatchSize.parse(parameters.batch_size),
        max_failures=parameters.max_failures,
        confirm_timeout=parameters.confirm_timeout,
        drain=parameters.drain,
        drain_timeout=parameters.drain_timeout,
        settle=inventory.settle_seconds,
    )


def ask_password() -> str:
    """The sudo password, asked for where somebody can answer; empty where nobody can."""
    try:
        return getpass.getpass("sudo password on the nodes: ")
    except Exception:  # ipykernel raises its own kind when nobody can answer
        return ""
