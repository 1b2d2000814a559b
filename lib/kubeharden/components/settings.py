"""The settings of a component and what became of each: the result of ``migration.migrate``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from kubeharden.releases import Release


@dataclass(frozen=True)
class Setting:
    """One setting and what became of it.

    Attributes:
        flag: the flag it came from; empty for a value that the profile adds.
        field: the path in the config file; empty for a flag without one.
        value: its value afterwards.
        why: the reason, in a sentence.
        old: its value before, for a hardened setting.
    """

    flag: str
    field: str
    value: Any
    why: str = ""
    old: Any = None


@dataclass
class Migration:
    """The result of ``migrate``.

    Attributes:
        config: the config file's content.
        yaml: the config file's text: with the profile's commented defaults, or as people wrote it where they have
            comments in it; JSON where it was JSON.
        lost: the lines of the present text, from 1 on, whose comments are not in ``yaml`` any more.
        argv: what remains of the command line, program first, ``--config`` included.
        before: what the component runs with now, as ``/configz`` shows it.
        after: what it will run with.
        defaults: fields that are written although they have the value that holds anyway.
    """

    component: str
    release: Release
    config: dict[str, Any] = field(default_factory=dict)
    yaml: str = ""
    lost: tuple[int, ...] = ()
    argv: list[str] = field(default_factory=list)
    moved: list[Setting] = field(default_factory=list)
    kept: list[Setting] = field(default_factory=list)
    dropped: list[Setting] = field(default_factory=list)
    hardened: list[Setting] = field(default_factory=list)
    refused: list[Setting] = field(default_factory=list)
    defaults: list[Setting] = field(default_factory=list)
    before: dict[str, Any] = field(default_factory=dict)
    after: dict[str, Any] = field(default_factory=dict)
