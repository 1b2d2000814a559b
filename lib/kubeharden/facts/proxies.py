"""Proxies between this machine and an API server: which one counts, as kubectl finds it, and which can be used. Pure.

What the environment says is read as Go does (golang.org/x/net/http/httpproxy, ``FromEnvironment``; CIDRs in NO_PROXY:
``NewProxierWithNoProxyCIDR`` of k8s.io/apimachinery). A ``proxy-url`` of the kubeconfig counts before it, and for every
address. ALL_PROXY is not one of Go's variables.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import unquote, urlsplit

_VARIABLES = {"https": ("HTTPS_PROXY", "https_proxy"), "http": ("HTTP_PROXY", "http_proxy")}
_EXCEPTIONS = ("NO_PROXY", "no_proxy")
_PORTS = {"https": "443", "http": "80"}


def environment_proxy(server: str, environment: Mapping[str, str]) -> str:
    """Return the proxy that the environment names for a server, with its kind; empty for none.

    Args:
        server: the address of an API server, such as ``https://10.0.0.1:6443``.
        environment: the variables of this process.
    """
    parts = urlsplit(server)
    named = _first(environment, _VARIABLES.get(parts.scheme, ()))
    host, port = (parts.hostname or "").lower(), str(parts.port or _PORTS.get(parts.scheme, ""))
    if not named or _is_spared(host, port, _first(environment, _EXCEPTIONS)):
        return ""
    kind, has_kind, rest = named.partition("://")
    return named if has_kind and kind and rest.strip("/") else f"http://{named}"


def proxy_problem(address: str) -> str:
    """Return why a proxy cannot be used; empty where it can. What else the address says may be secret."""
    if is_address(address):
        return ""
    kind, has_kind, _ = address.partition("://")
    if not has_kind:
        return "the proxy has no kind before it; expected http:// or https://, a host and a port"
    if kind.lower() in ("http", "https"):
        return "the proxy has no host, or a port that is not a number up to 65535"
    way_out = ""
    if kind.lower().startswith("socks"):
        way_out = ". In place of SOCKS, forward the API server's port: ssh -L 6443:APISERVER:6443 JUMPHOST"
    return f"a proxy of the kind {kind[:20]!r} cannot be used; expected http:// or https://{way_out}"


def proxy_login(address: str) -> str:
    """Return ``user:password`` of a proxy's address, as it goes over the wire; empty for none."""
    parts = urlsplit(address)
    if parts.username is None:
        return ""
    return f"{unquote(parts.username)}:{unquote(parts.password or '')}"


def is_address(text: str) -> bool:
    """Return whether a text is an address of HTTP with a host."""
    try:
        parts = urlsplit(text)  # which forgives blanks around it, as no client does
        return (
            text == text.strip()
            and parts.scheme in ("http", "https")
            and bool(parts.hostname)
            and (parts.port or 1) > 0
        )
    except ValueError:
        return False


def _first(environment: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((value for name in names if (value := environment.get(name, ""))), "")


def _is_spared(host: str, port: str, exceptions: str) -> bool:
    """Return whether requests to a host go past the proxy; those to this machine itself always do."""
    address = _address(host)
    if host == "localhost" or (address is not None and address.is_loopback):
        return True
    return any(_spares(entry, host, port) for entry in exceptions.lower().split(","))


def _spares(entry: str, host: str, port: str) -> bool:
    entry, address = entry.strip(), _address(host)
    if entry == "*":
        return True
    if "/" in entry:
        try:
            return address is not None and address in ip_network(entry, strict=False)
        except ValueError:
            return False
    name, its_port = _split(entry)
    if (its_port and its_port != port) or not name:
        return False
    if address is not None or _address(name) is not None:
        return address is not None and address == _address(name)
    # example.org is the host and those below it; .example.org and *.example.org are those below it alone.
    below = name.removeprefix("*") if name.startswith("*.") else name
    return host.endswith(below) if below.startswith(".") else host == below or host.endswith(f".{below}")


def _split(entry: str) -> tuple[str, str]:
    """Return name and port of ``name:port`` or ``[address]:port``; the port is empty for another form."""
    name, colon, port = entry.rpartition(":")
    if not colon or (":" in name and not (name.startswith("[") and name.endswith("]"))):
        return entry, ""
    return name.removeprefix("[").removesuffix("]"), port


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None
