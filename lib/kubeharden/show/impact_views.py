"""Views of the impact: the workloads that a planned policy or level would refuse. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kubeharden.podsecurity.impact import Impact, WorkloadVerdict
from kubeharden.show.amounts import count_words
from kubeharden.show.display import BAD, GOOD, NOTE, Bars, Block, Listing, Message, Table, View

ROWS = 200  # of admitted workloads; every refused one is shown
NAMES = 8  # of the workloads that a policy covers
BARS = 30  # namespaces in a chart
NO_POLICIES = (
    "A policy applies only to the identities that a binding names. Every pod of an identity without a policy is "
    "refused, however harmless it is."
)


def impact_view(impacts: Sequence[Impact]) -> View:
    """Show what the plan would refuse, first the workloads that run today and would not start again."""
    view = View()
    if not impacts:
        return view.add(Message("No pods are judged: this plan has nothing to do with pod security."))
    for impact in impacts:
        view.add(headline(impact))
        if impact.mechanism == "PodSecurityPolicy":
            view.add(_coverage(impact), Message(NO_POLICIES, NOTE))
        view.add(_table(impact), *_filled_in(impact))
        if impact.judged:
            view.add(_chart(impact))
        view.add(*(Listing(title, text) for title, text in impact.proposals))
    return view


def headline(impact: Impact) -> Message:
    """Name the workloads that run today and would not start again."""
    running = [judged for judged in impact.breaking if judged.runs]
    waiting = [judged for judged in impact.breaking if not judged.runs]
    if not impact.breaking:
        return Message(f"Everything that is in use would be admitted again, {impact.when}.", GOOD)
    words = []
    if running:
        pods = count_words(sum(judged.pods for judged in running), "pod")
        words.append(
            f"{count_words(len(running), 'workload')} with {pods} KEEP RUNNING and WILL NOT START AGAIN, "
            f"{impact.when}: {_names(running)}. Admission does not touch pods that run; they are refused when they "
            "are made again, after they end, are evicted or are updated."
        )
    if waiting:
        words.append(
            f"{count_words(len(waiting), 'workload')} without a pod now will not get one: {_names(waiting)}."
        )
    return Message("\n".join(words), BAD)


def _names(judged: Sequence[WorkloadVerdict], most: int = 20) -> str:
    more = f" and {len(judged) - most} more (see the table)" if len(judged) > most else ""
    return ", ".join(map(str, judged[:most])) + more


def _coverage(impact: Impact) -> Table:
    """Show which of the existing workloads each policy admits."""
    covered: dict[str, list[WorkloadVerdict]] = {}
    for judged in impact.judged:
        covered.setdefault(judged.policy or "none", []).append(judged)
    rows = [
        (policy, str(len(judged)), str(sum(j.pods for j in judged)), _names(judged, NAMES))
        for policy, judged in sorted(covered.items(), key=lambda item: (item[0] == "none", item[0]))
    ]
    return Table(f"What the policies cover, {impact.when}", ("Policy", "Workloads", "Pods", "Which"), rows)


def _table(impact: Impact) -> Table:
    order = sorted(
        impact.judged, key=lambda j: (j.admitted, not j.in_use, not j.runs, -j.pods, j.namespace, j.name)
    )
    admitted = [judged for judged in order if judged.admitted]
    listed = [judged for judged in order if not judged.admitted] + admitted[:ROWS]
    rows = [
        (str(j), str(j.pods), j.identity, _fate(j), "\n".join(j.reasons), j.smallest_change) for j in listed
    ]
    if len(admitted) > ROWS:
        rows.append(("…", "", "", f"{len(admitted) - ROWS} more are admitted", "", ""))
    headings = ("Workload", "Pods", "As", "What becomes of it", "Why", "Smallest change that would admit it")
    nobody = "" if impact.breaking else ": nobody"
    refused = any(judged.reasons or judged.smallest_change for judged in listed)
    columns = len(headings) if refused else len(headings) - 2
    return Table(f"Who breaks, {impact.when}{nobody}", headings[:columns], [row[:columns] for row in rows])


def _fate(judged: WorkloadVerdict) -> str:
    if judged.admitted:
        return f"admitted by {judged.policy}"
    if not judged.in_use:
        return "would be refused; not in use"
    return "KEEPS RUNNING, WILL NOT START AGAIN" if judged.runs else "WILL NOT START"


def _filled_in(impact: Impact) -> Iterable[Block]:
    """Show the fields that policies set in pods, and that an image may not be able to run with."""
    groups: dict[tuple[str, tuple[str, ...]], list[WorkloadVerdict]] = {}
    for judged in impact.judged:
        if judged.filled_in:
            groups.setdefault((judged.policy, judged.filled_in), []).append(judged)
    if groups:
        rows = [
            (policy, "\n".join(fields), _names(judged, NAMES)) for (policy, fields), judged in groups.items()
        ]
        title = "Admitted, with something filled in: an image that cannot run with it does not start"
        yield Table(title, ("Policy", "Puts in", "Into"), rows, frozenset({1}))


def _chart(impact: Impact) -> Bars:
    counts: dict[str, list[int]] = {}
    for judged in impact.judged:
        part = 2 if judged.admitted else 0 if judged.in_use else 1
        counts.setdefault(judged.namespace, [0, 0, 0])[part] += 1
    order = sorted(counts, key=lambda name: (-counts[name][0], -counts[name][1], name))
    rows = {name: counts[name] for name in order[:BARS]}
    rest = [counts[name] for name in order[BARS:]]
    if rest:
        rows[f"{len(rest)} more namespaces"] = [sum(sizes) for sizes in zip(*rest, strict=True)]
    title = f"Workloads by namespace, {impact.when}"
    return Bars(title, "Namespace", ("will not start again", "refused, not in use", "admitted"), rows)
