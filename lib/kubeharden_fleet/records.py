"""Private. The runs of a fleet's clusters, as their folders hold them. Reading only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from kubeharden.errors import RecordError
from kubeharden.records.archive import is_sealed, runs_in
from kubeharden.records.folder import is_open
from kubeharden.records.reader import one_line
from kubeharden.records.register import record_of
from kubeharden.records.signature import Signers, chosen_signers
from kubeharden.records.verify import verify
from kubeharden_fleet.fleet import Fleet
from kubeharden_fleet.judge import FleetRun, State, state_of

STAMP = "%Y%m%dT%H%M%S.%f"  # the name of a run begins with it, in UTC, to the millisecond


def signers_of(fleet: Fleet) -> AbstractContextManager[Signers]:
    """Open the signers whose seals count for a fleet.

    Raises:
        ParameterError: there is no such file, or none was named and this user has no key.
    """
    return chosen_signers(fleet.signers)


def runs_of(fleet: Fleet, cluster: str, since: str = "") -> list[Path]:
    """Return the folders of a cluster's runs that began at ``since`` or later, oldest first."""
    folder = fleet.runs_of(cluster)
    return [run for run in runs_in(folder) if run.name >= since] if folder.is_dir() else []


def read(folder: Path, signers: Signers, called: str = "") -> FleetRun:
    """Return a run, its seal verified.

    Args:
        called: what the cluster's inventory calls it: a sealed record of another cluster says nothing of this one.
            Empty: any cluster's.
    """
    sealed, running = is_sealed(folder), is_open(folder)
    try:
        record = record_of(folder)
    except RecordError as error:
        return FleetRun(folder.name, {}, sealed, running, (str(error),) if sealed else ())
    wrong = verify(folder, signers).wrong if sealed else ()
    if called and record["cluster"] != called:
        wrong = (
            *wrong,
            f"it is a record of the cluster {one_line(record['cluster'])}, and this one is {called}",
        )
    return FleetRun(folder.name, record, sealed, running, wrong)


def newest_first(fleet: Fleet, cluster: str, signers: Signers, since: str = "") -> Iterator[FleetRun]:
    """Yield the runs of a cluster, the newest first, each read when it is asked for."""
    folders = runs_of(fleet, cluster, since)
    called = fleet.name_in_records(cluster) if folders else ""
    for folder in reversed(folders):
        yield read(folder, signers, called)


def states(fleet: Fleet, since: str = "") -> dict[str, State]:
    """Return the state of each cluster, by the newest of its runs since a time: the beginning of the name of a run."""
    with signers_of(fleet) as signers:
        return {cluster.name: state(fleet, cluster.name, signers, since) for cluster in fleet.clusters}


def state(fleet: Fleet, cluster: str, signers: Signers, since: str = "") -> State:
    """Return the state of a cluster, by its runs since a time; see ``states``."""
    runs = newest_first(fleet, cluster, signers, since)
    return state_of(next(runs, None), runs)
