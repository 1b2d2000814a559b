"""The proxy for an API server is the one that Go's httpproxy finds in the environment."""

from __future__ import annotations

import pytest

from kubeharden.facts.proxies import environment_proxy, proxy_login, proxy_problem

SERVER = "https://10.0.0.1:6443"


@pytest.mark.parametrize(
    ("named", "found"),
    [
        ("", ""),
        ("proxy:3128", "http://proxy:3128"),
        ("10.9.9.9:3128", "http://10.9.9.9:3128"),
        ("me:pass@proxy:3128", "http://me:pass@proxy:3128"),
        ("proxy", "http://proxy"),
        ("[fd00::1]:3128", "http://[fd00::1]:3128"),
        ("http://proxy:3128", "http://proxy:3128"),
        ("https://proxy", "https://proxy"),
        ("socks5://proxy:1080", "socks5://proxy:1080"),
    ],
)
def test_a_proxy_without_a_kind_is_one_of_http(named: str, found: str) -> None:
    assert environment_proxy(SERVER, {"HTTPS_PROXY": named}) == found
    assert environment_proxy(SERVER, {"HTTPS_PROXY": "", "https_proxy": named}) == found
    assert environment_proxy(SERVER, {"https_proxy": "other", "HTTPS_PROXY": named or "other"}) == (
        found or "http://other"
    )
    assert environment_proxy(SERVER, {"HTTP_PROXY": named, "ALL_PROXY": named}) == ""
    assert environment_proxy(SERVER.replace("https", "http"), {"HTTP_PROXY": named}) == found
    assert bool(proxy_problem(found)) is (found in ("", "socks5://proxy:1080"))


@pytest.mark.parametrize(
    ("server", "exceptions", "is_spared"),
    [
        ("https://10.0.0.1:6443", "10.0.0.0/8", True),
        ("https://10.0.0.1:6443", "10.0.0.7/8", True),
        ("https://10.0.0.1:6443", "192.168.0.0/16, 10.0.0.1", True),
        ("https://10.0.0.1:6443", "10.0.0.1:6443", True),
        ("https://10.0.0.1:6443", "10.0.0.1:443", False),
        ("https://10.0.0.1", "10.0.0.1:443", True),
        ("https://10.0.0.1:6443", "10.0.0", False),
        ("https://10.0.0.1:6443", "0.0.1", False),
        ("https://10.0.0.1:6443", "10.*", False),
        ("https://10.0.0.1:6443", "10.0.0.0/33,x/y", False),
        ("https://10.0.0.1:6443", "*", True),
        ("https://[fd00::1]:6443", "fd00::/8", True),
        ("https://[fd00::1]:6443", "fd00::1", True),
        ("https://[fd00::1]:6443", "[fd00::1]:6443", True),
        ("https://[fd00::1]:6443", "[fd00::1]", False),  # Go takes it for the name of a domain
        ("https://[fd00::1]:6443", "10.0.0.0/8", False),
        ("https://k8s.example.org:6443", "example.org", True),
        ("https://k8s.example.org:6443", ".example.org", True),
        ("https://k8s.example.org:6443", "*.example.org", True),
        ("https://K8s.Example.org:6443", " k8s.EXAMPLE.org ", True),
        ("https://k8s.example.org:6443", "k8s.example.org:6443", True),
        ("https://k8s.example.org:6443", "k8s.example.org:443", False),
        ("https://k8s.example.org:6443", "ample.org", False),
        ("https://example.org:6443", ".example.org", False),
        ("https://example.org:6443", "*.example.org", False),
        ("https://example.org:6443", "10.0.0.0/8,,:6443", False),
        ("https://localhost:6443", "", True),
        ("https://127.0.0.9:6443", "", True),
        ("https://[::1]:6443", "", True),
    ],
)
def test_exceptions_are_those_of_go(server: str, exceptions: str, is_spared: bool) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        found = environment_proxy(server, {"https_proxy": "proxy:3128", name: exceptions})
        assert found == ("" if is_spared else "http://proxy:3128")


def test_the_login_of_a_proxy_is_written_out() -> None:
    assert proxy_login("http://a%40b:c%3Ad@proxy") == "a@b:c:d"
    assert proxy_login("http://a@proxy") == "a:"
    assert proxy_login("http://proxy") == ""
