"""Tells a server of somebody's, such as a chat's incoming webhook, that a run ended, stopped or was left.

Its URL is mostly a secret by itself, so it comes from the environment and is withheld. A server that does not answer
ends no run.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from ipaddress import ip_address
from urllib.parse import urlsplit

from kubeharden.edges.http_post import post
from kubeharden.errors import KubehardenError, ParameterError
from kubeharden.plan.event import Event
from kubeharden.plan.events import Abandoned, Error, Finished
from kubeharden.redaction import Redactor, Secrets

VARIABLE = "KUBEHARDEN_WEBHOOK"
SECONDS, LIMIT = 5.0, 1 << 16
JSON = "application/json"
SECRET_LENGTH = 12  # a shorter path, such as /hook, is a word that a record may have


class Webhook:
    """A listener that posts the end of a run as JSON.

    Args:
        about: fields that tell this run from others, such as ``run`` and ``change_id``.
        say: is told, in a line, that the server did not take it.
    """

    def __init__(
        self, url: str, about: dict[str, str], redactor: Redactor, say: Callable[[str], None]
    ) -> None:
        self._url, self._about, self._redactor, self._say = url, about, redactor, say

    def __call__(self, event: Event) -> None:
        """Post an event that ends a run, or a verb of it; leave out any other."""
        if not isinstance(event, Finished | Error | Abandoned):
            return
        text = f"kubeharden: {self._about['run']}: {_sentence(event)}"
        body = {"text": text, **self._about, "event": event.action, **event.content()}
        data = json.dumps(self._redactor.redact_data(body), ensure_ascii=False).encode()
        try:
            post(self._url, data, (JSON, ""), SECONDS, LIMIT)
        except KubehardenError as error:
            self._say(f"The webhook at {urlsplit(self._url).hostname} was not told of this: {error}")


def find_webhook(redactor: Redactor) -> str:
    """Return the URL that ``KUBEHARDEN_WEBHOOK`` names; empty for none. The redactor learns it.

    Raises:
        ParameterError: it is not a URL of https, or of http on this machine.
    """
    url = os.environ.get(VARIABLE, "")
    if not url:
        return ""
    parts = urlsplit(url)
    redactor.withhold(
        Secrets({url, *(part for part in (parts.path, parts.query) if len(part) >= SECRET_LENGTH)})
    )
    allowed = parts.scheme == "https" or (parts.scheme == "http" and _is_here(parts.hostname or ""))
    if not allowed or not parts.hostname or not url.isascii() or not url.isprintable():
        raise ParameterError(
            f"nothing was touched, because of the environment: {VARIABLE} is not a URL of https (or of http, to "
            "this host)"
        )
    return url


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _sentence(event: Finished | Error | Abandoned) -> str:
    if isinstance(event, Error):
        return f"{event.verb} failed ({event.kind}): {event.message}"
    if isinstance(event, Abandoned):
        return "was closed before it was finished"
    failed = f"; failed: {', '.join(event.failed)}" if event.failed else ""
    left = f"; not carried out: {', '.join(event.not_carried_out)}" if event.not_carried_out else ""
    return f"finished (mode {event.mode}); changed: {', '.join(event.changed) or 'nothing'}{left}{failed}"
