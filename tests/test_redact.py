"""Secrets never reach an output, and what is no secret stays readable."""

from __future__ import annotations

import pytest

from kubeharden.display import Diff, Message, Table, View
from kubeharden.redact import redact, remember

TOKEN = "abcdef.0123456789abcdef"
JWT = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJrdWJlIn0.c2lnbmF0dXJl"
KEY = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----"


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (f"--token={TOKEN}", TOKEN),
        (f"kubelet --bootstrap-token {TOKEN} --v=2", TOKEN),
        (f"Authorization: Bearer {JWT}", JWT),
        (f"x {KEY} y", "MIIEow"),
        ("client-key-data: LS0tLS1CRUdJTiBSU0E", "LS0tLS1CRUdJTiBSU0E"),
        ("--etcd-password=hunter2horse", "hunter2horse"),
        ('Environment="DB_PASSWORD=hunter2horse"', "hunter2horse"),
        ("secret: 'hunter2horse'", "hunter2horse"),
        ("API_KEY=hunter2horse", "hunter2horse"),
        ("AWS_SECRET_ACCESS_KEY=hunter2horse", "hunter2horse"),
        ("HTTPS_PROXY=http://ops:hunter2horse@proxy:3128", "hunter2horse"),
        ('"auth": "aHVudGVyMmhvcnNl"', "aHVudGVyMmhvcnNl"),
        ("--token hunter2horse --v=2", "hunter2horse"),
        ('"password": "two hunter2horse"', "hunter2horse"),
        ("password=a,hunter2horse", "hunter2horse"),
    ],
)
def test_secrets_are_taken_out(text: str, secret: str) -> None:
    assert secret not in redact(text)
    assert "‹redacted sha256:" in redact(text)
    assert redact(redact(text)) == redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "--token-auth-file=/etc/kubernetes/tokens.csv",
        "--service-account-key-file=/etc/kubernetes/pki/sa.pub",
        "--authentication-token-webhook=true",
        "--bootstrap-kubeconfig=/etc/kubernetes/bootstrap.kubeconfig",
        "clusterDNS: 10.0.0.10",
        "tlsCipherSuites: TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        "kind: Secret",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact(text) == text


def test_a_remembered_secret_is_taken_out_wherever_it_stands() -> None:
    remember("correct-horse-battery")
    assert "correct-horse-battery" not in redact("said: correct-horse-battery!")


def test_every_block_of_a_view_passes_the_gate_and_is_escaped() -> None:
    text = f"<b>--token={TOKEN}</b>"
    view = View([Table(text, ("h",), [(text,)]), Diff("d", f"+{text}"), Message(text)])
    html, plain = view._repr_html_(), str(view)
    assert TOKEN not in html
    assert TOKEN not in plain
    assert "<b>" not in html
