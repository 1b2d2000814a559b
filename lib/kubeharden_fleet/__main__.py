"""Private. ``python -m kubeharden_fleet page|judge|check fleet.yaml``.

Exit codes: 0 all is well, 1 something is wrong, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from kubeharden.errors import KubehardenError, ParameterError
from kubeharden_fleet.fleet import Fleet, read_fleet
from kubeharden_fleet.judge import judge_wave, last_change
from kubeharden_fleet.page import render
from kubeharden_fleet.records import newest_first, signers_of, states

WELL, WRONG, USAGE = 0, 1, 2


def main(words: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    options = _parser().parse_args(words)
    command: Callable[[Fleet, argparse.Namespace], int] = options.command
    try:
        return command(read_fleet(options.fleet), options)
    except KubehardenError as error:
        sys.stderr.write(f"kubeharden_fleet: {error}\n")
        return USAGE if isinstance(error, ParameterError) else WRONG
    except OSError as error:
        sys.stderr.write(f"kubeharden_fleet: {error}\n")
        return WRONG


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m kubeharden_fleet", description="A fleet, by its records."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, command, text in (
        ("check", _check, "read fleet.yaml and say what it is"),
        ("page", _page, "write the fleet's page"),
        ("judge", _judge, "say whether the wave after this one may begin: exit code 0, or 1"),
    ):
        sub = commands.add_parser(name, help=text)
        sub.add_argument("fleet", type=Path, help="fleet.yaml")
        sub.set_defaults(command=command)
        if name == "page":
            sub.add_argument("-o", "--output", type=Path, help="the file; else fleet.html beside the records")
        if name == "judge":
            sub.add_argument("wave")
            sub.add_argument(
                "--since", default="", metavar="TIME", help="only runs from then on count: 20261129T1400"
            )
    return parser


def _check(fleet: Fleet, _: argparse.Namespace) -> int:
    lines = [
        f"wave {number}, {wave.name}: {', '.join(wave.clusters)}; then {fleet.soak_of(wave.name):g} minutes"
        for number, wave in enumerate(fleet.waves, 1)
    ]
    sys.stdout.write("\n".join([f"{fleet.fleet}: {len(fleet.clusters)} clusters", *lines]) + "\n")
    return WELL


def _page(fleet: Fleet, options: argparse.Namespace) -> int:
    output: Path = options.output or Path(fleet.records) / "fleet.html"
    output.parent.mkdir(parents=True, exist_ok=True)
    with signers_of(fleet) as signers:
        runs = {c.name: last_change(newest_first(fleet, c.name, signers)) for c in fleet.clusters}
    when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    output.write_text(render(fleet, runs, output.resolve().parent, when), encoding="utf-8")
    sys.stdout.write(f"{output}\n")
    return WELL


def _judge(fleet: Fleet, options: argparse.Namespace) -> int:
    verdict = judge_wave(fleet, options.wave, states(fleet, options.since))
    sys.stdout.write("".join(f"{line}\n" for line in verdict.lines))
    sys.stdout.write(
        "the next wave may begin\n"
        if verdict.good
        else f"the next wave may not begin: max_failures is {fleet.max_failures}\n"
    )
    return WELL if verdict.good else WRONG


if __name__ == "__main__":
    sys.exit(main())
