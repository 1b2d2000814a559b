"""The settings of the kubernetes client for one user of a kubeconfig: where the server is, and what proves who asks."""

from __future__ import annotations

import base64
import os
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import kubernetes.client
import urllib3
from kubernetes.config.kube_config import FileOrData, KubeConfigLoader

from kubeharden.edges.cluster.plugin import Plugin
from kubeharden.edges.ports import Clock
from kubeharden.errors import ClusterError
from kubeharden.facts.kubeconfig import Choice
from kubeharden.facts.proxies import environment_proxy, proxy_login, proxy_problem
from kubeharden.formats import read_file
from kubeharden.redaction import Redactor

DROPPED = ("azure", "gcp")  # the providers that kubectl has no more, from 1.26 on
_TOKEN = "BearerToken"  # noqa: S105 - the client's name for it
_LOGIN = ("username", "password")
_OWN = (*_LOGIN, "token", "tokenFile", "client-certificate", "client-certificate-data")
_CERTIFICATES = {"clientCertificateData": "client-certificate-data", "clientKeyData": "client-key-data"}


class Credential:
    """Proof to an API server of who asks, as a kubeconfig says.

    Args:
        folder: of the kubeconfig: relative paths begin there.
        source: what the kubeconfig is, for messages.
        redactor: learns what is secret.
    """

    def __init__(self, choice: Choice, folder: Path, source: str, redactor: Redactor, clock: Clock) -> None:
        self._choice, self._folder, self._source, self._redactor = choice, folder, source, redactor
        user = choice.user
        # As kubectl does (tried with 1.37.2): what the kubeconfig itself has counts, and the plugin is not asked.
        has_plugin = user.get("exec") and not any(user.get(name) for name in _OWN)
        self._plugin = Plugin(choice, folder, source, redactor, clock) if has_plugin else None

    def settings(self) -> kubernetes.client.Configuration:
        """Return the settings of a client.

        Raises:
            ClusterError: the credential cannot be used.
            Exception: as the client raises it.
        """
        provider = (self._choice.user.get("auth-provider") or {}).get("name")
        if provider in DROPPED and not self._choice.user.get("token"):  # the client would run what it names
            raise self._no_provider(provider)
        settings = kubernetes.client.Configuration()
        # urllib3 by itself would send a GET again and a POST not, and take four seconds for a timeout of one.
        settings.retries = urllib3.Retry(total=0, redirect=0)
        user = self._user()
        content = self._choice.content(user)
        KubeConfigLoader(content, config_base_path=str(self._folder)).load_and_set(settings)
        # The loader reads one for https alone; a kubelet is asked over TLS in any case.
        if not settings.cert_file:
            names = ("client-certificate", "client-key")
            files = (FileOrData(user, name, file_base_path=str(self._folder)).as_file() for name in names)
            settings.cert_file, settings.key_file = files
        if any(self._choice.user.get(name) for name in _LOGIN) and _TOKEN not in settings.api_key:
            login = ":".join(
                self._choice.user.get(name) or "" for name in _LOGIN
            )  # the loader wants both, in Latin-1
            settings.api_key[_TOKEN] = f"Basic {base64.b64encode(login.encode()).decode()}"
        self._set_proxy(settings)
        self._check_certificates(settings)
        if self._choice.user.get("auth-provider") and _TOKEN not in settings.api_key:
            raise self._no_provider(provider)
        for value in settings.api_key.values():
            self._redactor.remember(value.partition(" ")[2])
        if self._token() and (self._plugin or self._choice.user.get("tokenFile")):
            settings.refresh_api_key_hook = self._refresh
        return settings

    def _user(self) -> Mapping[str, Any]:
        """Return the user without what the client would have to run or read again."""
        read = ("exec", "tokenFile", *_LOGIN)
        user = {key: value for key, value in self._choice.user.items() if key not in read}
        if token := self._token():
            return {**user, "token": token}
        status = self._plugin.status() if self._plugin else {}
        data = {
            field: base64.b64encode(status[key].encode()).decode()
            for key, field in _CERTIFICATES.items()
            if status.get(key)
        }
        return {**user, **data}

    def _token(self) -> str:
        """Return the token as it is now: a file may hold another one by now, and a plugin's may have ended."""
        user = self._choice.user
        token_text = self._plugin.status().get("token") or "" if self._plugin else user.get("token") or ""
        if user.get("tokenFile"):
            path = self._folder / user["tokenFile"]
            try:
                token_text = (
                    read_file(path, f"the tokenFile of {self._source}", ClusterError).strip() or token_text
                )
            except ClusterError:
                if not token_text:  # client-go goes on with the token where the file cannot be read
                    raise
        token: str = token_text.strip()
        if not token.isprintable() or not token.isascii():
            raise self._wrong("its token has a line break in it, or characters that a header cannot have")
        if user.get("tokenFile") and not token:
            raise self._wrong(f"its tokenFile {user['tokenFile']!r} is empty")
        self._redactor.remember(token)
        return token

    def _refresh(self, settings: kubernetes.client.Configuration) -> None:
        settings.api_key[_TOKEN] = f"Bearer {self._token()}"

    def _set_proxy(self, settings: kubernetes.client.Configuration) -> None:
        """Set the proxy that kubectl would use; the client's own choice is another one.

        Raises:
            ClusterError: it cannot be used.
        """
        own = self._choice.cluster.get("proxy-url") or ""
        named = "" if own else environment_proxy(settings.host, os.environ)
        if problem := proxy_problem(named) if named else "":
            raise ClusterError(
                f"cannot use {self._source}: the environment names a proxy for {settings.host} (HTTPS_PROXY and the "
                f"like): {problem}"
            )
        settings.proxy = own or named or None
        settings.no_proxy = None
        if settings.proxy and (login := proxy_login(settings.proxy)):
            for password in (login, urlsplit(settings.proxy).password or ""):
                self._redactor.remember(password.rpartition(":")[2])
            settings.proxy_headers = urllib3.make_headers(proxy_basic_auth=login)

    def _check_certificates(self, settings: kubernetes.client.Configuration) -> None:
        """Check the certificates: the client would with a request, and ask a terminal for a key's passphrase."""
        context = ssl.create_default_context()
        try:
            what = f"certificate-authority of the cluster {self._choice.cluster_name!r}"
            if settings.ssl_ca_cert:
                context.load_verify_locations(settings.ssl_ca_cert)
            what = f"client-certificate and client-key of the user {self._choice.user_name!r}"
            if settings.cert_file:
                context.load_cert_chain(settings.cert_file, settings.key_file, password=lambda: "")
        except (OSError, ValueError) as error:  # an SSLError is an OSError
            why = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
            raise ClusterError(
                f"cannot use {self._source}: {what} cannot be read as PEM without a passphrase: {why}"
            ) from None

    def _no_provider(self, name: object) -> ClusterError:
        return self._wrong(f"its auth-provider {name!r} gives no credential here; use a plugin (exec)")

    def _wrong(self, why: str) -> ClusterError:
        return ClusterError(f"cannot use {self._source}: the user {self._choice.user_name!r}: {why}")
