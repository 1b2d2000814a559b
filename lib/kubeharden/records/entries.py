"""The entries of ``files.json`` and ``objects.json``: what a run keeps of what it changed, and what they may say."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kubeharden.plan import subject_of
from kubeharden.plan.forms import fits
from kubeharden.records.reader import one_line

FILES, OBJECTS = "files.json", "objects.json"
ACTIONS = ("create", "update", "delete")
ABSENT = "absent"  # instead of a digest: there is no such file
_DIGEST = re.compile(r"[0-9a-f]{64}|absent")
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")  # of a node, a service, a step
_MODE, _OWNER = re.compile(r"[0-7]{1,4}"), re.compile(r"[^\s:-][^\s:]*")


@dataclass(frozen=True)
class FileEntry:
    """A file on a node that a run meant to change."""

    node: str
    service: str
    step: str
    path: str
    mode: str  # octal text such as ``644``, as it was to be; with ``owner`` and ``group``
    owner: str
    group: str
    before: str  # SHA-256 of the content that it had, or ``absent``
    after: str  # SHA-256 of the content that it was to have
    redacted: bool  # a secret was taken out of what is kept of it, before or after
    # What it was before, like ``before_owner`` and ``before_group``; empty where there was no file.
    before_mode: str = ""
    before_owner: str = ""
    before_group: str = ""

    @property
    def subject(self) -> str:
        """The name of the change in events and plans."""
        return subject_of(self.service, self.node)

    def mistake(self) -> str:
        """Return what is wrong with it as read from a record; empty where nothing is."""
        earlier = (self.before_mode, self.before_owner, self.before_group)
        modes, owners = [self.mode], [self.owner, self.group]
        if any(earlier):
            modes.append(self.before_mode)
            owners += [self.before_owner, self.before_group]
        if not all(map(_NAME.fullmatch, (self.node, self.service, self.step))):
            return (
                f"names {one_line(self.service)} on {one_line(self.node)} in the step {one_line(self.step)}"
            )
        parts = self.path.split("/")
        if parts[0] or {"", ".", ".."} & set(parts[1:]) or not self.path.isprintable():
            return f"names the path {one_line(self.path)}"
        if not all(map(_DIGEST.fullmatch, (self.before, self.after))):
            return f"has no digests of {self.path}"
        sound = all(map(_MODE.fullmatch, modes)) and all(map(_OWNER.fullmatch, owners))
        return (
            "" if sound else f"has the mode or owner {one_line(' '.join((*modes, *owners)))} of {self.path}"
        )


@dataclass(frozen=True)
class ObjectEntry:
    """An API object that a run meant to change: ``action`` is ``create``, ``update`` or ``delete``.

    ``before`` and ``after`` are the SHA-256 of the object as JSON with sorted keys; ``absent`` for none.
    """

    number: int
    step: str
    action: str
    name: str
    before: str
    after: str
    redacted: bool

    @property
    def subject(self) -> str:
        """The name of the change in events and plans."""
        return self.name

    def mistake(self) -> str:
        """Return what is wrong with it as read from a record; empty where nothing is."""
        kind, _, name = self.name.partition(" ")
        if self.number < 1 or not _NAME.fullmatch(self.step) or self.action not in ACTIONS:
            return f"has object {self.number} in the step {one_line(self.step)}, to {one_line(self.action)}"
        if not (kind.isalpha() and name and self.name.isprintable()):
            return f"names the object {one_line(self.name)}"
        return (
            "" if all(map(_DIGEST.fullmatch, (self.before, self.after))) else f"has no digests of {self.name}"
        )


Entry = FileEntry | ObjectEntry


def entry_mistake(entry: Entry) -> str:
    """Return what is wrong with an entry as read from a record; empty where nothing is."""
    return (
        entry.mistake() if fits(type(entry), vars(entry)) else "has a value of another type than it can have"
    )


def name_of(item: Any) -> str:
    """Return what an API object is called in a plan and in a record: ``Role weave/psp``; empty for anything else."""
    meta = item.get("metadata") if isinstance(item, Mapping) else None
    if not isinstance(meta, Mapping):
        return ""
    namespace = f"{meta['namespace']}/" if "namespace" in meta else ""
    return f"{item.get('kind')} {namespace}{meta.get('name')}"
