"""Secrets never reach an output, and what is no secret stays readable."""

from __future__ import annotations

import re

import pytest

from kubeharden.redaction.redact import redact, redact_data, remember
from kubeharden.show.display import Diff, Message, Table, View

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


@pytest.mark.parametrize(
    "text",
    [
        "k8s-node1 is one of two nodes",
        "Internode, nodePort, NODE",
        '{"path": "/var/lib/nodes/x"}',
    ],
)
def test_a_password_that_is_a_word_does_not_tear_others_apart(text: str) -> None:
    remember("node")
    assert redact(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "password=node",
        "node\n",
        "node",
        "echo node|sudo -S true",
        "ops:node@host",
        "two nodes, node",
        "DB_node_X",
        "mysql -pnode -h db",
        r"Permission denied\nnode\n",
        r'{"said": "\u001b[31mnode\u001b[0m"}',
        r"\x0anode",
        "?p=%0Anode",
        "\x1b[31mnode\x1b[0m",
        "bm9kZQ==",
    ],
)
def test_a_password_that_is_a_word_is_taken_out_where_it_is_one(text: str) -> None:
    remember("node")
    assert "redacted" in redact(text)
    left = re.sub(r"‹redacted sha256:\w{8}›", "", redact(text))
    assert "node" not in left.replace("nodes", "")
    assert "bm9k" not in left


@pytest.mark.parametrize("secret", ["Tr0ub4dor", "a!b?", "correct-horse-battery", "hunter2horse", "a" * 16])
def test_a_password_that_no_text_has_by_chance_is_taken_out_of_words_too(secret: str) -> None:
    remember(secret)
    assert secret not in redact(f"x{secret}y9{secret}0")


def test_a_short_number_is_no_part_of_a_digest() -> None:
    for secret in ("1234", "cafe", "0dd5"):
        remember(secret)
    digest = "ab1234cafe00dd5f" * 4
    assert redact(digest) == digest
    assert redact("pin 1234") != "pin 1234"
    assert redact("cafe, 0dd5").count("redacted") == 2


def test_fields_keep_their_names_whatever_the_password_is() -> None:
    remember("node")
    remember("Tr0ub4dor")
    shown = redact_data({"node": "k8s-node1", "said": "node", "Tr0ub4dor": [{"node": "node"}]})
    assert shown["node"] == "k8s-node1"
    assert str(shown).count("'node'") == 2
    assert "'node': '‹redacted" in str(shown)
    assert "Tr0ub4dor" not in str(shown)


def test_every_block_of_a_view_passes_the_gate_and_is_escaped() -> None:
    text = f"<b>--token={TOKEN}</b>"
    view = View([Table(text, ("h",), [(text,)]), Diff("d", f"+{text}"), Message(text)])
    html, plain = view._repr_html_(), str(view)
    assert TOKEN not in html
    assert TOKEN not in plain
    assert "<b>" not in html
