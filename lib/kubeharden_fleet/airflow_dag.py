"""Private. The DAG of a fleet: for each cluster plan, approval, apply, and a second plan that must find nothing to do.

Tasks are mapped over the clusters of a wave. Each reads ``fleet.yaml`` and the records anew: Airflow keeps who approved
which digest and what is to run next, and nothing else counts. So a task that is tried again, or a run that is cleared,
begins with what the clusters and their records say.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn

from airflow.providers.standard.operators.hitl import ApprovalOperator, HITLOperator
from airflow.sdk import DAG, BaseOperator, BaseSensorOperator, Param, task_group
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowRescheduleException,
    AirflowSkipException,
    TaskAwaitingInput,
)

from kubeharden_fleet.fleet import JUDGED, SOAKED, Fleet, Wave, read_fleet
from kubeharden_fleet.judge import (
    APPLIED,
    CHANGED,
    NOT_NOW,
    TO_DO,
    WELL,
    FleetRun,
    State,
    halted_by,
    judge_wave,
    soaked_at,
)
from kubeharden_fleet.records import STAMP, newest_first, signers_of, state, states
from kubeharden_fleet.runs import Runner
from kubeharden_fleet.windows import ISO, next_opening, opening_at

RETRIES, RETRY_DELAY = (
    2,
    timedelta(minutes=1),
)  # the lock of a run that died on another machine is void a minute later
POKE_SECONDS = 60.0
LONGEST_SOAK = timedelta(days=30)
MOST_SHOWN = 50  # changes of a plan in what a person is asked


def build(path: Path) -> DAG:
    """Return the DAG of a fleet.

    Raises:
        ParameterError: the file is wrong; every mistake is named.
    """
    fleet, file = read_fleet(path), str(path.absolute())
    with DAG(
        dag_id=fleet.fleet,
        description=f"kubeharden on {len(fleet.clusters)} clusters in {len(fleet.waves)} waves",
        schedule=None,
        catchup=False,
        max_active_runs=1,
        default_args={"retries": RETRIES, "retry_delay": RETRY_DELAY},
        tags=["kubeharden"],
    ) as dag:
        before: Any = None
        for wave in fleet.waves:
            clusters = _clusters(fleet, file, wave)
            judged = JudgeWave(
                task_id=f"{wave.name}-{JUDGED}", file=file, wave=wave.name, trigger_rule="all_done"
            )
            if before is not None:
                before >> clusters
            clusters >> judged
            before = judged
            if fleet.soak_of(wave.name) and wave is not fleet.waves[-1]:
                before = Soak(task_id=f"{wave.name}-{SOAKED}", file=file, wave=wave.name)
                judged >> before
    return dag


def _clusters(fleet: Fleet, file: str, wave: Wave) -> Any:
    """Return the mapped group of tasks of a wave."""

    @task_group(group_id=wave.name)  # type: ignore[untyped-decorator]
    def clusters(cluster: Any) -> None:
        own = {"file": file, "cluster": cluster, "map_index_template": "{{ task.cluster }}"}
        plan = Plan(task_id="plan", pool=fleet.pool, **own)
        approve = Approve(task_id="approve", **own)
        apply = Apply(task_id="apply", pool=fleet.pool, approval=approve.output, **own)
        check = Check(task_id="check", pool=fleet.pool, **own)
        plan >> approve >> apply >> check

    return clusters.expand(cluster=list(wave.clusters))


class _Work(BaseOperator):  # type: ignore[misc]
    """A task about a cluster of ``fleet.yaml``, which is ``file``."""

    template_fields: tuple[str, ...] = ("cluster",)

    def __init__(self, *, file: str, cluster: str, **options: Any) -> None:
        super().__init__(**options)
        self.file, self.cluster = file, cluster
        self._runner: Runner | None = None

    def on_kill(self) -> None:
        """End the run as it should end: what it has in hand is proved, or put back."""
        if self._runner is not None:
            self._runner.interrupt()

    def _fleet(self) -> Fleet:
        return read_fleet(Path(self.file))

    def _run(self, context: Any, fleet: Fleet, mode: str, **parameters: str) -> State:
        """Run the notebook; return what its record says.

        Raises:
            AirflowException: it came to no record, as when a parameter is wrong.
        """
        ended = self._runner_of(fleet).run(mode, **parameters)
        if ended.folder is None:
            raise AirflowException(f"{self.cluster}: papermill ended with {ended.code}:\n{ended.words}")
        newest = self._newest(context, fleet)
        if newest.run is None or newest.run.name != ended.folder.name:
            raise AirflowException(
                f"{self.cluster}: {ended.folder.name} is not its newest run since {since(context)}: somebody else has "
                "begun one, or the clocks of Airflow's machines differ"
            )
        self.log.info(
            "%s: %s; %s (%s)", self.cluster, newest.word, newest.why or "no more to say", ended.folder
        )
        return newest

    def _plan(self, context: Any) -> State:
        """Run the notebook in mode plan; return what its record says.

        Raises:
            AirflowException: nothing can be planned now, since another run has a change open: the next try may do it.
        """
        newest = self._run(context, self._fleet(), "plan")
        if newest.word == NOT_NOW:
            raise AirflowException(f"{self.cluster}: {newest.why}")
        return newest

    def _runner_of(self, fleet: Fleet) -> Runner:
        self._runner = Runner(fleet, self.cluster, self.log.info)
        return self._runner

    def _newest(self, context: Any, fleet: Fleet) -> State:
        """Return what the records of this run of the DAG say."""
        with signers_of(fleet) as signers:
            return state(fleet, self.cluster, signers, since(context))


class Plan(_Work):
    """Looks at a cluster and plans, changing nothing."""

    def execute(self, context: Any) -> str:
        """Run the notebook in mode plan."""
        newest = self._plan(context)
        if newest.word not in (TO_DO, *WELL):
            raise AirflowFailException(f"{self.cluster}: {newest.word}: {newest.why}")
        return newest.run.digest if newest.run else ""


class _Asks(_Work, ApprovalOperator):  # type: ignore[misc]
    """A task that may ask a person for the approval of one plan, by its digest."""

    template_fields: tuple[str, ...] = ("cluster", "subject", "body")

    def __init__(self, **options: Any) -> None:
        super().__init__(subject="{{ task.cluster }}", **options)

    def _ask(self, context: Any, run: FleetRun, why: str) -> NoReturn:
        """Ask, and give the worker back until somebody has answered.

        The digest goes along with the question twice: with the task, and as what the person is shown and sends back. A
        task that is tried again may keep the question of the try before, which was about another plan.
        """
        self.subject = f"{self.cluster}: approve the plan {run.digest[:12]}"
        self.body = question(self.cluster, run, why)
        self.params["plan"] = Param(run.digest, type="string", title="Digest of the plan that you approve")
        try:
            HITLOperator.execute(self, context)
        except TaskAwaitingInput as waits:
            waits.kwargs = {"plan": run.digest, "about": self.cluster}
            raise
        raise AirflowFailException("this Airflow cannot wait for an answer; expected 3.3 or later")

    def _answer(self, context: Any, event: dict[str, Any], plan: str, about: str) -> dict[str, str]:
        """Return which plan of which cluster was approved, and who approved it when, in words."""
        self._check_cluster(about)
        answer = HITLOperator.execute_complete(self, context, event)
        user = answer["responded_by_user"] or {}
        name = user.get("name") or user.get("id") or "somebody"
        who = f"{name}, {answer['responded_at'].astimezone(UTC).strftime(ISO)}, in Airflow ({context['run_id']})"
        if answer["chosen_options"] != [self.APPROVE]:
            raise AirflowFailException(f"{self.cluster}: the plan {plan} was rejected by {who}")
        if (answered := answer["params_input"].get("plan", "")) != plan:
            raise AirflowFailException(
                f"{self.cluster}: {who} approved the plan {answered or '(none was named)'}, and this is about {plan}: "
                "Airflow keeps the question of an earlier try. Begin a new run of the DAG, which asks anew"
            )
        return {"cluster": self.cluster, "approved_plan": plan, "approved_by": who}

    def _check_cluster(self, about: str) -> None:
        """Refuse an approval for another cluster: where one left the file, its tasks are those of the next one."""
        if about != self.cluster:
            raise AirflowFailException(
                f"{self.cluster}: what was asked and approved here is about {about}: the clusters of {self.file} have "
                "changed since. Begin a new run of the DAG"
            )


class Approve(_Asks):
    """Asks a person to approve the plan of a cluster; skips what comes after it where there is nothing to do."""

    def execute(self, context: Any) -> NoReturn:
        """Ask for the plan of the newest record."""
        newest = self._newest(context, self._fleet())
        if newest.word in WELL:
            raise AirflowSkipException(
                f"{self.cluster}: nothing is to be done{newest.why and f': {newest.why}'}"
            )
        if newest.word != TO_DO or newest.run is None:
            raise AirflowFailException(
                f"{self.cluster}: {newest.word}: {newest.why}; begin a new run of the DAG"
            )
        self._ask(context, newest.run, "")

    def execute_complete(self, context: Any, event: dict[str, Any], plan: str, about: str) -> dict[str, str]:
        """Return the answer."""
        return self._answer(context, event, plan, about)


class Apply(_Asks):
    """Carries out the plan that was approved; asks again where the cluster's plan is another one by now."""

    template_fields = ("cluster", "subject", "body", "approval")

    def __init__(self, *, approval: Mapping[str, str], **options: Any) -> None:
        super().__init__(**options)
        self.approval = approval

    def execute(self, context: Any) -> None:
        """Run the notebook in mode apply."""
        if not self.approval:  # cleared alone, where nothing was to be done
            raise AirflowSkipException(f"{self.cluster}: nothing was approved")
        newest = self._carry_out(context, self.approval)
        if newest.word == CHANGED and newest.run is not None:
            self._ask(
                context,
                newest.run,
                f"The plan {self.approval['approved_plan'][:12]} was approved. {newest.why}.",
            )

    def execute_complete(self, context: Any, event: dict[str, Any], plan: str, about: str) -> None:
        """Carry out what was approved on the second question."""
        newest = self._carry_out(context, self._answer(context, event, plan, about))
        if newest.word == CHANGED:  # one question to a try: the next one asks for the plan of then
            raise AirflowException(f"{self.cluster}: {newest.why}")

    def _carry_out(self, context: Any, approval: Mapping[str, str]) -> State:
        """Apply what was approved, unless that was done by an earlier try.

        Raises:
            AirflowRescheduleException: all windows are closed.
            AirflowException: too many others have failed, or it cannot be changed now: the next try may do it.
            AirflowFailException: it failed.
        """
        self._check_cluster(approval["cluster"])
        fleet, windows = self._fleet(), {}
        parameters = {name: text for name, text in approval.items() if name != "cluster"}
        self._runner_of(fleet).settle()
        before = self._newest(context, fleet)
        if _is_carried_out(before, parameters["approved_plan"]):
            self.log.info("%s: nothing is left of the approved plan: %s", self.cluster, before.word)
            return before
        if times := fleet.times():
            now = datetime.now(UTC)
            opening = opening_at(times, now)
            if opening is None:
                raise AirflowRescheduleException(next_opening(times, now))
            windows = {"window": str(opening)}
        if failed := halted_by(fleet, states(fleet, since(context)), self.cluster):
            raise AirflowException(
                f"{self.cluster}: not begun, since more failed than max_failures ({fleet.max_failures}) allows: "
                f"{', '.join(failed)}"
            )
        newest = self._run(context, fleet, "apply", **windows, **parameters)
        if newest.word == NOT_NOW:
            raise AirflowException(f"{self.cluster}: {newest.why}")
        if newest.word not in (APPLIED, CHANGED):
            raise AirflowFailException(f"{self.cluster}: {newest.word}: {newest.why}")
        return newest


class Check(_Work):
    """Plans once more, which must find nothing to do but what is for the next run by intent."""

    def execute(self, context: Any) -> None:
        """Run the notebook in mode plan."""
        newest = self._plan(context)
        if newest.word not in WELL:
            raise AirflowFailException(
                f"{self.cluster}: {newest.word}: {newest.why}; begin a new run of the DAG"
            )


class JudgeWave(BaseOperator):  # type: ignore[misc]
    """Ends a fleet's run where too many clusters, of a wave and of those before it, are not done by their records."""

    def __init__(self, *, file: str, wave: str, **options: Any) -> None:
        super().__init__(**options)
        self.file, self.wave = file, wave

    def execute(self, context: Any) -> None:
        """Judge."""
        fleet = read_fleet(Path(self.file))
        verdict = judge_wave(fleet, self.wave, states(fleet, since(context)))
        for line in verdict.lines:
            self.log.warning(line)
        if not verdict.good:
            raise AirflowFailException(
                f"no later wave begins: max_failures is {fleet.max_failures}, and these are not done: "
                f"{'; '.join(verdict.lines)}"
            )


class Soak(BaseSensorOperator):  # type: ignore[misc]
    """Waits until a wave has soaked, counted from the end of its last run, and holds no worker meanwhile."""

    def __init__(self, *, file: str, wave: str, **options: Any) -> None:
        waits = {"mode": "reschedule", "poke_interval": POKE_SECONDS, "timeout": LONGEST_SOAK}
        super().__init__(**waits, **options)
        self.file, self.wave = file, wave

    def poke(self, context: Any) -> bool:  # noqa: ARG002 - Airflow's signature
        """Return whether it is over."""
        fleet = read_fleet(Path(self.file))
        clusters = fleet.wave(self.wave).clusters
        with signers_of(fleet) as signers:
            newest = [next(newest_first(fleet, name, signers), None) for name in clusters]
        end = soaked_at(filter(None, newest), fleet.soak_of(self.wave))
        return end is None or datetime.now(UTC) >= end


def _is_carried_out(newest: State, approved: str) -> bool:
    """Return whether an earlier try has carried out a plan; what that leaves to the next run is not asked for here."""
    approval = (newest.run.record.get("approval") or {}) if newest.run else {}
    return newest.word in WELL or (newest.word == APPLIED and approval.get("plan") == approved)


def since(context: Any) -> str:
    """Return the beginning of the name of the oldest run that counts in a run of the DAG: that of its own time."""
    return str(context["dag_run"].run_after.astimezone(UTC).strftime(STAMP)[:-3])


def question(cluster: str, run: FleetRun, why: str) -> str:
    """Return what a person is asked, as Markdown: the plan in short, and where all of it is."""
    left = run.record["not_done"]
    plan = run.record["plan"]
    lines = [
        *([why, ""] if why else []),
        f"Cluster **{cluster}**, plan `{run.digest}`, {len(left)} changes:",
        "",
        *(f"- {row['subject']}" for row in left[:MOST_SHOWN]),
        *([f"- and {len(left) - MOST_SHOWN} more"] if len(left) > MOST_SHOWN else []),
        *(f"- **breaks**: {text}" for text in plan["breaking"]),
        *(f"- remark: {text}" for text in plan["remarks"]),
        "",
        f"All of it, file by file, is in the record `{run.name}`: `kubeharden show`, or its `notebook.html`.",
    ]
    return "\n".join(lines)
