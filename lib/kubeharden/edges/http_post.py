"""One POST to a server that somebody named, bounded in size and in time; no other server is asked in its place."""

from __future__ import annotations

import threading
import urllib.request
from http.client import HTTPException
from typing import Any

from kubeharden.errors import KubehardenError


def post(url: str, data: bytes, types: tuple[str, str], seconds: float, limit: int) -> bytes:
    """Return the whole answer of a server.

    Args:
        types: the media type of what is sent, and the one that the answer must have; empty for any.

    Raises:
        KubehardenError: why there is no such answer; the caller names the server.
    """
    got: list[bytes | Exception] = []

    def work() -> None:
        try:
            got.append(_answer(url, data, types, seconds, limit))
        except (OSError, HTTPException, ValueError, KubehardenError) as error:
            got.append(error)

    # A thread that is left behind: a peer that sends a byte now and then ends no timeout of a socket.
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    answer = got[0] if got else TimeoutError()
    if isinstance(answer, TimeoutError) or isinstance(getattr(answer, "reason", None), TimeoutError):
        raise KubehardenError(f"has not answered within {seconds:g} s")
    if isinstance(answer, Exception):
        raise KubehardenError(str(answer)) from None
    return answer


def _answer(url: str, data: bytes, types: tuple[str, str], seconds: float, limit: int) -> bytes:
    content_type, wanted = types
    request = urllib.request.Request(url, data, {"Content-Type": content_type})  # noqa: S310 - http or https
    with urllib.request.build_opener(_NoRedirect).open(request, timeout=seconds) as response:
        kind = response.headers.get_content_type()
        answer = bytes(response.read(limit + 1))
    if wanted and kind != wanted:
        raise KubehardenError(f"answers with {kind}, not with {wanted}")
    if len(answer) > limit:
        raise KubehardenError(f"answers with more than {limit} bytes")
    return answer


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows nothing: only the server that was named is asked."""

    def redirect_request(self, *_: Any) -> None:
        """Return no other request; the answer is an error then."""
