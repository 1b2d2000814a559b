"""The reader and writer of units against systemd itself, where it is installed: it reads random ones, and says what."""

from __future__ import annotations

import os
import random

import pytest

import sampling
import systemd_oracle
from kubeharden.components.commands import MARK, expand, specifiers_of
from kubeharden.components.units import Service, Unit
from kubeharden.errors import UnitError
from written_units import with_command

PIECES = (
    *(
        "a",
        "--b=c",
        "x",
        "node",
        "=",
        ",",
        "-",
        " ",
        "  ",
        "\t",
        '"',
        "'",
        "\\",
        "\\\\",
        "%",
        "%%",
        "%H",
        "%n",
        "%,",
    ),
    *("$A", "${A}", "$$", "$", ";x", "\\;", "#", "\\x41", "\\x2d", "\\055", "\\u002d", "\\U0000002d", "\\s"),
    *(
        "\\t",
        "\\n",
        "\\q",
        "\\d",
        "\\'",
        '\\"',
        "ä",
        "€",
        "\\xc3\\xa4",
        "\\\n",
        "\\\n  ",
        "\\\n# c\n",
        '""',
        "''",
    ),
)
BEGINNINGS = (
    "",
    "-",
    "@",
    ":",
    "+",
    "!",
    '"',
    "'",
    " ",
    "\\",
    "\\x2f",
    "/",
    "/",
    "/bin/",
    "echo",
    ".",
    "a",
    "a",
    '""',
)
WORDS = (
    "a",
    "b c",
    "",
    "%",
    "%H",
    "$A",
    "${A}",
    "$$",
    "'",
    '"',
    "\\",
    "\\x41",
    "#",
    ";",
    "\n",
    "\t",
    "ä",
    "\x01",
    "=",
)
COUNT = 3000
pytestmark = pytest.mark.skipif(bool(systemd_oracle.why_not()), reason=systemd_oracle.why_not() or "it works")


def read(lines: str) -> list[str] | None:
    """The words of a command, with marks for specifiers and with variables as they stand; None where it is refused."""
    service = Service((("/u", Unit.parse(f"[Service]\n{lines}\n")),), {})
    try:
        return list(service.command().words)
    except UnitError:
        return None


def chance() -> random.Random:
    return random.Random(int(os.environ[sampling.SEED]))


def test_what_is_random_is_read_as_systemd_reads_it() -> None:
    source = chance()
    lines = [
        # After a colon, variables stay as they are.
        "ExecStart=:/bin/echo " + "".join(source.choices(PIECES, k=source.randrange(1, 12)))
        for _ in range(sampling.examples(COUNT))
    ]
    for line, wanted in zip(lines, systemd_oracle.commands_of(lines), strict=True):
        mine = read(line)
        if wanted is None and mine is not None and any(MARK in word for word in mine):
            continue  # one that this systemd does not have
        if wanted is None or mine is None:
            assert mine == wanted, line
        else:
            assert specifiers_of(mine, wanted) is not None, (line, mine, wanted)


def test_the_path_of_a_program_is_taken_as_systemd_takes_it() -> None:
    source = chance()
    lines = [
        "ExecStart=:"
        + "".join(source.choices(BEGINNINGS, k=source.randrange(1, 6)))
        + source.choice(("", " b"))
        for _ in range(sampling.examples(COUNT))
    ]
    for line, wanted in zip(lines, systemd_oracle.commands_of(lines), strict=True):
        assert read(line) == wanted, line


def test_what_is_written_is_read_by_systemd() -> None:
    source = chance()
    commands = [
        [
            "/bin/echo",
            *("".join(source.choices(WORDS, k=source.randrange(4))) for _ in range(source.randrange(1, 5))),
        ]
        for _ in range(sampling.examples(COUNT))
    ]
    unit = Unit.parse("[Service]\nExecStart=/old\n")
    texts = [with_command(unit, command).text.partition("\n")[2] for command in commands]
    for command, text, seen in zip(commands, texts, systemd_oracle.commands_of(texts), strict=True):
        assert seen is not None, text
        assert list(expand(seen, {})) == command, text
