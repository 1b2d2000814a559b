"""Secrets never reach an output, and what is not a secret stays readable."""

from __future__ import annotations

import copy
import importlib
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pkgutil import iter_modules

import pytest

from kubeharden import redaction
from kubeharden.redaction import Redactor, Secrets, Sensitive, excerpt
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
def test_secrets_are_taken_out(redactor: Redactor, text: str, secret: str) -> None:
    assert secret not in redactor.redact(text)
    assert "‹redacted sha256:" in redactor.redact(text)
    assert redactor.redact(redactor.redact(text)) == redactor.redact(text)


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
def test_what_is_no_secret_stays(redactor: Redactor, text: str) -> None:
    assert redactor.redact(text) == text


def test_what_one_redactor_learns_is_in_no_module_and_no_other_redactor() -> None:
    before = _mutable_globals()
    redactor = Redactor(["--max-pods"])
    redactor.remember("correct-horse-battery")
    redactor.withhold(Secrets({"planted-1"}, {"harmless"}))
    text = f"--made-up=1 planted-1 correct-horse-battery {KEY}"
    assert redactor.redact(text).count("‹redacted") == 4
    assert redactor.redact_data({"kind": "Secret", "data": {"a": "cGxhbnRlZC0yIQ=="}, "token": "t"})
    assert "planted-2!" not in redactor.redact("planted-2!")
    assert _mutable_globals() == before
    other = Redactor()
    assert (
        other.redact("planted-1 correct-horse-battery planted-2!")
        == "planted-1 correct-horse-battery planted-2!"
    )
    assert other.redact(KEY) != redactor.redact(KEY), (
        "marks differ, so that nobody can try secrets against them"
    )


def _mutable_globals() -> dict[str, object]:
    """The content of every object in the modules of redaction that can change."""
    modules = [
        importlib.import_module(f"{redaction.__name__}.{m.name}") for m in iter_modules(redaction.__path__)
    ]
    return {
        f"{module.__name__}.{name}": copy.deepcopy(value)
        for module in (redaction, *modules)
        for name, value in vars(module).items()
        if isinstance(value, (dict, list, set, bytearray)) and not name.startswith("__")
    }


def test_threads_share_a_redactor(redactor: Redactor) -> None:
    def learn(thread: int) -> list[str]:
        shown = []
        for number in range(100):
            secret = f"planted-{thread}-{number:03}-secret"
            redactor.withhold(Secrets({secret}, {f"harmless-{thread}-{number}"}))
            redactor.remember(f"{secret}!")
            shown.append(redactor.redact(f"{secret} and {secret}!"))
        return shown

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            texts = [text for shown in pool.map(learn, range(4)) for text in shown]
    finally:
        sys.setswitchinterval(interval)
    assert not [text for text in texts if "planted" in text]


def test_a_remembered_secret_is_taken_out_wherever_it_stands(redactor: Redactor) -> None:
    redactor.remember("correct-horse-battery")
    assert "correct-horse-battery" not in redactor.redact("said: correct-horse-battery!")


@pytest.mark.parametrize(
    "text",
    [
        "k8s-node1 is one of two nodes",
        "Internode, nodePort, NODE",
        '{"path": "/var/lib/nodes/x"}',
    ],
)
def test_a_password_that_is_a_word_does_not_tear_others_apart(redactor: Redactor, text: str) -> None:
    redactor.remember("node")
    assert redactor.redact(text) == text


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
def test_a_password_that_is_a_word_is_taken_out_where_it_is_one(redactor: Redactor, text: str) -> None:
    redactor.remember("node")
    assert "redacted" in redactor.redact(text)
    left = re.sub(r"‹redacted sha256:\w{8}›", "", redactor.redact(text))
    assert "node" not in left.replace("nodes", "")
    assert "bm9k" not in left


@pytest.mark.parametrize("secret", ["Tr0ub4dor", "a!b?", "correct-horse-battery", "hunter2horse", "a" * 16])
def test_a_password_that_no_text_has_by_chance_is_taken_out_of_words_too(
    redactor: Redactor, secret: str
) -> None:
    redactor.remember(secret)
    assert secret not in redactor.redact(f"x{secret}y9{secret}0")


def test_a_short_number_is_no_part_of_a_digest(redactor: Redactor) -> None:
    for secret in ("1234", "cafe", "0dd5"):
        redactor.remember(secret)
    digest = "ab1234cafe00dd5f" * 4
    assert redactor.redact(digest) == digest
    assert redactor.redact("pin 1234") != "pin 1234"
    assert redactor.redact("cafe, 0dd5").count("redacted") == 2


def test_fields_keep_their_names_whatever_the_password_is(redactor: Redactor) -> None:
    redactor.remember("node")
    redactor.remember("Tr0ub4dor")
    shown = redactor.redact_data({"node": "k8s-node1", "said": "node", "Tr0ub4dor": [{"node": "node"}]})
    assert shown["node"] == "k8s-node1"
    assert str(shown).count("'node'") == 2
    assert "'node': '‹redacted" in str(shown)
    assert "Tr0ub4dor" not in str(shown)


def test_what_is_learnt_later_is_taken_out_of_a_text_that_was_shown_before(redactor: Redactor) -> None:
    text = "the nodes are called hunter2horse, hunter3horse and hunter4horse"
    assert redactor.redact(text) == redactor.redact(text) == text
    redactor.remember("hunter2horse")
    assert "hunter2horse" not in redactor.redact(text)
    redactor.withhold(Secrets({"hunter3horse", "hunter4horse"}))
    assert "hunter3horse" not in redactor.redact(text)
    redactor.withhold(Secrets(harmless={"hunter3horse"}))
    assert "hunter3horse" in redactor.redact(text)
    assert "hunter4horse" not in redactor.redact(text)


def test_every_block_of_a_view_is_redacted_and_escaped() -> None:
    text = f"<b>--token={TOKEN}</b>"
    view = View([Table(text, ("h",), [(text,)]), Diff("d", f"+{text}"), Message(text)])
    html, plain = view._repr_html_(), str(view)
    assert TOKEN not in html
    assert TOKEN not in plain
    assert "<b>" not in html


def test_an_excerpt_ends_with_a_word() -> None:
    assert excerpt("one two three", 13) == "one two three"
    assert excerpt("one two three", 9) == "one two …"
    assert excerpt("one two three", 7) == "one two …"
    assert excerpt("planted-secret", 5) == "…"
    assert excerpt(Sensitive("ok planted-secret", spans=[(3, 17)]), 80) == "ok ‹redacted›"
