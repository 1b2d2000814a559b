"""``python -m kubeharden_rehearsal serve --scenario article-1.10 --directory DIR``."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
from pathlib import Path

from kubeharden.errors import KubehardenError
from kubeharden_rehearsal import RESET, orphans
from kubeharden_rehearsal.directory import Directory
from kubeharden_rehearsal.scenario import Scenario, load_scenario


def main() -> int:
    """Run a rehearsal cluster until it is told to stop."""
    parser = argparse.ArgumentParser(prog="python -m kubeharden_rehearsal")
    serve = parser.add_subparsers(dest="command", required=True).add_parser("serve")
    serve.add_argument("--scenario", required=True, help="a name, or the path of a folder")
    serve.add_argument("--directory", required=True, type=Path, help="where it lives")
    serve.add_argument("--stop-with-stdin", action="store_true", help="end when stdin is closed")
    arguments = parser.parse_args()
    try:
        scenario = load_scenario(arguments.scenario)
        directory = Directory.take(arguments.directory, scenario)
        orphans.adopt()
        asyncio.run(_serve(scenario, directory, arguments.stop_with_stdin))
    except (KubehardenError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


async def _serve(scenario: Scenario, directory: Directory, with_stdin: bool) -> None:
    # Only now, so that a refusal does not wait for the SSH and HTTP servers to be imported.
    from kubeharden_rehearsal.rehearsal_server import RehearsalServer  # noqa: PLC0415

    orders: asyncio.Queue[str] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, orders.put_nowait, "")
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        # Under nohup. What is ignored stays so in children, and no shell can trap it; a handler does not. So the nodes'
        # sessions can be hung up on, as sshd's can, and this process still cannot.
        signal.signal(signal.SIGHUP, lambda *_: None)
    if with_stdin:
        loop.add_reader(0, lambda: orders.put_nowait(_read_order()))
    order = RESET
    while order == RESET:
        server = RehearsalServer(scenario, directory)
        try:
            inventory = await server.start()
            sys.stdout.write(_ready(scenario, directory, inventory, with_stdin))
            sys.stdout.flush()
            order = await orders.get()
        finally:
            await server.stop()
        if order == RESET:
            directory.clear(scenario)
    loop.remove_reader(0)


def _read_order() -> str:
    """Return what standard input says: RESET, or nothing more."""
    return RESET if os.read(0, 4096) else ""


def _ready(scenario: Scenario, directory: Directory, inventory: Path, for_program: bool) -> str:
    nodes = [spec.name for spec in scenario.nodes]
    if not for_program:
        return f"{scenario.name} is up with {', '.join(nodes)}; Ctrl-C stops it.\ninventory: {inventory}\n"
    places = {"directory": str(directory.path), "inventory": str(inventory)}
    return json.dumps({**places, "nodes": nodes, "resumed": directory.resumed}) + "\n"


if __name__ == "__main__":
    sys.exit(main())
