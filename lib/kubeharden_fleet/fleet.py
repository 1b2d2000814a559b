"""Private. ``fleet.yaml``: clusters, their waves and when they may be changed. Strict: an unknown key is an error."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import time
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    model_validator,
)

from kubeharden.errors import ParameterError
from kubeharden.inputs.documents import mistakes, read_document
from kubeharden.inputs.parameters import Parameters, read_parameters
from kubeharden.inputs.project import wrong_path
from kubeharden.inputs.sources import REHEARSAL, split_inventory
from kubeharden_fleet.windows import Weekly

EXAMPLE, INVENTORY = "parameters/fleet.example.yaml", "parameters/inventory.example.yaml"
# The parameters that each run is given by the fleet.
OWN = ("inventory", "mode", "approved_plan", "approved_by", "window", "outside_window", "output_dir")
AFTER_A_WAVE = JUDGED, SOAKED = ("judged", "soaked")  # tasks, behind the name of the wave
MOST_MINUTES = 14 * 24 * 60
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=80)]
# Airflow separates the names of groups and tasks by dots.
WaveName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=80)]
Minutes = Annotated[float, Field(ge=0, le=MOST_MINUTES, strict=False)]


def _path(text: str) -> str:
    if not text or (why := wrong_path(text)):
        raise ValueError(why if text else "is empty; expected a path")
    return text


def _time(text: str) -> str:
    match = re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d(:[0-5]\d)?", text, re.ASCII)
    if not match:  # time.fromisoformat takes more: T22, and 22:00+02:00, which has a zone of its own
        raise ValueError('expected a time of day in quotes, such as "22:00"')
    return text


def _zone(text: str) -> str:
    try:
        ZoneInfo(text)
    except (LookupError, ValueError, OSError):
        raise ValueError("is not a time zone of this machine; expected one such as Europe/Berlin") from None
    return text


PathText = Annotated[str, AfterValidator(_path)]
TimeOfDay = Annotated[str, AfterValidator(_time)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Window(_Strict):
    """A time of the week in which clusters may be changed."""

    days: Annotated[list[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]], Field(min_length=1)]
    opens: TimeOfDay
    closes: TimeOfDay


class Cluster(_Strict):
    """A cluster of the fleet.

    Attributes:
        inventory: its file, relative to ``fleet.yaml``; or ``rehearsal:NAME``.
    """

    name: Name
    inventory: PathText
    parameters: dict[str, Any] = {}


class Wave(_Strict):
    """Clusters that are changed at the same time, as far as the pool allows.

    Attributes:
        soak_minutes: how long nothing is begun after it; None takes that of the fleet.
    """

    name: WaveName
    clusters: Annotated[list[Name], Field(min_length=1)]
    soak_minutes: Minutes | None = None


class Fleet(_Strict):
    """A fleet; paths in it are relative to its file.

    Attributes:
        records: where each cluster has a folder of runs.
        python: of the environment in which kubeharden is installed; empty: the one that this process runs in.
        pool: of Airflow; its slots are how many runs the controllers bear at once.
        signers: the file of allowed signers whose seals count; empty: as ``kubeharden verify`` has it.
        max_failures: how many clusters may be left undone, over the whole fleet, before no other one is begun.
        soak_minutes: how long nothing is begun after a wave.
        timezone: that of the windows.
        windows: when clusters may be changed; none: at any time.
        parameters: of every cluster.
        waves: in their order, the canary first.
    """

    fleet: Name
    notebook: PathText
    records: PathText
    python: str = ""
    pool: str = "default_pool"
    signers: str = ""
    max_failures: Annotated[int, Field(ge=0, le=10_000)] = 0
    soak_minutes: Minutes = 0
    timezone: Annotated[str, AfterValidator(_zone)] = "UTC"
    windows: list[Window] = []
    parameters: dict[str, Any] = {}
    clusters: Annotated[list[Cluster], Field(min_length=1)]
    waves: Annotated[list[Wave], Field(min_length=1)]
    _folder: Path = PrivateAttr(Path())

    @property
    def folder(self) -> Path:
        """The folder of its file, which paths in parameters are relative to."""
        return self._folder

    @model_validator(mode="after")
    def _each_cluster_once(self) -> Fleet:
        names = [cluster.name for cluster in self.clusters]
        placed = [name for wave in self.waves for name in wave.clusters]
        for what, twice in (
            ("clusters", names),
            ("waves", [wave.name for wave in self.waves]),
            ("clusters in waves", placed),
        ):
            if doubles := sorted({name for name in twice if twice.count(name) > 1}):
                raise ValueError(f"{what}: named twice: {', '.join(doubles)}")
        waves = {wave.name for wave in self.waves}
        if clashes := sorted(waves & {f"{wave}-{task}" for wave in waves for task in AFTER_A_WAVE}):
            raise ValueError(
                f"waves: {', '.join(clashes)} is the name of a task after another wave; expected another"
            )
        if unknown := [name for name in placed if name not in names]:
            raise ValueError(f"waves: there is no cluster {', '.join(unknown)} in clusters")
        if left := [name for name in names if name not in placed]:
            raise ValueError(f"waves: {', '.join(left)} is in no wave; put each cluster into one")
        return self

    def cluster(self, name: str) -> Cluster:
        """Return a cluster; a ParameterError where there is none of that name."""
        for cluster in self.clusters:
            if cluster.name == name:
                return cluster
        raise ParameterError(f"fleet: {self.fleet} has no cluster {name!r}")

    def wave(self, name: str) -> Wave:
        """Return a wave; a ParameterError where there is none of that name."""
        for wave in self.waves:
            if wave.name == name:
                return wave
        raise ParameterError(
            f"fleet: {self.fleet} has no wave {name!r}; expected one of {', '.join(w.name for w in self.waves)}"
        )

    def up_to(self, wave: str) -> list[str]:
        """Return the names of the clusters of a wave and of all waves before it."""
        number = self.waves.index(self.wave(wave))
        return [name for each in self.waves[: number + 1] for name in each.clusters]

    def soak_of(self, wave: str) -> float:
        """Return for how many minutes nothing is begun after a wave."""
        own = self.wave(wave).soak_minutes
        return self.soak_minutes if own is None else own

    def runs_of(self, name: str) -> Path:
        """Return the folder of a cluster's runs."""
        return Path(self.records) / name

    def name_in_records(self, name: str) -> str:
        """Return what the inventory of a cluster calls it, as its records do; empty for a rehearsal."""
        inventory = self.cluster(name).inventory
        if split_inventory(inventory)[0] == REHEARSAL:
            return ""
        return str(read_document(Path(inventory), "inventory", INVENTORY).get("cluster", ""))

    def times(self) -> list[Weekly]:
        """Return the windows as times."""
        zone = ZoneInfo(self.timezone)
        return [
            Weekly(tuple(w.days), time.fromisoformat(w.opens), time.fromisoformat(w.closes), zone)
            for w in self.windows
        ]

    def parameters_of(self, name: str) -> dict[str, Any]:
        """Return the parameters that every run of a cluster has."""
        cluster = self.cluster(name)
        return {**self.parameters, **cluster.parameters, "inventory": cluster.inventory}


def read_fleet(path: Path) -> Fleet:
    """Read ``fleet.yaml``; paths in the result are absolute.

    Raises:
        ParameterError: there is no such file, or it is wrong; every mistake is named.
    """
    raw = read_document(path, "fleet", EXAMPLE)
    try:
        fleet = Fleet.model_validate(raw)
    except ValidationError as error:
        raise ParameterError(f"fleet: {path} is wrong:\n{mistakes(error, Fleet)}") from None
    fleet = _with_absolute_paths(fleet, path.resolve().parent)
    wrong = [line for cluster in fleet.clusters for line in _wrong_in(fleet, cluster)]
    if wrong := [*wrong, *_same_clusters(fleet)]:
        raise ParameterError(f"fleet: {path} is wrong:\n" + "\n".join(f"  {line}" for line in wrong))
    return fleet


def _with_absolute_paths(fleet: Fleet, folder: Path) -> Fleet:
    """Return the fleet with absolute paths; the one of a Python keeps its links, since they lead to its packages."""

    def absolute(text: str) -> str:
        return str(folder / Path(text).expanduser()) if text else ""

    names = ("notebook", "records", "python", "signers")
    result = fleet.model_copy(
        update={
            **{name: absolute(getattr(fleet, name)) for name in names},
            "clusters": [
                cluster
                if split_inventory(cluster.inventory)[0] == REHEARSAL
                else cluster.model_copy(update={"inventory": absolute(cluster.inventory)})
                for cluster in fleet.clusters
            ],
        }
    )
    result._folder = folder
    for what in ("notebook", "python", "signers"):
        text = getattr(result, what)
        if text and not Path(text).is_file():
            raise ParameterError(f"fleet: {what} names {text}, but there is no such file")
    if result.python and not Path(result.python).stat().st_mode & 0o111:
        raise ParameterError(f"fleet: python names {result.python}, which cannot be executed")
    if Path(result.records).exists() and not Path(result.records).is_dir():
        raise ParameterError(f"fleet: records names {result.records}, which is not a folder")
    return result


def _wrong_in(fleet: Fleet, cluster: Cluster) -> list[str]:
    """Return what is wrong with the inventory and the parameters of a cluster, one sentence each."""
    where, values = f"clusters.{cluster.name}", {**fleet.parameters, **cluster.parameters}
    wrong = [
        f"{where}: {name} is given to each run by the fleet: leave it out" for name in values if name in OWN
    ]
    wrong += [
        f"{where}: {name}: there is no such parameter of harden.ipynb"
        for name in values
        if name not in Parameters.model_fields
    ]
    if split_inventory(cluster.inventory)[0] == REHEARSAL:
        if not values.get("rehearsal_dir"):
            wrong.append(
                f"{where}: has no rehearsal_dir; without one, each run would start a fresh rehearsal cluster"
            )
    elif not Path(cluster.inventory).is_file():
        wrong.append(f"{where}: inventory names {cluster.inventory}, but there is no such file")
    return wrong or _refused_values(where, values)


def _refused_values(where: str, values: Mapping[str, Any]) -> list[str]:
    try:
        read_parameters(Parameters, values)
    except ParameterError as error:
        return [f"{where}: {line.strip()}" for line in str(error).splitlines()[1:]]
    return []


def _same_clusters(fleet: Fleet) -> list[str]:
    """Return a sentence for clusters that are one and the same, whichever way their places are written."""
    places: dict[Path, list[str]] = {}
    for cluster in fleet.clusters:
        is_rehearsal = split_inventory(cluster.inventory)[0] == REHEARSAL
        values = fleet.parameters_of(cluster.name)
        if place := str(values.get("rehearsal_dir") or "") if is_rehearsal else cluster.inventory:
            places.setdefault((fleet.folder / Path(place).expanduser()).resolve(), []).append(cluster.name)
    return [
        f"clusters: {', '.join(names)} are one cluster: they have the same inventory or rehearsal_dir"
        for names in places.values()
        if len(names) > 1
    ]
