"""What systemd itself makes of unit files: its test mode reads units and says what it has read, and starts nothing."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

PLACES = ("/usr/lib/systemd/systemd", "/lib/systemd/systemd")
NOBODY = "65534"
_ESCAPE = re.compile(r"\\([0-7]{3}|.)")
_NAMED = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"|([^ "]+)')


@cache
def why_not() -> str:
    """Why systemd cannot be asked here; empty where it can."""
    if not any(Path(place).exists() for place in PLACES):
        return "there is no systemd on this machine"
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        return "its test mode is not for root, and there is no setpriv on this machine"
    found = commands_of(["ExecStart=/bin/echo hello"])
    return "" if found == [["/bin/echo", "hello"]] else "its test mode does not work on this machine"


def commands_of(services: Sequence[str]) -> list[list[str] | None]:
    """The words of the command of each service, variables not put in; None where systemd takes none.

    Args:
        services: the lines of their ``[Service]`` sections.
    """
    with tempfile.TemporaryDirectory(dir="/tmp") as place:
        folder = Path(place)
        folder.chmod(0o755)
        names = [f"u{number}.service" for number in range(len(services))]
        for name, lines in zip(names, services, strict=True):
            text = f"[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\n{lines}\n"
            (folder / name).write_text(text, errors="surrogateescape")
        (folder / "all.target").write_text(f"[Unit]\nDefaultDependencies=no\nWants={' '.join(names)}\n")
        said = _say(folder)
    found: list[list[str] | None] = [None] * len(services)
    unit = ""
    for line in said.split("\n"):
        if line.startswith("-> Unit "):
            unit = line.removeprefix("-> Unit ").removesuffix(":")
        elif line.startswith("\t\t\tCommand Line: ") and (number := re.fullmatch(r"u(\d+)\.service", unit)):
            found[int(number[1])] = _words(line.partition("Command Line: ")[2])
    return found


def _say(folder: Path) -> str:
    home = folder / "home"
    home.mkdir(mode=0o777)
    home.chmod(0o777)
    drop = ["setpriv", "--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"] if os.geteuid() == 0 else []
    program = next(place for place in PLACES if Path(place).exists())
    done = subprocess.run(
        [*drop, program, "--test", "--user", "--unit=all.target", "--no-pager"],
        env={
            "HOME": str(home),
            "XDG_RUNTIME_DIR": str(home),
            "SYSTEMD_UNIT_PATH": str(folder),
            "SYSTEMD_LOG_TARGET": "null",
            "PATH": "/usr/bin:/bin",
        },
        capture_output=True,
        timeout=120,
        check=False,
    )
    return done.stdout.decode(errors="surrogateescape").replace("\t-> Unit", "-> Unit")


def _words(text: str) -> list[str]:
    return [
        _ESCAPE.sub(lambda escape: _plain(escape[1]), quoted) if plain == "" else plain
        for quoted, plain in _WORD.findall(text)
    ]


def _plain(escape: str) -> str:
    if len(escape) == 1:
        return _NAMED.get(escape, escape)
    code = int(escape, 8)
    return chr(code) if code < 0x80 else chr(0xDC00 + code)
