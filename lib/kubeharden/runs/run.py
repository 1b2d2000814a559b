"""One run of the runbook: what a notebook's cells call, and the order in which they may."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import MethodType
from typing import Any

from kubeharden.edges.ports import Ports
from kubeharden.errors import ClusterError, KubehardenError, ProofError, StoppedError
from kubeharden.facts import Facts
from kubeharden.inputs.inventory import Inventory
from kubeharden.inputs.parameters import RunParameters
from kubeharden.inputs.sources import OpenCluster
from kubeharden.plan import Plan
from kubeharden.plan.event import Listeners
from kubeharden.plan.events import (
    Abandoned,
    Approved,
    Asked,
    Checked,
    Completed,
    Finished,
    Observed,
    Planned,
    Proved,
)
from kubeharden.plan.open_changes import refusals
from kubeharden.plan.proof import compare
from kubeharden.plan.timeline import Timeline
from kubeharden.records.approval import Approval, check_approved, check_signer
from kubeharden.records.executed_notebook import RUN_TYPE
from kubeharden.records.folder import Record, read_run
from kubeharden.records.reader import one_line
from kubeharden.records.summary import result_of
from kubeharden.rollout.interrupts import Stop
from kubeharden.rollout.leftovers import open_changes, uncordon_leftovers
from kubeharden.rollout.lock import Lock
from kubeharden.rollout.rollout import Rollout
from kubeharden.runs.header import header_of
from kubeharden.runs.kind import AnyKind, check_parameters, check_step, check_window, rollout_data
from kubeharden.runs.plan_state import PlanState
from kubeharden.runs.practice import note_end
from kubeharden.runs.preflight import preflight
from kubeharden.runs.results import CHANGING, Results
from kubeharden.runs.sealing import OpenNotebook
from kubeharden.runs.settle import observe_all, observe_settled, wait_for_other_runs
from kubeharden.runs.verb import verb
from kubeharden.show import views
from kubeharden.show.amounts import Order, amount_words, order_words
from kubeharden.show.display import GOOD, NOTE, Course, Message, View
from kubeharden.show.live import Progress, show
from kubeharden.show.output_guard import tell_terminal
from kubeharden.show.person import Person
from kubeharden.show.run_views import (
    SEALED_LATER,
    applied_view,
    approval_message,
    ending_view,
    proof_view,
    record_message,
    sealed_by_hand,
    sealed_words,
    steps_of,
)

WORD = "apply"  # what a person who is asked types to have a step carried out
ONLY_LOOKED = Message("Nothing was changed anywhere: this runbook only looks.", GOOD)


class Run:
    """One run of the runbook, made by ``runbook.start``: what all kinds of run do.

    The verbs of its kind (``kind.verbs``) are called on it like its own.
    """

    def __init__(
        self,
        kind: AnyKind,
        inventory: Inventory,
        record: Record,
        ports: Ports,
        rehearsal: OpenCluster | None,
        approval: Approval | None,
        parameters_now: Callable[[], RunParameters],
        person: Person,
        left_out: tuple[str, ...] = (),
    ) -> None:
        self.kind, self.parameters = kind, kind.parameters
        self.inventory, self.record, self.rehearsal, self.approval = inventory, record, rehearsal, approval
        self._parameters_now, self.person, self.left_out = parameters_now, person, left_out
        self.redactor = record.redactor
        self.ports, self.nodes, self.cluster = ports, ports.nodes, ports.cluster
        self.emit = Listeners(record)
        self.lock = Lock(ports.cluster, ports.clock, record.run, self.emit)
        self.rollout = Rollout(ports, self.emit, self.lock, kind.pace(inventory))
        self._facts: Facts | None = None
        self._last_plan: PlanState | None = None
        self._since_look: list[str] = []  # the steps that were begun since the last look
        self._results = Results()
        self.notebook = OpenNotebook(record.run, record.folder)
        self._changes: list[Plan] = []  # the parts of plans that were carried out in this run
        self._is_finished = False
        self.is_over = False  # finish or close has been called

    def __getattr__(self, name: str) -> Any:
        kind = self.__dict__.get("kind")
        for function in kind.verbs if kind else ():
            if function.__name__ == name:
                return MethodType(function, self)
        raise AttributeError(f"a run of {kind.name if kind else 'no kind'} has no {name}")

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *(function.__name__ for function in self.kind.verbs)]

    @verb
    def check(self) -> View:
        """Check logins, root and permissions; nothing is changed.

        Raises:
            KubehardenError: something that this run may need does not work; the message says what to do.
        """
        if self.kind.mode == "apply":
            self.lock.check_free()
        checks = preflight(self.kind, self.inventory, self.nodes, self.cluster)
        self.emit(Checked.of(checks, self.nodes.logins()))
        return views.checks_view(checks)

    @verb
    def look(self) -> View:
        """Read every node and the cluster, once the changes that a run left open there are over; nothing is changed.

        Raises:
            KubehardenError: a node or the API server cannot be reached; in ``apply`` mode, a change is not over.
        """
        left = wait_for_other_runs(self)
        facts = observe_all(self)
        open_by_run = {(change.node, change.run): change for change in (*left, *open_changes(self.nodes))}
        self._facts = replace(facts, open_changes=tuple(open_by_run.values()))
        self._since_look.clear()
        self.emit(Observed.of(self._facts))
        return views.facts_view(self._facts)

    @verb
    def plan(self) -> View:
        """Decide what to do, from what was seen; nothing is changed.

        Raises:
            ParameterError: a parameter does not fit this cluster, or was changed since the run began.
            KubehardenError: nothing has been looked at since a step was begun.
        """
        check_parameters(self.parameters, self._parameters_now())
        if self._since_look:
            raise KubehardenError(
                f"what was looked at is from before {', '.join(self._since_look)}: run the cell with run.look() first, "
                "then this one"
            )
        plan = self.kind.make_plan(self.facts, self.nodes.backup)
        # A rehearsal that was started for this run has other ports each time.
        ports = self.rehearsal is None
        rollout = rollout_data(self.rollout.pace, self.inventory, self.facts, ports=ports)
        refused = (*refusals(self.facts), *plan.refused)
        plan = replace(plan, rollout=rollout, refused=refused)
        if self._last_plan is not None:
            self.rollout.failures.repair(self._last_plan.plan.subjects - plan.subjects)
        self._last_plan = PlanState(plan)
        self.emit(Planned.of(plan))
        view = views.plan_view(plan, {step: self._order(plan.of(step)) for step in plan.steps})
        if self.approval is not None and plan.needed:
            view.add(approval_message(self.approval.approver, same=self.approval.plan == plan.digest))
        return view

    @verb
    def show(self, step: str) -> View:
        """Show what the plan holds for one step, in full: every setting's verdict, every diff."""
        check_step(step, self.kind)
        if step not in self.kind.steps:
            among = ", ".join(self.kind.steps)
            return View([Message(f"{step} is not among the steps of this run ({among}).")])
        return views.step_view(self.current_plan, step)

    @verb
    def apply(self, step: str) -> View:
        """Carry out one step of the plan; in ``plan`` mode, say that nothing was.

        Where somebody is there to be asked, they are asked first. A step that was carried out already is not carried
        out again: its results are shown once more.

        Raises:
            ParameterError: there is no such step, or a parameter was changed since the run began.
            StoppedError: the person who was asked did not agree; nothing was changed.
            MigrationRefusedError: the plan cannot be carried out; nothing was changed.
            WindowError: it is not the time in which the change was planned; nothing was changed.
            ApprovalError: it is not the plan that was approved; nothing was changed.
            StepError: a node or an object failed; the later ones are untouched.
            LockedError: another run has the cluster.
        """
        check_step(step, self.kind)
        try:
            why_not = self._may_apply(step)
        except (KubehardenError, KeyboardInterrupt):
            self.show_again("apply", step)
            raise
        if why_not:
            return self._results.view(step).add(Message(why_not))
        state = self._state
        part = state.plan.of(step)
        if part.needed:
            self._take_lock()
            self._since_look.append(step)
        total = len(part.subjects)
        watched, clock = self.person.is_there, self.ports.clock
        progress = Progress(self.redactor, watched=watched, total=total, clock=clock)
        try:
            with self.emit.also(progress):
                for piece in self.kind.pieces(part):
                    self.rollout.apply(piece, self.facts)
        except KubehardenError:
            state.failed_step = step
            raise
        finally:
            progress.end()
            done = {result.subject for result in progress.results if result.outcome == Completed.action}
            self._changes.append(part.about(done))
            state.subjects |= done
            self._results.add(step, progress.results)
        state.done.add(step)
        return applied_view(step, progress.results, [r for r in state.plan.left_out if r.step == step])

    def _may_apply(self, step: str) -> str:
        """Return why a step of the plan is not carried out now; empty where it is."""
        why_not = self._may_not(step)
        if not why_not and self.current_plan.of(step).needed:
            self._ask_for(step)
            self._check_window()  # the answer may have taken its time
        return why_not

    def _may_not(self, step: str) -> str:
        """Return why a step of the plan is not carried out now, before anybody is asked; empty where it may be."""
        check_step(step, self.kind)
        check_parameters(self.parameters, self._parameters_now())
        why_not = self._state.why_not(step, self.kind.mode, self.kind.steps)
        if not why_not and self.current_plan.of(step).needed:
            self._check_window()
            self._check_approval(self._state)
        return why_not

    def _check_window(self) -> None:
        if self.rehearsal is None:  # which may be practised at any time
            check_window(self.parameters, self.ports.clock.now())

    def ask_at_once(self) -> None:
        """Ask the person who is there once for all that is left of the plan, before its first step.

        Raises:
            KubehardenError: as ``apply`` does before it changes anything.
        """
        steps = self._state.steps_left()
        try:
            if len(steps) > 1 and not self._may_not(steps[0]):
                self._ask(", ".join(steps), f"{amount_words(self.current_plan)}; {', then '.join(steps)}")
                self._state.agreed |= set(steps)
        except (KubehardenError, KeyboardInterrupt):
            self.show_again("apply", *steps)
            raise

    def _ask_for(self, step: str) -> None:
        """Ask the person who is there for a step, unless they have agreed to all of them at once."""
        if step in self._state.agreed:
            self._state.agreed.discard(step)
            return
        part = self.current_plan.of(step)
        self._ask(step, f"{amount_words(part)}; {order_words(self._order(part))}")

    def _order(self, part: Plan) -> Order:
        """Return the pieces of a step in the order of apply, each with the batches of its nodes."""
        return [(piece, self.rollout.batches(piece, self.facts)) for piece in self.kind.pieces(part)]

    def _ask(self, steps: str, amount: str) -> None:
        """Ask the person who is there whether steps are to be carried out: StoppedError where they do not agree."""
        if not self.person.is_there:
            return
        question = f"{steps}: {amount}"
        self.say(question)
        try:
            answer = self.person.ask(f"Type {WORD} to carry this out, anything else to leave it: ")
        except KeyboardInterrupt:  # nothing has begun, so that is an answer, too
            answer = ""
        agreed = answer.strip().lower() == WORD
        self.emit(Asked(steps, question, agreed))
        if not agreed:
            raise StoppedError(
                f"{steps} was not carried out, and nothing was changed by it: the answer was not {WORD!r}. Run the "
                "cell again to be asked again"
            )

    def show_again(self, verb: str, *steps: str) -> None:
        """Show the results of this run, or of these steps, again, where a verb that changes is refused."""
        view = self._results.view(*steps)
        if verb in CHANGING and view.blocks:
            show(view, self.redactor)

    @verb
    def prove(self) -> View:
        """Look again and compare with what the plan promised; in ``plan`` mode, with what was there.

        Raises:
            ProofError: something is not as promised. What was found is shown first.
        """
        after = observe_settled(self)
        applied, state = self.kind.mode == "apply", self._state
        proof = compare(self.facts, after, state.plan, applied=applied, carried_out=state.subjects)
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
        """Show what was changed, per node, with diffs; then close the record and stop the rehearsal."""
        event, view = self._ending() if self.kind.plans else (Finished(self.kind.mode), View([ONLY_LOOKED]))
        self.emit(event)
        self._is_finished, self.notebook.last_cell = True, self.person.cell
        if self.rehearsal is not None:
            note_end(self.rehearsal.directory)
        self.close()
        past = read_run(self.record.folder)
        planned = (
            self._last_plan and self.kind.mode == "plan" and f": {views.verdict_words(self.current_plan)}"
        )
        self.tell_end(f"{result_of(past)}{planned or ''}")
        if (course := Timeline.of(past.events)).bars:
            view.add(Course("The course of this run", course))
        return view.add(record_message(self.record.folder, self.notebook.path))

    @verb
    def seal(self) -> View:
        """Seal the record of this run with its notebook; where a person is there, wait for them to save it.

        Raises:
            KubehardenError: the run is not finished, the notebook is not saved in time, or there is no key.
        """
        if not self.person.is_there:
            return View([Message(SEALED_LATER)])
        if self.notebook.path is None:
            return View([Message(sealed_by_hand(self.record.folder))])
        if not self.notebook.is_saved() and self._is_finished:
            self.notebook.check_path()
            self.say("Save this notebook now (Ctrl-S): it is sealed as soon as it is saved.")
        done = self.notebook.seal(self.ports.clock.sleep)
        return View([Message(sealed_words(done.folder, len(done.seal.files), done.seal.key), GOOD)])

    def _ending(self) -> tuple[Finished, View]:
        plan, mode = self.current_plan, self.kind.mode
        changes = [part for part in self._changes if part.needed]
        left = self._state.steps_left()
        failed = tuple(self.rollout.failures.left)
        event = Finished.of(plan, mode, steps_of(changes), left, failed)
        return event, ending_view(plan, mode, changes, left, failed)

    def close(self) -> None:
        """Close connections, record and rehearsal; more than once does no harm."""
        if self.is_over:
            return
        self.is_over = True
        self._release_lock()
        self.ports.close()
        if self.rehearsal is not None:
            self.rehearsal.stop()
        try:
            if not self._is_finished:
                self.emit(Abandoned())
        finally:
            self.record.close()

    def tell_end(self, result: str) -> None:
        """Print how the run ended, its plan and its record, where nobody is there to see it in the notebook."""
        if not self.person.is_there:
            digest = self._last_plan.plan.digest if self._last_plan else "none"
            line = f"kubeharden: {result}; plan {digest}; record {self.record.folder}"
            tell_terminal(one_line(self.redactor.redact(line)))

    def say(self, text: str) -> None:
        """Show a note in the notebook, or print it."""
        show(View([Message(text, NOTE)]), self.redactor)

    @property
    def facts(self) -> Facts:
        """The facts of the last look; a KubehardenError before the first."""
        if self._facts is None:
            raise KubehardenError("nothing has been looked at yet: run the cell with run.look() first")
        return self._facts

    @property
    def current_plan(self) -> Plan:
        """The last plan; a KubehardenError before the first."""
        return self._state.plan

    @property
    def _state(self) -> PlanState:
        if self._last_plan is None:
            raise KubehardenError("there is no plan yet: run the cell with run.plan() first")
        return self._last_plan

    def _take_lock(self) -> None:
        if self.lock.held:
            return
        leftover = self.lock.acquire()
        if leftover:
            self.say(f"The cluster was locked by a run that is dead ({leftover}): taken over.")
        uncordon_leftovers(self.rollout.drain(Stop()), self.say)

    def _release_lock(self) -> None:
        try:
            self.lock.release()
        except ClusterError as error:
            self.say(f"The lock of this run could not be given back, and is void a minute from now: {error}")

    def _check_approval(self, state: PlanState) -> None:
        """Refuse a plan that is not the approved one, and what somebody approved for themselves."""
        if self.approval is None or state.is_approved:
            return
        check_approved(state.plan, self.approval, self.record.folder.parent)
        logins = {login["key"] for login in self.nodes.logins().values()}
        check_signer(self.approval, logins)
        self.emit(Approved(self.approval.plan, self.approval.how, self.approval.approver, self.approval.key))
        state.is_approved = True

    def _repr_html_(self) -> str:
        return header_of(self)._repr_html_()

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, object]:  # noqa: ARG002 - IPython's signature
        """Return which run this notebook is of, beside what is shown, for the seal."""
        return {RUN_TYPE: {"run": self.record.run, "folder": str(self.record.folder.absolute())}}

    def __repr__(self) -> str:
        return str(header_of(self))
