"""Where a kubelet is asked on its own node, and which certificates it may show."""

from __future__ import annotations

import hashlib

import pytest

from kubeharden.facts import FileFact, ServiceFacts, observation_request
from kubeharden.facts.addresses import own_address
from kubeharden.facts.parser import _certificates
from kubeharden.releases import find_component

PORT = find_component("kubelet").own_port
CONFIG = "/var/lib/kubelet/config.yaml"


@pytest.mark.parametrize(
    ("words", "config", "found"),
    [
        ("", None, ("127.0.0.1", 10250)),
        ("--address=0.0.0.0", None, ("127.0.0.1", 10250)),
        ("--address=::", None, ("127.0.0.1", 10250)),
        ("--address=10.0.0.7 --port=10260", None, ("10.0.0.7", 10260)),
        ("", "address: 10.0.0.7\nport: 10260\n", ("10.0.0.7", 10260)),
        ("--address=10.0.0.8", "address: 10.0.0.7\n", ("10.0.0.8", 10250)),
        ("", "port: twelve\n", ("127.0.0.1", 10250)),
        ("", "port: 99999\n", ("127.0.0.1", 10250)),
        ("--no-such-flag", None, ("127.0.0.1", 10250)),
    ],
)
def test_it_is_asked_where_it_listens(words: str, config: str | None, found: tuple[str, int]) -> None:
    files = {} if config is None else {CONFIG: FileFact(CONFIG, "644", "root", "root", config)}
    given = [] if config is None else [f"--config={CONFIG}"]
    service = ServiceFacts(
        "kubelet", files=files, cmdline=("/usr/bin/kubelet", *given, *words.split()), version="v1.36.0"
    )
    assert PORT is not None
    assert own_address(service, PORT) == found


def test_certificates_are_told_by_their_bytes_and_what_is_not_one_is_nothing() -> None:
    block = "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n"
    text = "".join(map(block.format, ("YWJj", "YWJj", "ZA", "c3d\nvcmQ=", "not base64")))
    assert _certificates(text) == tuple(hashlib.sha256(one).hexdigest() for one in (b"abc", b"sword"))
    assert _certificates("") == ()


def test_the_node_is_told_where_they_are() -> None:
    [kubelet] = [word for word in observation_request(["kubelet"]) if word.startswith("kubelet,")]
    assert (
        "certificates=tls-cert-file:tlsCertFile:cert-dir:/var/lib/kubelet/pki:kubelet.crt:kubelet-s"
        in kubelet
    )
