"""The answers of ``ssh -G``: one for all hosts of which the client configuration says the same.

OpenSSH's own debug messages name the files that it read. Where none of them has a line that depends on the host, the
answer for another host differs in its name and port only.
"""

from __future__ import annotations

import re
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kubeharden.edges import programs

_READ = re.compile(r"^debug1: Reading configuration data (.+?)\r?$", re.MULTILINE)
# Keywords with which the answer may depend on the host in another way than by its name (ssh_config(5)).
_OF_HOSTS = ("match", "hostname", "proxyjump", "canonical")
# A name that OpenSSH takes as it is; others it writes otherwise.
_PLAIN = re.compile(r"[a-z0-9][a-z0-9._-]*")


@dataclass(frozen=True)
class _Sample:
    """An answer that holds for other hosts, and the host that it was asked for."""

    host: str
    port: int | None
    text: bytes


class ClientAnswers:
    """The answers of one run; threads may share it."""

    def __init__(self) -> None:
        self._samples: dict[tuple[str, ...], _Sample | None] = {}
        self._lock = threading.Lock()

    def ask(
        self, options: Sequence[str], host: str, port: int | None, seconds: float
    ) -> subprocess.CompletedProcess[bytes]:
        """Return what ``ssh -G`` prints, and its status.

        Args:
            port: where it listens, if that is not left to the configuration.

        Raises:
            subprocess.TimeoutExpired: it took longer.
        """
        key = (*options, str(port is not None))
        with self._lock:
            if key not in self._samples:
                self._samples[key] = None  # should it fail, nobody else waits for it
                done = ask_ssh(["-v", *options], host, port, seconds)
                if done.returncode == 0:
                    self._samples[key] = _sample(done, host, port)
                    return done
            sample = self._samples[key]
        if sample is not None and _PLAIN.fullmatch(host):
            return subprocess.CompletedProcess([], 0, _for_host(sample, host, port), b"")
        return ask_ssh(options, host, port, seconds)


def ask_ssh(
    options: Sequence[str], host: str, port: int | None, seconds: float
) -> subprocess.CompletedProcess[bytes]:
    """Return what ``ssh -G`` prints about a host: see ``ClientAnswers.ask``."""
    words = ["ssh", "-G", "-T", *options, *(["-p", str(port)] if port else []), "--", host]
    return programs.run(words, seconds)


def _sample(done: subprocess.CompletedProcess[bytes], host: str, port: int | None) -> _Sample | None:
    """Return the answer for a host, with OpenSSH's debug messages, if it holds for others; else None."""
    read = _READ.findall(done.stderr.decode(errors="replace"))
    plain = _PLAIN.fullmatch(host) and f"\nhostname {host}\n".encode() in b"\n" + done.stdout
    if not plain or not read or not all(_says_the_same_of_all(Path(path)) for path in read):
        return None
    return _Sample(host, port, done.stdout)


def _says_the_same_of_all(path: Path) -> bool:
    """Return whether no line of a file depends on the host; what cannot be read may."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return False
    for line in lines:
        keyword, _, value = line.strip().replace("=", " ", 1).partition(" ")
        if keyword.startswith("#"):
            continue
        keyword = keyword.lower()
        if keyword.startswith(_OF_HOSTS) or "%" in value or "$" in value:
            return False
        if keyword == "host" and value.strip() != "*":
            return False
    return True


def _for_host(sample: _Sample, host: str, port: int | None) -> bytes:
    """Return what ``ssh -G`` would answer for another host."""
    others = {f"{keyword} {sample.host}": f"{keyword} {host}" for keyword in ("host", "hostname")}
    if port is not None:
        others[f"port {sample.port}"] = f"port {port}"
    lines = sample.text.decode(errors="surrogateescape").splitlines()
    return "".join(f"{others.get(line, line)}\n" for line in lines).encode(errors="surrogateescape")
