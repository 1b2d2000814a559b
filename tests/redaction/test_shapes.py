"""Secrets in every shape in which people, programs and formats write them: the whole value goes, and nothing else."""

from __future__ import annotations

import base64
import json
import textwrap
import time

import pytest
import yaml

from kubeharden.redaction import MARK, Redactor, Secrets
from secret_shapes import TEXTS, secrets_and_rest

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
# How one text stands between others, with a sequence of a terminal in its middle.
TERMINAL = [
    "\x1b[K",
    "\x1b[01;31m\x1b[K",
    "\x1b]8;;https://web/\x1b\\",
    "\x1b]0;title\x07",
    "\x9b31m",
    "\x9d8;;\x9c",
    "\x1bPq\x1b\\",
    "\x1b(B",
    "x\b",
    "x\x1b[D",
    "xy\x9b2D",
    "\x00",
    "\u200b",
    "\xad",
    "\u034f",
    "\u061c",
    "\u3164",
    "\ufe0f",
    "\U000e0041",
    r"\u001b[31m",
    r"\x1b[0m",
]


@pytest.mark.parametrize("shape", TEXTS)
def test_the_whole_value_goes_and_nothing_else(redactor: Redactor, shape: str) -> None:
    secrets, text, rest = secrets_and_rest(TEXTS[shape])
    shown = redactor.redact(text)
    for word in ("hunter", "horse", "battery", *secrets):
        assert word not in shown, shown
    assert shown.count("‹redacted") == len(secrets)
    parts = rest.split("«»")
    for part in parts:
        assert part.strip() in shown, f"{part!r} is no more in {shown!r}"
    assert redactor.redact(shown) == shown


@pytest.mark.parametrize(
    "name", [r"pass\u0077ord", r"\u0070assword", r"pass\x77ord", r"db\u002dpassword", r"pass\\u0077ord"]
)
def test_a_name_in_a_code_names_a_secret_too(redactor: Redactor, name: str) -> None:
    shown = redactor.redact(f'{{"{name}": "hunter horse", "name": "ok"}}')
    assert "hunter" not in shown
    assert "horse" not in shown
    assert shown.endswith('"name": "ok"}')
    assert redactor.redact(r"C:\x41 \u0041 ok") == r"C:\x41 \u0041 ok"


def printed(pieces: list[str]) -> str:
    """What is shown of texts that are printed one after another, each as far as it can be judged then."""
    redactor, held, shown = Redactor(), "", []
    for piece in pieces:
        held += piece
        end = redactor.length_to_judge(held)
        shown.append(redactor.redact(held[:end]))
        held = held[end:]
    return "".join([*shown, redactor.redact(held)])


@pytest.mark.parametrize("shape", TEXTS)
def test_the_whole_value_goes_where_it_is_printed_in_pieces(shape: str) -> None:
    secrets, text, _ = secrets_and_rest(TEXTS[shape])
    for whole in (text, f"ok line\n{text}\nlast\n"):
        lines = whole.splitlines(keepends=True)
        cuts = range(1, len(whole), max(1, len(whole) // 20))
        for pieces in (lines, *([whole[:cut], whole[cut:]] for cut in cuts)):
            shown = printed(pieces)
            for word in ("hunter", "horse", "battery", *secrets):
                assert word not in shown, (pieces, shown)


def test_there_are_enough_of_them() -> None:
    assert len(TEXTS) + len(TERMINAL) >= 60


@pytest.mark.parametrize("sequence", TERMINAL)
@pytest.mark.parametrize("known", ["remembered", "by name", "by form"])
def test_sequences_of_a_terminal_hide_nothing(redactor: Redactor, sequence: str, known: str) -> None:
    whole = "k1u2b3.h4a5r6d7e8n9z0xy"
    if known == "remembered":
        redactor.remember(whole)
    before = "password: " if known == "by name" else "said "
    shown = redactor.redact(f"{before}{whole[:9]}{sequence}{whole[9:]} ok\nok")
    assert whole[9:] not in shown
    assert whole[:9] not in shown
    assert shown.endswith("ok")


def test_sequences_are_never_shown(redactor: Redactor) -> None:
    shown = redactor.redact("".join(f"a{sequence}" for sequence in TERMINAL[:-2]))
    assert shown == "a" * (len(TERMINAL) - 2)
    assert redactor.redact_data({"\x1b[31mred": ["\x9b0mok"]}) == {"red": ["ok"]}


@pytest.mark.parametrize(
    "text",
    [
        "secret:\n  secretName: web-tls\n  defaultMode: 420\n",
        "volumes: [{name: a, secret: {secretName: web-tls, items: [{key: a, path: b}]}}]",
        "{'secret': {'secretName': 'web-tls', 'defaultMode': 420}}",
        "@@ -1,3 +1,3 @@\n secrets:\n-- name: web\n+- name: web-2\n x: y",
        "imagePullSecrets:\n- name: registry\n",
        "- serviceAccountToken: {path: token, expirationSeconds: 3607, audience: api}",
        "automountServiceAccountToken: false",
        '{"token": null, "password": "", "name": "web"}',
        "authentication:\n  webhook: {enabled: true}\nauthorization:\n  mode: Webhook\n",
        "rules:\n- resources: [secrets, tokenreviews]\n  verbs: [get]\n",
        "the password is required; a password is 12 characters, the passphrase is empty, the password was wrong",
        "sudo: password, or nopasswd; the token is asked for once",
        "https://web:8443/a/b@c http://[fd00::1]:80/x ssh://core@node1/",
        "resources: [secrets, pods] ['tokenreviews', 'secrets'] (\"secrets\", \"pods\")",
        "curl -sS -o /dev/null -w '%{http_code}' https://127.0.0.1:6443/healthz; docker run -p 80:80 web",
        "ldapsearch -h; openssl x509 -in a.crt -noout; kubectl config set-context a; net rpc; systemctl status kubelet",
        "- name: KUBELET_ARGS\n  value: --v=2\n- name: other\n  value: b\n  key: c",
        "<b>token</b> is asked for; <dt>name</dt><dd>web</dd>; a -> b; x += 1",
        '<span class="del">-  - secret</span><span class="del">-  privileged: false</span>',
        "default: &a {x: y}\nother: *a\n? key\n: value\n",
        "MIIDazCCAlOgAwIBAgIUJ -----BEGIN CERTIFICATE-----\nMIIDazCCAlOgAwIBAgIUJx\n-----END CERTIFICATE-----",
        "2024-05-01T10:00:00.123Z 10.0.0.1:8080 v1.20.2",
    ],
)
def test_what_only_names_a_secret_stays(redactor: Redactor, text: str) -> None:
    assert redactor.redact(text) == text


@pytest.mark.parametrize(
    "data",
    [
        {"password": ["hunter", {"a": "horse"}]},
        {"password": {"value": "hunter", "other": ["horse"]}},
        {"tokens": [["hunter"]]},
        {"env": [{"name": "A", "value": "hunter"}]},
        {"headers": [{"key": "X-Api-Key", "value": "hunter", "disabled": True}]},
        {"args": ["--password", "hunter", "--v=2"]},
        {"args": ("run", "--db-token", "hunter")},
        {"secret": {"secretName": "ok", "password": "hunter"}},
        {"said": json.dumps({"password": 'hun"ter hunter'})},
        {"said": yaml.safe_dump({"password": "hunter " * 30})},
    ],
)
def test_data_holds_no_secret(redactor: Redactor, data: dict) -> None:
    shown = str(redactor.redact_data(data))
    assert "hunter" not in shown
    assert "horse" not in shown
    assert "redacted" in shown


def test_data_that_only_names_a_secret_stays(redactor: Redactor) -> None:
    data = {
        "volumes": [
            {"secret": {"secretName": "web", "items": [{"key": "a", "path": "b"}], "defaultMode": 420}}
        ],
        "projected": {"sources": [{"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}}]},
        "imagePullSecrets": [{"name": "registry"}],
        "automountServiceAccountToken": False,
    }
    assert redactor.redact_data(data) == data


def test_data_that_is_nested_without_end_is_not_shown(redactor: Redactor) -> None:
    deep: list = ["planted"]
    for _ in range(100_000):
        deep = [deep]
    names = ("password", "secret", "kind", "name", "image/svg+xml")
    shown = redactor.redact_data(dict.fromkeys((*names, "other", LAST_APPLIED), deep))
    assert "planted" not in str(shown)


@pytest.mark.parametrize("below", ["- ", "? ", "a: {b: "])
def test_a_text_that_is_nested_without_end_is_no_reference(redactor: Redactor, below: str) -> None:
    shown = redactor.redact(f"secrets:\n  {below * 500}planted\n")
    assert shown.startswith("secrets:\n")
    assert "planted" not in shown


@pytest.mark.parametrize(
    "secret",
    ["planted two words-1", 'planted "quoted" one', "it's planted-1", "grüße-planted-1", "a<b>&planted"],
)
def test_a_known_secret_is_found_however_it_is_written(redactor: Redactor, secret: str) -> None:
    redactor.withhold(Secrets({secret}))
    user = f"user:{secret}".encode()
    for written in (
        secret,
        json.dumps(secret),
        json.dumps({"a": json.dumps(secret)}) if '"' not in secret else secret,
        repr(secret),
        yaml.safe_dump({"a": secret}, allow_unicode=True),
        yaml.safe_dump({"a": f"{'x ' * 36}{secret} {'y ' * 30}"}, allow_unicode=True),
        yaml.safe_dump({"a": secret}, default_style='"'),
        yaml.safe_dump({"a": secret}, default_style="'", allow_unicode=True),
        base64.b64encode(secret.encode()).decode(),
        base64.b64encode(user).decode(),
        base64.b64encode(b"u:" + secret.encode() + b"@host").decode(),
    ):
        assert "planted" not in redactor.redact(f"said {written} ok"), written
        assert "redacted" in redactor.redact(f"said {written} ok"), written


SECRET = "planted-Horse-9/x"
CODES = {
    "hex": SECRET.encode().hex(),
    "a dump": SECRET.encode().hex(" "),
    "pairs": SECRET.encode().hex(":").upper(),
    "base64 twice": base64.b64encode(base64.b64encode(SECRET.encode())).decode(),
    "base64 of more": base64.b64encode(f"user:{SECRET}@host".encode()).decode(),
    "base64 in lines": "\n".join(textwrap.wrap(base64.b64encode(f"u:{SECRET}".encode()).decode(), 12)),
    "base64 of UTF-16": base64.b64encode(SECRET.encode("utf-16-le")).decode(),
    "base64 behind a path": f"a/b/{base64.urlsafe_b64encode(SECRET.encode()).decode()}",
    "a URL": "".join(f"%{byte:02x}" for byte in SECRET.encode()),
    "a part of a URL": f"https://web/{SECRET.replace('H', '%48').replace('/', '%2F')}?a=b",
    "HTML": "".join(f"&#{ord(char)};" for char in SECRET),
    "HTML in hex": "".join(f"&#x{ord(char):x};" for char in SECRET),
    "JSON": "".join(f"\\u{ord(char):04x}" for char in SECRET),
    "JSON in JSON": json.dumps("".join(f"\\u{ord(char):04x}" for char in SECRET)),
    "Python": "".join(f"\\x{ord(char):02x}" for char in SECRET),
    "a shell": "".join(f"\\{ord(char):03o}" for char in SECRET),
    "bytes": str(list(SECRET.encode())),
    "bytes of Go": " ".join(map(str, SECRET.encode())),
    "hex with signs": ", ".join(f"0x{byte:02x}" for byte in SECRET.encode()),
    "JavaScript": "".join(f"\\u{{{ord(char):x}}}" for char in SECRET),
    "hex in base64": base64.b64encode(SECRET.encode().hex().encode()).decode(),
}


@pytest.mark.parametrize("code", CODES)
def test_a_known_secret_is_found_in_codes(redactor: Redactor, code: str) -> None:
    said = f"said ({CODES[code]}), ok"
    assert redactor.redact(said) == said, "nobody knows it yet"
    redactor.withhold(Secrets({SECRET}))
    shown = redactor.redact(said)
    assert "‹redacted" in shown, shown
    assert shown.startswith("said ")
    assert shown.endswith("ok")
    assert len(shown) < 60, shown
    digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert redactor.redact(f"{digest} {base64.b64encode(b'harmless words').decode()} %20a") == (
        f"{digest} {base64.b64encode(b'harmless words').decode()} %20a"
    )


# Of each kind, a run tries one.
HOSTILE = {
    "words": {"blanks": " ", "newlines": "\n", "a long word": "a", "a long name": "a.a-", "erased": "a\b"},
    "names": {
        "names": "password",
        "without values": "password: ",
        "variables": "Environment=A=b \\\n",
        "blocks": "password:\n  a\n",
        "a diff": "@@ -1\n+password:\n-  x\n",
        "dots and dashes": "-.tokenx",
        "references in one line": "secret: {",
    },
    "quotes": {
        "open": "password: '\npassword: \"\npassword: `\n",
        "escaped": 'password="\\"',
        "backslashes": "\\",
        "backslashes and quotes": '\\\\\\"password',
    },
    "brackets": {"open": 'password: [{"\n', "elements": "<password a", "cells": "password</td><td>"},
    "objects": {
        "references": "kind: Secret\nsecret: {name: a}\n",
        "items": "kind: Secret data: {",
        "data in one line": "stringData: ",
    },
    "programs": {
        "htpasswd": "htpasswd -b a ",
        "echo": "echo a|sudo ",
        "sets": "ENV a ",
        "words": "mysql -a login a ",
        "flags": "--a=b --token x ",
        "pgpass": "a:5432:a:a:",
        "curl": "curl -u a:b ",
        "a curl": "curl -s ",
        "logins": "login -s ",
        "printed words": "printf a|su ",
        "here-documents": "password=<<A\n",
        "here-documents of others": "password=$(cat <<A\n",
    },
    "pairs": {
        "values": "value: a ",
        "values without names": "value: \n",
        "anchors": "password: *a\n- &a b\n",
        "anchors of others": "password: *a0\n- &a1",
        "pairs": '["token", "',
        "fields": "<input value=",
        "keys of their own line": "? password\n",
        "folded words": "{password: a\n  ",
        "keys of PuTTY": "Private-Lines: 1\nAAAA\n",
        "keys without lines": "MIIEpAIBAAKCAQEA\n",
    },
    "codes": {
        "hex": "61",
        "base64": "YWFh",
        "base64 in lines": "YWFhYWFh\n",
        "escapes": "%41&#65;\\u0041",
        "bytes": "65, ",
        "hex with signs": "0x61, ",
    },
    "forms": {
        "tokens": "eyJabcdefgh.",
        "keys that begin": "-----BEGIN PRIVATE KEY-----",
        "schemes": "a://u:",
        "dots before a scheme": "a.a://",
    },
    "breaks": {
        "sequences": "\x1b]8;;\x1b[",
        "tags": "planted<b>-</b>",
        "tags that are open": "planted-<b ",
        "lines": "planted-\n",
        "blanks at the ends of lines": "a       \t",
        "comments": "<!-- ",
        "attributes": '<a b="',
        "entities": "&shy;&#0",
        "margins": "\n> ",
        "cursors": "a\x1b[2D",
    },
}


@pytest.mark.sample(1, of="shape")
@pytest.mark.parametrize(("kind", "shape"), [(kind, shape) for kind in HOSTILE for shape in HOSTILE[kind]])
def test_time_grows_with_the_text_and_no_faster(kind: str, shape: str) -> None:
    redactor = Redactor(["--v"])
    redactor.withhold(Secrets({f"planted-{number}" for number in range(1000)}))
    piece = HOSTILE[kind][shape]
    text = piece * (100_000 // len(piece))
    start = time.process_time()
    redactor.redact(text)
    redactor.length_to_judge(f"{text}\n")
    assert time.process_time() - start < 8


@pytest.mark.parametrize(
    ("begin", "end"),
    [
        ("-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----"),
        ("---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----", "---- END SSH2 ENCRYPTED PRIVATE KEY ----"),
        ("Private-Lines: 1", "Private-MAC: a"),
        ("apiVersion: v1", "\nkind: Pod"),
        (f"MIIEpAIBAAKCAQEA{'A' * 48}\n", ""),
        ("a\\\n", ""),
    ],
)
def test_how_much_can_be_judged_is_told_in_time(redactor: Redactor, begin: str, end: str) -> None:
    begins = begin * (100_000 // len(begin))
    ended, start = f"ok\n{begins}{end}\n{'x' * 100_000}!\n", time.process_time()
    assert redactor.length_to_judge(ended) == len(ended)
    assert time.process_time() - start < 2
    assert redactor.length_to_judge(f"ok\n{begins}") == 3


@pytest.mark.parametrize(
    ("begin", "piece"), [("encrypt", "\\"), ("&#65;", "\\"), ("", "-U=;"), ("", "mysql"), ("", ":thin:a/")]
)
def test_words_of_one_letter_after_another_are_looked_at_once(
    redactor: Redactor, begin: str, piece: str
) -> None:
    redactor.remember("planted-1")
    start = time.process_time()
    redactor.redact(begin + piece * (200_000 // len(piece)))
    redactor.redact_data({"image/svg+xml": f"<svg><image href={' ' * 200_000}#a></svg>"})
    assert time.process_time() - start < 4


BROKEN = "corr3ct-horse-b4ttery"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("said corr3ct-ho\nrse-b4ttery, ok", "said ‹›\n, ok"),
        ("said corr3ct-ho\\\n    rse-b4ttery, ok", "said ‹›\\\n    , ok"),
        ("said corr3ct-\r\nhorse-\r\nb4ttery, ok", "said ‹›\r\n\r\n, ok"),
        ("<b>corr3ct</b>-<span class='a'>horse</span>-b4ttery ok", "<b>‹›</b><span class='a'></span> ok"),
        ("corr3ct-<wbr>horse-<wbr>b4ttery", "‹›<wbr><wbr>"),
        ("corr3ct&shy;-horse-b&#8203;4ttery ok", "‹›&shy;&#8203; ok"),
        ("corr3ct<wbr class='a>b'>-horse-<!-- a > b -->b4ttery", "‹›<wbr class='a>b'><!-- a > b -->"),
        (r"corr3ct\-horse\-b4ttery ok", r"‹›\\ ok"),
        ("corr3ct-\u2028horse-b4ttery ok", "‹›\u2028 ok"),
        ("+corr3ct-\n+horse-b4ttery ok", "+‹›\n+ ok"),
        ("> corr3ct-\n> horse-b4ttery ok", "> ‹›\n>  ok"),
        ("corr3ct-\nhorse-b4ttery corr3ct-horse-\nb4ttery", "‹›\n ‹›\n"),
    ],
)
def test_a_known_secret_that_is_broken_goes_and_what_broke_it_stays(
    redactor: Redactor, text: str, left: str
) -> None:
    assert redactor.redact(text) == text, "nobody knows it yet"
    for know in (lambda: redactor.withhold(Secrets({BROKEN})), lambda: redactor.remember(BROKEN)):
        know()
        assert MARK.sub("‹›", redactor.redact(text)) == left


def test_words_that_meet_by_chance_stay(redactor: Redactor) -> None:
    redactor.withhold(Secrets({"deadbeef", "nodes", "kubelet.service"}))
    text = "dead\nbeef no\ndes <b>kubelet.</b>service"
    assert redactor.redact(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "fd00:1:a:b:c",
        "main.c:10:5:error:no such file",
        "10:20:30:40:50",
        "a:b:c:d:e",
        "pinned: true",
        "spin: 3",
    ],
)
def test_what_looks_like_pgpass_or_a_pin_stays(redactor: Redactor, text: str) -> None:
    assert redactor.redact(text) == text
