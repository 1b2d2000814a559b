"""The last redaction: everything that a cell prints, shows, returns or raises, and every log record.

In a notebook it covers every cell, also those that a person adds. It uses the redactor of the newest run.
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Mapping
from typing import Any

from kubeharden.errors import KubehardenError
from kubeharden.redaction import Redactor


def install(namespace: Mapping[str, Any], redactor: Redactor) -> None:
    """Redact everything that leaves this process from now on; a later call replaces the redactor.

    Args:
        namespace: the notebook's ``globals()``; outside a notebook, only the logs are redacted.
        redactor: that of the new run.
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


def _silence_copy(stream: Any) -> None:
    """Keep ipykernel from copying the output of child processes to the kernel's own terminal.

    That terminal is papermill's, and the copy is not redacted (ipykernel.iostream, ``_watch_pipe_fd``).
    """
    copy = getattr(stream, "_original_stdstream_copy", None)
    if isinstance(copy, int):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, copy)
        os.close(nowhere)


class _Messages:
    """A redacting ``Session.send``: every message leaves a kernel through it (jupyter_client, ipykernel)."""

    def __init__(self, send: Any, redactor: Redactor) -> None:
        self._send = send
        self.redactor = redactor
        self._inside_key: set[str] = set()  # the streams that are in the middle of a private key

    def __call__(self, stream: Any, message: Any, content: Any = None, *rest: Any, **named: Any) -> Any:
        if isinstance(message, Mapping):  # a whole message, or else its type
            redacted = self._redact(message["header"]["msg_type"], message.get("content"))
            return self._send(stream, {**message, "content": redacted}, content, *rest, **named)
        return self._send(stream, message, self._redact(message, content), *rest, **named)

    def _redact(self, kind: str, content: Any) -> Any:
        if not isinstance(content, Mapping):
            return content
        if kind == "stream":
            return {
                **content,
                "text": self._redact_stream(str(content.get("name")), str(content.get("text", ""))),
            }
        redacted = dict(self.redactor.redact_data(content))
        # Words of the protocol that a client waits for: idle, busy, ok, error.
        redacted |= {key: content[key] for key in ("execution_state", "status") if key in content}
        data = content.get("data")
        if isinstance(data, Mapping):  # base64, which no redaction could read
            redacted["data"] |= {mime: data[mime] for mime in data if mime in ("image/png", "image/jpeg")}
        return redacted

    def _redact_stream(self, stream: str, text: str) -> str:
        """Redact printed text; a private key may come line by line, each in its own message."""
        if stream in self._inside_key:
            _, ended, text = text.partition("PRIVATE KEY-----")
            if not ended:
                return ""
            self._inside_key.discard(stream)
        begins = text.rfind("-----BEGIN ")
        if begins > text.rfind("-----END ") and "PRIVATE KEY-----" in text[begins:]:
            self._inside_key.add(stream)
        return self.redactor.redact(text)


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
        return shell.showtraceback((kind, bare, None))

    shell.set_custom_exc((KubehardenError,), show)
