"""The last redaction: everything that a cell prints, shows, returns or raises, and every log record.

In a notebook it covers every cell, also those that a person adds. It uses the redactor of the newest run.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import traceback
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kubeharden.errors import KubehardenError
from kubeharden.redaction import Redactor

MOST_UNSENT = 1 << 20  # characters
# What a client waits for, whatever a password is (Jupyter's protocol, 5.4).
_KEPT = ("execution_state", "status", "name")
_terminals: dict[str, int] = {}  # descriptors of the kernel's own standard output and error, by name
_WORDS = ("starting", "busy", "idle", "ok", "error", "aborted", "abort", "stdout", "stderr")


def install(namespace: Mapping[str, Any], redactor: Redactor) -> None:
    """Redact everything that leaves this process from now on; a later call replaces the redactor.

    Args:
        namespace: the notebook's ``globals()``; outside a notebook, only the logs are redacted.
    """
    logs = logging.getLogRecordFactory()
    if isinstance(logs, _LogRecords):
        logs.redactor = redactor
    else:
        logging.setLogRecordFactory(_LogRecords(logs, redactor))
    shell = namespace["get_ipython"]() if "get_ipython" in namespace else None
    if shell is None:
        return
    _short_errors(shell, redactor)
    session = getattr(getattr(shell, "kernel", None), "session", None)
    if session is None:
        return
    if isinstance(session.send, _Messages):
        session.send.redactor = redactor
    else:
        session.send = _Messages(session.send, redactor)
        for stream in (sys.stdout, sys.stderr):
            _silence_copy(stream)


def tell_terminal(text: str) -> None:
    """Print a line where the process that started this kernel prints, papermill as a rule; elsewhere do nothing.

    Nothing else that is written reaches it: see ``_silence_copy``. Where papermill writes the notebook itself to its
    standard output, the line goes to standard error.
    """
    terminal = _terminals.get("stderr" if _writes_notebook(os.getppid()) else "stdout")
    if terminal is not None:
        # Where both streams are one, papermill's progress bar stands there without the end of its line.
        bar = _terminals.get("stderr")
        begin = "\n" if bar is not None and os.path.samestat(os.fstat(bar), os.fstat(terminal)) else ""
        os.write(terminal, f"{begin}{text}\n".encode())


def _writes_notebook(process: int) -> bool:
    """Return whether a process writes a notebook to its standard output: ``papermill in.ipynb -``."""
    try:
        return b"-" in Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False


def _silence_copy(stream: Any) -> None:
    """Keep ipykernel from copying the output of child processes to the kernel's own terminal.

    That terminal is papermill's, and the copy is not redacted (ipykernel.iostream, ``_watch_pipe_fd``).
    """
    copy = getattr(stream, "_original_stdstream_copy", None)
    if isinstance(copy, int):
        _terminals[str(stream.name)] = os.dup(copy)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, copy)
        os.close(nowhere)


class _Messages:
    """A redacting ``Session.send``: every message leaves a kernel through it (jupyter_client, ipykernel).

    Printed text comes in pieces. What is not a whole line yet, and a line that the next one may continue, is held back
    until more of it comes, the cell ends, or somebody is asked for an input.
    """

    def __init__(self, send: Any, redactor: Redactor) -> None:
        self._send = send
        self.redactor = redactor
        self._unsent: dict[str, _Piece] = {}  # by the name of the stream
        self._lock = threading.RLock()

    def __call__(self, stream: Any, message: Any, content: Any = None, *rest: Any, **named: Any) -> Any:
        whole = isinstance(message, Mapping)  # or else its type
        kind = str(message["header"]["msg_type"] if whole else message)
        body = message.get("content") if whole else content
        if kind == "input_request" or (
            kind == "status" and isinstance(body, Mapping) and body.get("execution_state") == "idle"
        ):
            self._let_go()
        if named.get("metadata"):
            named["metadata"] = self._redact(named["metadata"])
        named.pop("buffers", None)  # bytes, which nobody can read
        if not whole:
            return self._send(stream, message, self._redact(content), *rest[:2], **named)
        redacted = {**message, "metadata": self._redact(message.get("metadata") or {}), "buffers": []}
        if kind == "stream" and isinstance(body, Mapping):
            return self._send_text(
                _Piece(stream, redacted, str(body.get("text", "")), (content, *rest), named)
            )
        return self._send(stream, {**redacted, "content": self._redact(body)}, content, *rest, **named)

    def _redact(self, content: Any) -> Any:
        if not isinstance(content, Mapping):
            return content
        redacted = dict(self.redactor.redact_data(content))
        return redacted | {key: content[key] for key in _KEPT if content.get(key) in _WORDS}

    def _send_text(self, piece: _Piece) -> Any:
        """Send what can be judged of a printed text, and hold back the rest."""
        name = str(piece.message["content"].get("name"))
        with self._lock:
            unsent = self._unsent.pop(name, None)
            text = (unsent.text if unsent else "") + piece.text
            end = self.redactor.length_to_judge(text) if len(text) <= MOST_UNSENT else len(text)
            if end < len(text):
                self._unsent[name] = replace(piece, text=text[end:])
            return self._send_piece(replace(piece, text=text[:end])) if end else None

    def _send_piece(self, piece: _Piece) -> Any:
        header = {**piece.message["header"], "msg_id": uuid.uuid4().hex}
        content = self._redact({**piece.message["content"], "text": ""}) | {
            "text": self.redactor.redact(piece.text)
        }
        message = {**piece.message, "header": header, "msg_id": header["msg_id"], "content": content}
        return self._send(piece.stream, message, *piece.rest, **piece.named)

    def _let_go(self) -> None:
        """Send what is held back: nothing more of it comes."""
        with self._lock:
            for name in list(self._unsent):
                self._send_piece(self._unsent.pop(name))


@dataclass(frozen=True)
class _Piece:
    """A piece of printed text, and with what it is sent."""

    stream: Any
    message: Mapping[str, Any]
    text: str
    rest: tuple[Any, ...]
    named: Mapping[str, Any]


class _LogRecords:
    """A factory of log records without secrets, for every logger and handler."""

    def __init__(self, make: Any, redactor: Redactor) -> None:
        self._make = make
        self.redactor = redactor

    def __call__(self, *args: Any, **named: Any) -> logging.LogRecord:
        record: logging.LogRecord = self._make(*args, **named)
        try:
            message = record.getMessage()
        except (TypeError, ValueError):  # the arguments do not fit the message
            message = f"{record.msg} {record.args}"
        redact = self.redactor.redact
        record.msg, record.args = redact(message), ()
        if record.exc_info:
            record.exc_text = redact("".join(traceback.format_exception(*record.exc_info)).rstrip("\n"))
        if record.stack_info:
            record.stack_info = redact(record.stack_info)
        return record


def _short_errors(shell: Any, redactor: Redactor) -> None:
    """Show the errors that we raise on purpose as their message, without a traceback."""

    def show(
        shell: Any, kind: type[Exception], error: Exception, _trace: Any, tb_offset: int | None = None
    ) -> Any:
        del tb_offset  # IPython passes it by name
        bare = kind.__new__(kind)  # without its cause, which IPython would show too
        bare.args = (redactor.redact(str(error)),)
        for note in getattr(error, "__notes__", ()):
            bare.add_note(redactor.redact(note))
        return shell.showtraceback((kind, bare, None))

    shell.set_custom_exc((KubehardenError,), show)
