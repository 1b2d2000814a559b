"""Views of Pod Security Admission: the level of each namespace, why, and its stage. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kubeharden.podsecurity.levels import MODES, NamespaceLevel, label_text
from kubeharden.show.display import BAD, NOTE, Block, Message, Table

HEADINGS = ("Namespace", "Level", "Why", "Now", "After this run", "Stage")


def namespaces_view(levels: Sequence[NamespaceLevel]) -> list[Block]:
    """Show the namespaces, first those with pods that their level would refuse."""
    if not levels:
        return []
    waiting = [level for level in levels if level.offenders]
    pending = [level.namespace for level in levels if level.pending and not level.offenders]
    blocks: list[Block] = [
        Message(f"Namespace {level.namespace}: {'; '.join(level.remarks)}", BAD) for level in waiting
    ]
    if pending:
        blocks.append(
            Message(
                f"Announced by this run and not enforced yet: {', '.join(pending)}. Clients are warned and the audit "
                "log notes what would be refused; the next run enforces it, unless something violates it by then. "
                "The parameter enforce, set to True, does it now.",
                NOTE,
            )
        )
    rows = [
        (level.namespace, level.level, level.why, _modes(level.now), _modes(level.then), level.stage)
        for level in sorted(levels, key=lambda level: (not level.offenders, level.namespace))
    ]
    return [*blocks, Table("Levels of Pod Security Admission", HEADINGS, rows, frozenset({3, 4}))]


def _modes(labels: Mapping[str, str]) -> str:
    """Return the labels as text: ``baseline:v1.25`` where all modes have the same level."""
    levels = {mode: text for mode in MODES if (text := label_text(labels, mode))}
    if len(levels) == len(MODES) and len(set(levels.values())) == 1:
        return levels[MODES[0]]
    return "\n".join(f"{mode} {text}" for mode, text in levels.items()) or "none"
