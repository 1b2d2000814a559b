"""One SSH session to a node, in which its scripts answer one request after the other: see ``session.sh``."""

from __future__ import annotations

import re
import secrets
import shlex
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.resources import files

import paramiko

# The scripts, and the files that each consists of.
COMMON = "common"
SCRIPTS = {"observe": [COMMON, "observe"], "transaction": [COMMON, "transaction", "requests", "units"]}
_CHUNK = 1 << 16
# A bound for one answer: observe.sh prints configuration files, unit files and pages of a few kilobytes each.
MOST_BYTES = 64 * 1024**2
_SUDO_SECONDS = 30.0
_MOST_GREETING = 1 << 16  # what a login prints before the loader is there
_NO_STATUS = 255  # for what a script cannot end with: the node lies


@dataclass(frozen=True)
class Answer:
    """The answer of a script.

    Attributes:
        status: its exit status; that of the whole session, where the session ended instead.
        complaints: what it printed to its standard error; every word, where the session ended instead.
        is_of_script: false where the session ended instead.
    """

    status: int
    output: bytes
    complaints: str
    is_of_script: bool = True

    @property
    def is_good(self) -> bool:
        """True where the script ended well."""
        return self.is_of_script and self.status == 0


class Session:
    """A session that waits for requests.

    Args:
        channel: on which nothing runs yet.
        seconds: how long the server may take to accept it.
        sudo: the words that make the rest of a command line run as root; none for a login as root.

    Raises:
        paramiko.SSHException: the server refuses, or takes longer.
    """

    def __init__(
        self,
        channel: paramiko.Channel,
        scripts: bytes,
        seconds: float,
        sudo: Sequence[str] = (),
        password: str | None = None,
    ) -> None:
        self._channel = channel
        self._first, self._password = scripts, password
        prefix = f"{shlex.join(sudo)} " if sudo else ""
        suffix = "" if password is None else " greet"
        # paramiko itself would wait for ever for a server that is there and says nothing.
        patience = threading.Timer(seconds, channel.close)
        patience.start()
        try:
            channel.exec_command(prefix + COMMAND + suffix)
        finally:
            patience.cancel()

    @property
    def is_open(self) -> bool:
        """True if it can be asked, as far as can be told from here."""
        return not (self._channel.closed or self._channel.eof_received)

    def close(self) -> None:
        """End it; a script that works goes on, or ends when it next prints something."""
        self._channel.close()

    def ask(self, name: str, arguments: Sequence[str], payload: bytes, seconds: float) -> Answer:
        """Have a script answer; one round trip.

        Args:
            name: of ``SCRIPTS``, or ``check``, which does nothing.
            arguments: constant words without blanks.

        Raises:
            TimeoutError: it took longer.
            EOFError: the connection ended in the middle.
            OverflowError: the answer is longer than it may be.
        """
        mark = secrets.token_hex(16)
        request = " ".join(["kubeharden", mark, name, str(len(payload)), *arguments])
        end = time.monotonic() + seconds
        refusal = self._give_password()
        if refusal is not None:
            return refusal
        self._channel.settimeout(seconds)
        self._send(self._first + f"{request}\n".encode() + payload)
        self._first = b""
        last = f"\n{mark} end\n".encode()
        received = bytearray()
        while not received.endswith(last):
            data = self._receive(end, seconds)
            if not data:
                return self._end(bytes(received), end)
            received += data
            if len(received) > MOST_BYTES:
                self._channel.close()
                raise OverflowError(f"its answer is longer than {MOST_BYTES // 1024**2} MiB")
        output, _, rest = bytes(received.removesuffix(last)).rpartition(f"\n{mark} ".encode())
        status, _, complaints = rest.decode(errors="replace").partition("\n")
        return Answer(int(status) if re.fullmatch(r"[0-9]{1,3}", status) else _NO_STATUS, output, complaints)

    def _give_password(self) -> Answer | None:
        """Give sudo its password, once; return its refusal, or None when the loader is there.

        Nothing is sent after it until then: a wrong password must count as one failure, not as three.
        """
        if self._password is None:
            return None
        end, received = time.monotonic() + _SUDO_SECONDS, bytearray()
        self._channel.set_combine_stderr(True)
        self._send(f"{self._password}\n".encode())
        while not received.endswith(b"ready\n"):
            data = self._receive(end, _SUDO_SECONDS)
            if not data:
                return self._end(bytes(received), end)
            received += data
            if len(received) > _MOST_GREETING:
                self._channel.close()
                raise OverflowError(f"it says more than {_MOST_GREETING // 1024} KiB before sudo is asked")
            if b"try again" in received:
                self._channel.close()
                return Answer(1, b"", "sudo: the password is wrong", is_of_script=False)
        self._channel.set_combine_stderr(False)
        self._password = None
        return None

    def _send(self, data: bytes) -> None:
        with suppress(OSError):  # what runs there may have ended already: its words say why
            self._channel.sendall(data)

    def _receive(self, end: float, seconds: float) -> bytes:
        left, late = end - time.monotonic(), TimeoutError(f"no answer within {seconds:.0f} s")
        if left <= 0:  # what is there already would be given out, for as long as more of it comes
            raise late
        self._channel.settimeout(left)
        try:
            data: bytes = self._channel.recv(_CHUNK)
        except TimeoutError:
            raise late from None
        return data

    def _end(self, received: bytes, end: float) -> Answer:
        """Return why there will be no answer: sudo refused, or there is no shell, or something else ran.

        Raises:
            EOFError: it was killed, or the connection is gone.
        """
        complaints = b""
        while (data := self._channel.recv_stderr(_CHUNK)) and len(complaints) < _CHUNK:
            complaints += data
        self._channel.status_event.wait(max(0.0, end - time.monotonic()))
        status = self._channel.exit_status
        if status < 0:  # none is known
            raise EOFError("the session ended without an answer")
        return Answer(status, b"", (received + complaints).decode(errors="replace"), is_of_script=False)


def scripts() -> bytes:
    """Return what a session reads first: the scripts as functions, then that which calls them. It is a constant."""
    common = _file(COMMON)
    functions = [f"{name}() {{\n{script_text(name).removeprefix(common)}\n}}\n" for name in SCRIPTS]
    text = (common + "".join(functions) + _file("session")).rstrip("\n").encode("ascii")
    return f"kubeharden scripts {len(text)}\n".encode() + text


def script_text(name: str) -> str:
    """Return the text of a script of ``SCRIPTS``; of ``transaction``, with the call that runs it."""
    text = "".join(_file(part) for part in SCRIPTS[name])
    return f'{text}\nmain "$@"\n' if name == "transaction" else text


def _file(name: str) -> str:
    return (files(__package__) / f"{name}.sh").read_text(encoding="utf-8")


def _command() -> str:
    """Return the command of a session: its loader without comments, in one line that every login shell takes."""
    lines = (line.strip() for line in _file("loader").splitlines())
    loader = " ".join(
        line if line.endswith(("{", "do")) else f"{line};" for line in lines if line and line[0] != "#"
    )
    return shlex.join(["sh", "-c", loader, "kubeharden-session"])


COMMAND = _command()
