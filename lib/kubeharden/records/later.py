"""The runs after one: which of them left what is there now, where an earlier one is to be put back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from kubeharden.errors import RecordError
from kubeharden.plan import state_digest
from kubeharden.plan.events import Completed, RunStarted
from kubeharden.records.archive import runs_in
from kubeharden.records.entries import ABSENT
from kubeharden.records.folder import PastRun, read_run
from kubeharden.records.reader import name_list


def runs_after(past: PastRun) -> list[PastRun]:
    """Return the runs on the same cluster that lie beside a run and came after it, the newest first.

    What they say serves for words only: nobody need vouch for them, and one that cannot be read is left out.
    """
    runs = []
    for folder in reversed(runs_in(past.folder.parent)):
        if folder.name > past.run:
            with suppress(RecordError):
                runs.append(read_run(folder))
    return [run for run in runs if is_same_cluster(run, past)]


def words_of_file(later: Sequence[PastRun], node: str, path: str, digest: str) -> str:
    """Return which runs changed a file of a node since, if one of them left it as it is now; empty if none did.

    Args:
        later: the runs after, the newest first.
        digest: SHA-256 of its content now, or ``absent``.
    """

    def digests_of(run: PastRun) -> set[str]:
        return {entry.after for entry in run.files if (entry.node, entry.path) == (node, path)}

    return _sentence(later, digests_of, digest)


def words_of_object(later: Sequence[PastRun], name: str, now: Mapping[str, Any] | None) -> str:
    """Return which runs changed an object since, if one of them left it as it is now; empty if none did.

    Args:
        later: the runs after, the newest first.
        name: the object, such as ``Namespace shop``.
        now: what it is now; None if there is none.
    """

    def digests_of(run: PastRun) -> set[str]:
        return {event.state for event in run.of(Completed) if event.subject == name and event.state}

    return _sentence(later, digests_of, ABSENT if now is None else state_digest(now))


def _sentence(later: Sequence[PastRun], digests_of: Callable[[PastRun], set[str]], digest: str) -> str:
    left = {run.run: digests for run in later if (digests := digests_of(run))}
    for place, digests in enumerate(left.values()):
        if digest in digests:
            since = list(left)[place:]
            if len(since) == 1:
                return f"was changed since by run {name_list(since)}; roll that back first"
            return f"was changed since by the runs {name_list(since)}; roll those back first, in this order"
    return ""


def is_same_cluster(one: PastRun, other: PastRun) -> bool:
    """Return whether two runs are on one cluster, as far as they know: an earlier version did not keep the UID."""
    (name, uid), (other_name, other_uid) = map(_cluster, (one, other))
    return name == other_name and (uid == other_uid or not uid or not other_uid)


def _cluster(run: PastRun) -> tuple[str, Any]:
    cluster = (run.plan or {}).get("cluster")
    uid = cluster.get("uid") if isinstance(cluster, Mapping) else None
    return (run.last(RunStarted) or RunStarted()).cluster, uid
