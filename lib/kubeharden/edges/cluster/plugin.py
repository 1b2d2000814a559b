"""A credential plugin of a kubeconfig (``exec``): a program that prints a token or a certificate.

The kubernetes client runs one without an end and drops what it complains of.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from kubeharden.edges import programs
from kubeharden.edges.ports import Clock
from kubeharden.errors import ClusterError
from kubeharden.facts.kubeconfig import Choice
from kubeharden.formats import as_json
from kubeharden.redaction import Redactor

PLUGIN_SECONDS = 60.0
_SKEW = timedelta(seconds=30)  # how long before its end a token is replaced
_MOST_WORDS = 500
_SECRETS = ("token", "clientKeyData")


class Plugin:
    """Run the plugin of one user; the arguments are those of ``Credential``."""

    def __init__(self, choice: Choice, folder: Path, source: str, redactor: Redactor, clock: Clock) -> None:
        self._spec, self._choice, self._folder = choice.user["exec"], choice, folder
        self._source, self._redactor, self._clock = source, redactor, clock
        self._status: Mapping[str, Any] = {}
        self._end: datetime | None = None
        self._running = threading.Lock()

    def status(self) -> Mapping[str, Any]:
        """Return what it says: ``token``, or ``clientCertificateData`` and ``clientKeyData``; anew once that has ended.

        Raises:
            ClusterError: it cannot be run, fails, takes too long, or prints something else.
        """
        with self._running:
            if not self._status or (self._end and self._clock.now() >= self._end - _SKEW):
                self._status = self._read(self._run())
                for key in _SECRETS:
                    self._redactor.remember(self._status.get(key))
                self._end = self._time(self._status.get("expirationTimestamp"))
            return self._status

    def _run(self) -> str:
        command, arguments = self._spec.get("command"), self._spec.get("args") or []
        if not command or not isinstance(command, str):
            raise self._wrong("names no command")
        if not self._spec.get("apiVersion"):
            raise self._wrong("names no apiVersion, such as client.authentication.k8s.io/v1")
        words = [command, *map(str, arguments)]
        try:
            done = programs.run(words, PLUGIN_SECONDS, b"", self._folder, self._environment())
        except (OSError, ValueError) as error:
            hint = str(self._spec.get("installHint") or "").strip()
            raise self._wrong(f"cannot be run: {error}. {hint[:_MOST_WORDS]}".rstrip()) from None
        except subprocess.TimeoutExpired as error:
            complaint = self._complaint(error.stderr or b"")
            raise self._wrong(
                f"did not end within {PLUGIN_SECONDS:g} s and was stopped. Does it wait for somebody to log in? Run it "
                f"once by hand{complaint}"
            ) from None
        if done.returncode != 0:
            raise self._wrong(
                f"ended with status {done.returncode}{self._complaint(done.stderr or done.stdout)}"
            )
        return done.stdout.decode("utf-8", errors="replace")

    def _environment(self) -> dict[str, str]:
        settings = {one["name"]: str(one.get("value") or "") for one in self._spec.get("env") or ()}
        spec: dict[str, Any] = {"interactive": False}
        if self._spec.get("provideClusterInfo"):
            spec["cluster"] = dict(self._choice.cluster)
        exec_info = {"apiVersion": self._spec.get("apiVersion"), "kind": "ExecCredential", "spec": spec}
        return {**os.environ, **settings, "KUBERNETES_EXEC_INFO": json.dumps(exec_info)}

    def _read(self, text: str) -> Mapping[str, Any]:
        content = as_json(text, f"cannot use {self._source}: what {self._name} printed", ClusterError)
        wanted = self._spec.get("apiVersion")
        if not isinstance(content, dict) or content.get("kind") != "ExecCredential":
            raise self._wrong("printed something else than an ExecCredential")
        if content.get("apiVersion") != wanted:
            raise self._wrong(f"answers in another apiVersion than {wanted}, which the kubeconfig names")
        status = content.get("status")
        keys = ("token", "clientCertificateData", "clientKeyData", "expirationTimestamp")
        if not isinstance(status, dict) or not all(isinstance(status.get(key) or "", str) for key in keys):
            raise self._wrong("printed an ExecCredential without a status that can be used")
        if not status.get("token") and not (
            status.get("clientCertificateData") and status.get("clientKeyData")
        ):
            raise self._wrong("printed neither a token nor a certificate with its key")
        return status

    def _time(self, text: str | None) -> datetime | None:
        try:
            return datetime.fromisoformat(text) if text else None
        except ValueError:
            raise self._wrong("printed an expirationTimestamp that is not a time") from None

    @property
    def _name(self) -> str:
        return f"the credential plugin {self._spec.get('command')!r} of the user {self._choice.user_name!r}"

    def _complaint(self, output: bytes) -> str:
        words = self._redactor.redact(output.decode("utf-8", errors="replace").strip())[-_MOST_WORDS:]
        return f". It says: {words}" if words else ", without a word"

    def _wrong(self, why: str) -> ClusterError:
        return ClusterError(f"cannot use {self._source}: {self._name} {why}")
