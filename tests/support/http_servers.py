"""HTTP servers of tests, in threads of this process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Quiet(BaseHTTPRequestHandler):
    """Says nothing of its requests."""

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        """Send an answer with the length of its body."""
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    """One whose requests end with this process, also where they hang."""

    daemon_threads = True


@contextmanager
def listening(handler: type[Quiet], server: type[Server] = Server) -> Iterator[str]:
    """Serve on a free port of loopback, and yield the address."""
    with server(("127.0.0.1", 0), handler) as serving:
        thread = threading.Thread(target=serving.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{serving.server_port}"
        finally:
            serving.shutdown()
            thread.join()
