"""The one way out: what a cell prints, shows, returns or fails with, and what anything logs, passes the redaction.

In a notebook that is true of every cell, those that somebody adds to look at something included.
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Mapping
from typing import Any

from kubeharden.errors import KubehardenError
from kubeharden.facts.sensitive import harmless_flags
from kubeharden.redaction.redact import redact, redact_data, show_flags


def install(namespace: Mapping[str, Any]) -> None:
    """Close the gate; more than once does no harm.

    Args:
        namespace: the notebook's ``globals()``; where it is no notebook's, only the logs are redacted.
    """
    show_flags(harmless_flags())
    if not isinstance(logging.getLogRecordFactory(), _LogRecords):
        logging.setLogRecordFactory(_LogRecords())
    shell = namespace["get_ipython"]() if "get_ipython" in namespace else None
    if shell is None:
        return
    _short_errors(shell)
    session = getattr(getattr(shell, "kernel", None), "session", None)
    if session is not None and not isinstance(session.send, _Messages):
        session.send = _Messages(session.send)
        for stream in (sys.stdout, sys.stderr):
            _silence_copy(stream)


def _silence_copy(stream: Any) -> None:
    """What child processes print is sent like everything else; keep ipykernel from writing it as it is, too.

    It writes a copy to the kernel's own terminal, which is papermill's (ipykernel.iostream, ``_watch_pipe_fd``).
    """
    copy = getattr(stream, "_original_stdstream_copy", None)
    if isinstance(copy, int):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, copy)
        os.close(nowhere)


class _Messages:
    """Stands before ``Session.send``, through which every message leaves a kernel (jupyter_client, ipykernel)."""

    def __init__(self, send: Any) -> None:
        self._send = send
        self._inside_key: set[str] = set()  # the streams in which a private key has begun and not ended

    def __call__(self, stream: Any, message: Any, content: Any = None, *rest: Any, **named: Any) -> Any:
        if isinstance(message, Mapping):  # a whole message, or else its type
            passed = self._passed(message["header"]["msg_type"], message.get("content"))
            return self._send(stream, {**message, "content": passed}, content, *rest, **named)
        return self._send(stream, message, self._passed(message, content), *rest, **named)

    def _passed(self, kind: str, content: Any) -> Any:
        if not isinstance(content, Mapping):
            return content
        if kind == "stream":
            return {**content, "text": self._printed(str(content.get("name")), str(content.get("text", "")))}
        passed = redact_data(content)
        # Words of the protocol, which a client waits for: idle, busy, ok, error.
        passed |= {key: content[key] for key in ("execution_state", "status") if key in content}
        data = content.get("data")
        if isinstance(data, Mapping):  # pictures are base64, in which nothing is to be found
            passed["data"] |= {mime: data[mime] for mime in data if mime in ("image/png", "image/jpeg")}
        return passed

    def _printed(self, stream: str, text: str) -> str:
        """What was printed; a private key may come line by line, each in a message of its own."""
        if stream in self._inside_key:
            _, ended, text = text.partition("PRIVATE KEY-----")
            if not ended:
                return ""
            self._inside_key.discard(stream)
        begins = text.rfind("-----BEGIN ")
        if begins > text.rfind("-----END ") and "PRIVATE KEY-----" in text[begins:]:
            self._inside_key.add(stream)
        return redact(text)


class _LogRecords:
    """Makes log records without secrets, for every logger and every handler."""

    def __init__(self) -> None:
        self._make = logging.getLogRecordFactory()

    def __call__(self, *args: Any, **named: Any) -> logging.LogRecord:
        record = self._make(*args, **named)
        try:
            message = record.getMessage()
        except (TypeError, ValueError):  # its arguments do not fit; logging itself would say so on stderr
            message = f"{record.msg} {record.args}"
        record.msg, record.args = redact(message), ()
        if record.exc_info:
            record.exc_text = redact("".join(traceback.format_exception(*record.exc_info)).rstrip("\n"))
        if record.stack_info:
            record.stack_info = redact(record.stack_info)
        return record


def _short_errors(shell: Any) -> None:
    """Show the errors that we raise on purpose as their message, without a traceback around it."""

    def show(
        shell: Any, kind: type[Exception], error: Exception, _trace: Any, tb_offset: int | None = None
    ) -> Any:
        del tb_offset  # IPython gives it by name
        bare = kind.__new__(kind)  # without what it was raised from, which would be shown too
        bare.args = (redact(str(error)),)
        return shell.showtraceback((kind, bare, None))

    shell.set_custom_exc((KubehardenError,), show)
