"""Bounds on what an API server may send: bytes, and seconds for a whole answer, its headers included.

urllib3's timeouts are for each single read: a server that sends a byte a second would never meet one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

# A page of 500 objects: an API server takes objects of 1.5 MiB at the most (etcd's --max-request-bytes), and those of a
# page that are read here are far smaller.
MOST_BYTES = 64 * 1024**2
MOST_SECONDS = 120.0
_CHUNK = 1 << 16


class UnboundedError(Exception):
    """An answer is longer, takes longer, or is packed otherwise than it may."""


class _Timed:
    """A connection whose answers must begin in time, and can be cut off."""

    sock: Any

    def getresponse(self) -> Any:
        """Return the head of the answer; its ``cut`` ends the connection.

        Raises:
            OSError: it did not come in time; the connection is cut then.
        """
        sock = self.sock  # the connection forgets it where the server will close it
        try:
            with _Deadline(lambda: _shut(sock)) as deadline:
                answer = super().getresponse()  # type: ignore[misc]
        except OSError:  # a reset, where the server sends on after the cut
            if not deadline.is_over:
                raise
        if deadline.is_over:  # else a head that was cut off would pass for one without a body
            raise ConnectionAbortedError(f"its answer did not begin within {MOST_SECONDS:g} s")
        answer.cut = lambda: _shut(sock)
        return answer


class _Deadline:
    """A time that something may take; it is cut off then, whatever it waits for."""

    def __init__(self, cut: Callable[[], None]) -> None:
        self.is_over, self._cut = False, cut
        self._timer = threading.Timer(MOST_SECONDS, self._end)
        self._timer.daemon = True

    def __enter__(self) -> _Deadline:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def _end(self) -> None:
        self.is_over = True
        self._cut()


def _shut(sock: Any) -> None:
    with suppress(OSError):  # it has ended by itself
        sock.shutdown(2)


class _TimedHttp(_Timed, HTTPConnection):
    pass


class _TimedHttps(_Timed, HTTPSConnection):
    pass


class _HttpPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _TimedHttp


class _HttpsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _TimedHttps


def bound(manager: urllib3.PoolManager) -> None:
    """Let every connection of a pool end an answer that does not begin in time."""
    manager.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}


def body_of(response: Any) -> bytes:
    """Return the body of an answer, which came over a connection that is bounded.

    Raises:
        UnboundedError: it is too long, takes too long, or is compressed: nobody asked for that.
    """
    packed = response.headers.get("Content-Encoding", "identity")
    if packed not in {"", "identity"}:
        response.close()
        raise UnboundedError(f"its answer is compressed ({packed[:20]}), which was not asked for")
    content = bytearray()
    try:
        # One read may take any time: the length of a chunk and what follows the last one come a byte at a time, too.
        with _Deadline(response.cut) as deadline:
            while piece := response.read1(_CHUNK, decode_content=False):
                content += piece
                if len(content) > MOST_BYTES:
                    raise UnboundedError(f"its answer is longer than {MOST_BYTES // 1024**2} MiB")
    except urllib3.exceptions.HTTPError:
        if not deadline.is_over:
            raise
    finally:
        if deadline.is_over or len(content) > MOST_BYTES:
            response.close()
    if deadline.is_over:
        raise UnboundedError(f"its answer took longer than {MOST_SECONDS:g} s")
    response.release_conn()
    return bytes(content)
