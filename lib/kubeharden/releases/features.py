"""Features that some releases of Kubernetes have and others do not: see ``features.yaml``.

feature("PodSecurityPolicy").in_release(release)
feature("PodSecurityPolicy").until               # Release(1, 25): the first without it
feature("Pod Security Admission").since          # Release(1, 23): the first with it
"""

from __future__ import annotations

from functools import cache

from pydantic import Field

from kubeharden.releases.files import Row, read
from kubeharden.releases.release import FIRST, LAST, Release, ReleaseName, releases

NOT_YET = Release(LAST.major, LAST.minor + 1)


class Feature(Row):
    """Something that some releases have.

    Where it is older than the tables, ``since`` is their first release; where the newest has it, ``until`` is
    ``NOT_YET``.
    """

    name: str
    source: str
    since: ReleaseName = FIRST
    until: ReleaseName = NOT_YET
    partly: ReleaseName | None = None
    alpha: ReleaseName = Field(default_factory=lambda given: given["since"])
    note: str = ""

    @property
    def last(self) -> Release:
        """The last release that has it."""
        return self.until.previous

    def in_release(self, release: Release) -> bool:
        """Return whether a release has it by default; one that is newer than the tables is taken for the newest."""
        return self.since <= release and (release < self.until or self.until == NOT_YET)


def feature(name: str) -> Feature:
    """Return a row of the table; a KeyError where there is none of that name."""
    return _table()[name]


def features_of(prefix: str) -> dict[str, Feature]:
    """Return the rows whose names begin with a prefix, by the rest of their names, in the table's order."""
    return {name.removeprefix(prefix): row for name, row in _table().items() if name.startswith(prefix)}


def releases_with(*names: str) -> list[Release]:
    """Return the releases that have all of these features, the oldest first."""
    return [release for release in releases() if all(feature(name).in_release(release) for name in names)]


@cache
def _table() -> dict[str, Feature]:
    return {name: Feature(name=name, **row) for name, row in read("features").items()}
