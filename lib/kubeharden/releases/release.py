"""A minor release of Kubernetes, as something that can be compared."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import total_ordering
from typing import Annotated

from pydantic import BeforeValidator

from kubeharden.errors import UnknownReleaseError
from kubeharden.releases.files import read


@total_ordering
@dataclass(frozen=True)
class Release:
    """A minor release, such as 1.20; patch levels make no difference to what is accepted."""

    major: int
    minor: int

    @classmethod
    def parse(cls, text: str | Release) -> Release:
        """Read ``1.20``, ``v1.20.2`` or ``Kubernetes v1.20.2-gke.1``.

        Raises:
            UnknownReleaseError: the text names no release, or one that is older than the tables.
        """
        if isinstance(text, Release):
            return text
        release = cls._read(text) if isinstance(text, str) else None
        if release is None:
            raise UnknownReleaseError(
                f"{str(text)[:80]!r} names no Kubernetes release; expected one like 1.20 or v1.20.2"
            )
        if release < FIRST:
            raise UnknownReleaseError(
                f"no table covers Kubernetes {release}; there are tables for {FIRST} to {LAST}"
            )
        return release

    @classmethod
    def newer(cls, text: str) -> Release | None:
        """Return the release that a version names where it is newer than the tables; None for every other text."""
        release = cls._read(text)
        return release if release is not None and release.is_newer_than_tables else None

    @classmethod
    def _read(cls, text: str) -> Release | None:
        match = re.search(r"(?<![\d.])v?([0-9]{1,4})\.([0-9]{1,4})(?![0-9])", text)
        return cls(int(match[1]), int(match[2])) if match else None

    @property
    def is_newer_than_tables(self) -> bool:
        """A release that no table covers yet: the tables answer for it as for the newest that they know."""
        return self > LAST

    @property
    def reservation(self) -> str:
        """The sentence that goes with every verdict on a release that is newer than the tables; empty otherwise."""
        if not self.is_newer_than_tables:
            return ""
        return f"{self} is newer than the tables: judged as {LAST}, the newest that they know"

    def older_than(self, text: str) -> bool:
        """Return whether this release is older than the one named, which no table need cover."""
        other = self._read(text)
        return other is not None and self < other

    @property
    def previous(self) -> Release:
        """The release before this one."""
        return Release(self.major, self.minor - 1)

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"

    def __lt__(self, other: Release) -> bool:
        return (self.major, self.minor) < (other.major, other.minor)


# A field of a table that names a release.
ReleaseName = Annotated[Release, BeforeValidator(Release.parse)]

FIRST, *_, LAST = (Release(*map(int, name.split("."))) for name in read("releases"))


def releases(first: Release = FIRST, last: Release = LAST) -> list[Release]:
    """Return the releases from one to another, both included; all that the tables cover by default."""
    return [Release(first.major, minor) for minor in range(first.minor, last.minor + 1)]
