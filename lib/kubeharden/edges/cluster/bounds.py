"""Bounds on what an API server may send: bytes, and seconds for a whole answer, its headers included.

urllib3's timeouts are for each single read: a server that sends a byte a second would never meet one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
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
    """A connection whose answers must begin in time."""

    sock: Any
    _is_cut = False

    def getresponse(self) -> Any:
        """Return the head of the answer.

        Raises:
            OSError: it did not come in time; the connection is cut then.
        """
        timer = threading.Timer(MOST_SECONDS, self._cut)
        timer.daemon = True
        timer.start()
        try:
            answer = super().getresponse()  # type: ignore[misc]
        finally:
            timer.cancel()
        if self._is_cut:  # else a head that was cut off would pass for one without a body
            raise ConnectionAbortedError(f"its answer did not begin within {MOST_SECONDS:g} s")
        return answer

    def _cut(self) -> None:
        self._is_cut = True
        if self.sock is not None:
            self.sock.shutdown(2)


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


def body_of(response: urllib3.BaseHTTPResponse, now: Callable[[], float]) -> bytes:
    """Return the body of an answer.

    Raises:
        UnboundedError: it is too long, takes too long, or is compressed: nobody asked for that.
    """
    packed = response.headers.get("Content-Encoding", "identity")
    if packed not in {"", "identity"}:
        response.close()
        raise UnboundedError(f"its answer is compressed ({packed[:20]}), which was not asked for")
    end, found = now() + MOST_SECONDS, bytearray()
    while piece := response.read1(_CHUNK, decode_content=False):
        found += piece
        if len(found) > MOST_BYTES:
            response.close()
            raise UnboundedError(f"its answer is longer than {MOST_BYTES // 1024**2} MiB")
        if now() > end:
            response.close()
            raise UnboundedError(f"its answer took longer than {MOST_SECONDS:g} s")
    response.release_conn()
    return bytes(found)
