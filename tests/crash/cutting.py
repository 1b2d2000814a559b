"""Cuts a transaction on a rehearsal node at one command of its script, whichever is wanted.

The script itself knows nothing of it: on this node ``sh`` is a wrapper that puts a folder of wrappers before PATH, one
for every command that the script calls. They count, and at the one that is wanted something is cut.
"""

from __future__ import annotations

import os
import shutil
import socket
import threading
from pathlib import Path

from transactions import TOOLS, Site

# What transaction.sh calls: systemd's programs, and what else is not built into a shell.
COMMANDS = ("journalctl", "systemctl", "systemd-analyze", "systemd-run", *sorted(TOOLS))
# The roles that the script runs in: the two that are sent over SSH and change something, and the three units.
ROLES = ("begin", "work", "confirm", "revert", "boot")

# "exec" keeps the process, so that the numbers that are noted stay those of the shells that run the script. In a
# session the role is that of each request: the line of the script that takes its verb notes it, once the
# loader has read the script.
SHELL = """#!/bin/dash
PATH={folder}:$PATH
export PATH
if [ "${{3:-}}" = kubeharden-session ]; then
  flag=$1
  loader=$(printf '%s\\n' "$2" | /usr/bin/sed 's|eval "$scripts"|eval "$(printf "%s" "$scripts" \\| {folder}/noting)"|')
  shift 2
  exec /bin/dash "$flag" "$loader" "$@"
fi
CRASH_ROLE=
for word in "$@"; do
  case $word in work | revert | boot) CRASH_ROLE=$word ;; esac
done
export CRASH_ROLE
[ -z "$CRASH_ROLE" ] || echo "-$$" >>{folder}/pids # its group: what it leaves watches
exec /bin/dash "$@"
"""
NOTING = """#!/bin/dash
note='  verb=$1 CRASH_ROLE=$1; export CRASH_ROLE; echo $$ >>{folder}/pids'
exec /usr/bin/sed "s|^  verb=.1\\$|$note|"
"""
COMMAND = """#!/bin/dash
role='' number=0 kind=''
read -r role number kind <{folder}/wanted
if [ "$CRASH_ROLE" = "$role" ]; then
  printf x >>{folder}/count
  if [ "$(/usr/bin/wc -c <{folder}/count)" -ge "$number" ] && /usr/bin/mkdir {folder}/fired 2>/dev/null; then
    case $kind in
    script) # every process of it, in units and in sessions
      read -r _ _ _ _ group _ </proc/$$/stat
      while read -r pid; do [ "$pid" = "-$group" ] || kill -9 -- "$pid" 2>/dev/null; done <{folder}/pids
      kill -9 0
      ;;
    controller) read -r pid <{folder}/controller && kill -9 "$pid" ;;
    connection) : >{folder}/cut && while [ ! -e {folder}/is-cut ]; do /usr/bin/sleep 0.01; done ;;
    power) {reboot} -f ;;
    esac
  fi
fi
PATH=${{PATH#{folder}:}} # what a command calls in its turn is not a command of the script
exec {real} "$@"
"""


class Cutter:
    """The wrappers of one node, and the wire that leads to it.

    Args:
        site: the node.
        folder: where they are put.
    """

    def __init__(self, site: Site, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        shims = site.rehearsal.directory / "state/nodes" / site.name / "bin"
        self._write("sh", SHELL.format(folder=folder), shims)
        self._write("noting", NOTING.format(folder=folder), folder)
        for name in COMMANDS:
            real = shims / name if (shims / name).exists() else Path(shutil.which(name) or f"/usr/bin/{name}")
            text = COMMAND.format(folder=folder, real=real, reboot=shims / "reboot")
            self._write(name, text, folder)
        self.aim("nobody", 0, "nothing")

    def _write(self, name: str, text: str, folder: Path) -> None:
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)

    def aim(self, role: str, number: int, kind: str) -> None:
        """Cut at the command of that number of the script in that role; a number beyond the last cuts nothing."""
        for name in ("count", "pids", "cut", "is-cut", "controller"):
            (self.folder / name).unlink(missing_ok=True)
        shutil.rmtree(self.folder / "fired", ignore_errors=True)
        # At once, or a command that reads it meanwhile would find half of it.
        (self.folder / "wanted.new").write_text(f"{role} {number} {kind}\n")
        (self.folder / "wanted.new").rename(self.folder / "wanted")

    @property
    def fired(self) -> bool:
        """Whether it has been cut."""
        return (self.folder / "fired").exists()

    @property
    def count(self) -> int:
        """How many commands the script has called in the role that was aimed at."""
        place = self.folder / "count"
        return place.stat().st_size if place.exists() else 0


class Wire:
    """A way to a node that is cut when a wrapper asks for it: it forwards one port of the loopback to another."""

    def __init__(self, port: int, folder: Path) -> None:
        self._port, self._folder = port, folder
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self._open: list[socket.socket] = []
        self._over = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()
        threading.Thread(target=self._watch, daemon=True).start()

    def close(self) -> None:
        """Cut it for good."""
        self._over.set()
        self._server.close()
        self._cut()

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                near, _ = self._server.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._port))
            self._open += [near, far]
            for source, target in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=(source, target), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                target.sendall(data)
        except OSError:
            return
        finally:
            for end in (source, target):
                end.close()

    def _watch(self) -> None:
        while not self._over.wait(0.005):
            if (self._folder / "cut").exists() and not (self._folder / "is-cut").exists():
                self._cut()
                (self._folder / "is-cut").touch()

    def _cut(self) -> None:
        for end in self._open:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # it was closed by the side that it belongs to
        self._open.clear()


def controller_is(folder: Path) -> None:
    """Note this process as the controller, to be killed."""
    (folder / "controller").write_text(f"{os.getpid()}\n")
