"""Requests to one API server as one user: what they say when they fail, and when they are sent again.

A request is sent again only where that cannot do harm. GET and DELETE are idempotent, and so is a PUT, since
it carries a resourceVersion. A POST that creates is sent again, too: a second one meets the first with 409, and
then it is looked whether what is there is what was sent. 429 means that the server did not begin with it: any
request is sent again, after the server's own Retry-After (k8s.io/apiserver/pkg/server/filters/maxinflight.go).
"""

from __future__ import annotations

import random
import re
import ssl
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import kubernetes.client
import urllib3
from kubernetes.client.exceptions import ApiException

from kubeharden.edges.cluster import own_port
from kubeharden.edges.cluster.bounds import UnboundedError, body_of, bound
from kubeharden.edges.cluster.credential import Credential
from kubeharden.edges.ports import Clock, Stream
from kubeharden.errors import (
    ClusterError,
    ExpiredError,
    NotFoundError,
    RetryableError,
    StaleError,
    TooManyRequestsError,
)
from kubeharden.facts.kubeconfig import Kubeconfig
from kubeharden.formats import as_json, read_file
from kubeharden.kube.manifests import without_server_parts
from kubeharden.redaction import Redactor, excerpt

TIMEOUT_SECONDS = (5, 30)  # to connect, to answer
RETRIES = 4
FIRST_PAUSE_SECONDS = 0.25  # doubled each time
LONGEST_PAUSE_SECONDS = 60.0  # whatever Retry-After says
TOO_MANY_REQUESTS = 429
MOST_WORDS = 10_000  # of an error that are looked at
_PLAIN = (
    "!$&'()*+,:;=@~"  # besides letters, digits and _.-: what stands for itself in a path (RFC 3986, pchar)
)
MERGE_PATCH = "application/merge-patch+json"


@dataclass(frozen=True)
class Response:
    """The response to a request that was sent once: a status with its text, or no answer at all.

    Attributes:
        status: of HTTP; 0 where there was no answer.
        retry_after: seconds, where the server asks for them.
        sent: false where the request cannot have reached the server.
        warnings: what it warns of.
    """

    status: int
    text: str
    retry_after: float | None = None
    sent: bool = True
    warnings: tuple[str, ...] = ()

    @property
    def good(self) -> bool:
        """True where the server did what it was asked to."""
        return 0 < self.status < 400  # noqa: PLR2004

    @property
    def retryable(self) -> bool:
        """True where the same request may succeed in a moment."""
        return self.status in {0, TOO_MANY_REQUESTS} or self.status >= 500  # noqa: PLR2004

    @property
    def maybe_done(self) -> bool:
        """True where the server may have carried it out although it did not say so."""
        return self.status >= 500 or (self.status == 0 and self.sent)  # noqa: PLR2004


class Client:
    """Requests to one API server, as one user.

    Args:
        context: a context in it; None for its current one.
        redactor: learns the credentials in it, and takes secrets out of what the server says.

    Raises:
        ClusterError: the kubeconfig cannot be used.
    """

    def __init__(self, kubeconfig: str, context: str | None, redactor: Redactor, clock: Clock) -> None:
        self._redactor, self._clock = redactor, clock
        source = f"the kubeconfig {kubeconfig}"
        text = read_file(Path(kubeconfig), "kubeconfig", ClusterError).removeprefix("\ufeff")
        config = Kubeconfig.parse(text, source)
        # Before the client reads it: that runs the program that it names, which may print what it is told.
        for credential in config.credentials():
            redactor.remember(credential)
        redactor.withhold(config.secrets())
        choice = config.choose(context)
        self.user, self._impersonation = choice.acts_as, choice.impersonation()
        self._context: ssl.SSLContext | None = None
        proof = Credential(choice, Path(kubeconfig).absolute().parent, source, redactor, clock)
        try:
            settings = proof.settings()
            self._api = kubernetes.client.ApiClient(settings)
            if settings.cert_file and not self._impersonation:
                self._context = own_port.context_of(settings.cert_file, settings.key_file)
        except ClusterError:
            raise
        except Exception as error:  # the client checks nothing before it uses it
            raise ClusterError(f"cannot use {source}: {redactor.redact(str(error))[:500]}") from None
        bound(self._api.rest_client.pool_manager)

    def close(self) -> None:
        """Close the connections."""
        self._api.rest_client.pool_manager.clear()

    @property
    def certificate_problem(self) -> str:
        """The reason why this user cannot ask a kubelet at its own port; empty where that may work."""
        if self._impersonation:
            return "the kubeconfig impersonates another user, which a kubelet cannot be asked for"
        if self._context is None:
            return "the kubeconfig has no client certificate, and a token is never sent to a node"
        return ""

    def ask(self, stream: Stream, path: str, certificates: Collection[str]) -> tuple[int, str]:
        """Return the status and the body of a kubelet's answer at its own port; see ``own_port``.

        Raises:
            ClusterError: this user cannot ask there, or there is no answer of somebody with such a certificate.
        """
        if self._context is None:
            stream.close()
            raise ClusterError(self.certificate_problem)
        return own_port.ask(stream, path, self._context, certificates)

    def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        query: list[tuple[str, str]] | None = None,
        what: str = "",
        again: bool = True,
        warnings: list[str] | None = None,
    ) -> dict[str, Any]:
        """Return the JSON of the answer to a request.

        Args:
            what: what it is about, for messages; the path by default.
            again: whether it may be sent again after a retryable failure.
            warnings: where to put what the server warns of (its Warning headers, from 1.19 on).

        Raises:
            ClusterError: there is no answer, or the server refuses.
            StaleError: 409.
        """
        text = self.text(path, method, body, query=query, what=what, again=again, warnings=warnings)
        answer = _mapping(text)
        if answer is None:
            answer_text = self._redactor.redact(text[:MOST_WORDS])[:200]
            raise ClusterError(f"{what or path}: the server's answer is not an object in JSON: {answer_text}")
        return answer

    def text(
        self,
        path: str,
        method: str = "GET",
        body: Mapping[str, Any] | None = None,
        *,
        query: list[tuple[str, str]] | None = None,
        what: str = "",
        again: bool = True,
        warnings: list[str] | None = None,
    ) -> str:
        """Return the text of the answer to a request; arguments and errors are those of ``call``."""
        maybe_done = False
        for pause in (*_pauses(RETRIES if again else 0), None):
            answer = self._send(method, path, body, query or [])
            if answer.good:
                if warnings is not None:
                    warnings += answer.warnings
                return answer.text
            if pause is None or not answer.retryable:
                break
            maybe_done = maybe_done or answer.maybe_done
            self._clock.sleep(min(answer.retry_after or pause, LONGEST_PAUSE_SECONDS))
        if maybe_done and method == "DELETE" and answer.status == 404:  # noqa: PLR2004 - the first one did it
            return "{}"
        if maybe_done and answer.status == 409 and body:  # noqa: PLR2004
            return self._own_write(method, path, body, answer, what)
        raise self._refusal(answer, what or path)

    def _own_write(self, method: str, path: str, body: Mapping[str, Any], answer: Response, what: str) -> str:
        """Return the object that an earlier write of ours left, where its answer was lost and this one met 409."""
        place = f"{path}/{segment(body['metadata']['name'])}" if method == "POST" else path
        current = self._send("GET", place, None, [])
        if current.good and _carries(_mapping(current.text), without_server_parts(body)):
            return current.text
        raise self._refusal(answer, what or path)

    def _send(
        self, method: str, path: str, body: Mapping[str, Any] | None, query: list[tuple[str, str]]
    ) -> Response:
        content = MERGE_PATCH if method == "PATCH" else "application/json"
        request = self._api.param_serialize(
            method,
            path,
            query_params=query,
            header_params={"Accept": "application/json", "Content-Type": content},
            body=body,
            auth_settings=["BearerToken"],
        )
        if self._impersonation:
            verb, address, headers, *rest = request
            request = (verb, address, urllib3.HTTPHeaderDict([*headers.items(), *self._impersonation]), *rest)
        try:
            response = self._api.call_api(*request, _request_timeout=TIMEOUT_SECONDS)
            text = body_of(response.response).decode("utf-8", errors="replace")
        except UnboundedError as error:
            raise ClusterError(f"{method} {path}: {error}. Is this an API server?") from error
        except (
            urllib3.exceptions.HTTPError,
            ApiException,
            ValueError,
        ) as error:  # it leads to what is not a URL
            reason = getattr(error, "reason", None) or error
            unsent = isinstance(
                reason, (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError)
            )
            return Response(0, _reason(error), sent=not unsent)
        wanted = str(response.getheader("Retry-After") or "")
        return Response(
            response.status,
            text,
            float(wanted) if re.fullmatch(r"[0-9]{1,9}", wanted) else None,
            warnings=tuple(map(_warning, response.getheaders().getlist("Warning"))),
        )

    def _refusal(self, answer: Response, what: str) -> ClusterError | StaleError:
        if answer.status == 0:
            return RetryableError(f"cannot reach the API server: {answer.text}")
        words = (_mapping(answer.text) or {}).get("message") or answer.text
        message = self._redactor.redact(str(words)[:MOST_WORDS].strip())[:500]
        match answer.status:
            case 401:
                return ClusterError(
                    f"{what}: the API server does not know {self.user or 'this user'} (401): is the credential in the "
                    "kubeconfig expired?"
                )
            case 403:
                return ClusterError(f"{what}: {message}. Use a kubeconfig of a user who may")
            case 404:
                return NotFoundError(f"{what}: {message}")
            case 409:
                return StaleError(
                    f"{what}: {message}. Somebody else changed it; run again to plan from what is there now"
                )
            case 410:
                return ExpiredError(f"{what}: {message}")
            case 429:
                return TooManyRequestsError(f"{what}: the API server answered 429: {message}")
        kind = RetryableError if answer.retryable else ClusterError
        return kind(f"{what}: the API server answered {answer.status}: {message}")


def segment(name: str) -> str:
    """Return a name as a part of a path: ``system:node`` as it is, ``a b`` as ``a%20b``.

    Raises:
        ClusterError: no object can have that name (IsValidPathSegmentName, k8s.io/apimachinery): the path would lead to
            another one.
    """
    if name in ("", ".", "..") or "/" in name or "%" in name:
        raise ClusterError(
            f"{excerpt(name, 80)!r} cannot be the name of an object: it would be another place in the API"
        )
    return quote(name, safe=_PLAIN, errors="replace")


def _mapping(text: str) -> dict[str, Any] | None:
    """Return the object that a JSON text is; None where it is something else."""
    try:
        content = as_json(text, "the answer", ClusterError)
    except ClusterError:
        return None
    return content if isinstance(content, dict) else None


def _warning(header: str) -> str:
    """Return the text of a Warning header (RFC 7234): ``299 - "text"``, where a backslash quotes a character."""
    quoted = re.match(r'[^"]*"((?:[^"\\]|\\.)*)"', header)
    return re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else header


def _pauses(count: int) -> list[float]:
    """Seconds between one attempt and the next; not the same for clients that failed together."""
    return [FIRST_PAUSE_SECONDS * 2**n * random.uniform(0.8, 1.2) for n in range(count)]  # noqa: S311


def _carries(current: Any, wanted: Any) -> bool:
    """Return whether all that was sent is there; the server may have added to it."""
    if isinstance(wanted, Mapping) and isinstance(current, Mapping):
        return all(key in current and _carries(current[key], value) for key, value in wanted.items())
    if isinstance(wanted, (list, tuple)) and isinstance(current, list):
        return len(wanted) == len(current) and all(map(_carries, current, wanted))
    return bool(current == wanted)


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", None) or error
    return str(reason).partition(": ")[2] or str(reason)
