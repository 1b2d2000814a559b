"""Secrets in every shape in which people, programs and formats write them: the whole value goes, and nothing else."""

from __future__ import annotations

import base64
import json
import time

import pytest
import yaml

from kubeharden.redaction import Redactor, Secrets

ENCODED_KEY = base64.b64encode(b"-----BEGIN RSA PRIVATE KEY-----" + b"x" * 30).decode()
# What is secret stands between « and »; it may be any text, an ordinary word too. "ok" stays.
TEXTS = {
    "one word": "password: «hunter»",
    "a second word": "password: «correct horse battery»\nname: ok",
    "a second word of a variable": "DB_PASSWORD=«correct horse»\nname=ok",
    "a second word in quotes": 'x: "DB_PASSWORD=«correct horse»" ok',
    "words before the next variable": "password=«correct horse» user=ok --v=2",
    "a second word in a log": 'level=ok msg="cannot log in" password="«correct horse»" user=ok',
    "a second word in an argument": "--etcd-password='«correct horse»' --v=2 ok",
    "one quoted after another": "DB_PASSWORD=«a\"b c\"'d e'»\nname=ok",
    "a flow list": 'password: «["hunter", "horse"]»\nname: ok',
    "a flow list over lines": "password: «[hunter,\n  horse]»\nname: ok",
    "a flow mapping": "password: «{value: hunter, other: [horse]}»\nname: ok",
    "brackets in quotes": 'password: «["]", "horse"]»\nname: ok',
    "a block list": "password:\n  «- hunter\n  - horse»\nname: ok",
    "a block list that is not indented": "password:\n«- hunter\n- horse»\nname: ok",
    "a block list in a list": "users:\n- password:\n  «- hunter\n  - horse»\n  name: ok",
    "a nested block": "tokens:\n  «a:\n    - hunter\n  b: horse»\nname: ok",
    "a literal block": "x:\n  password: «|\n    hunter\n    horse»\n  name: ok",
    "a folded block": "password: «>-\n  hunter\n\n  horse»\nname: ok",
    "a block with an indent": "password: «|2+\n   hunter\n  horse»\nname: ok",
    "folded text": "password: «hunter\n  horse\n  battery»\nname: ok",
    "folded text in quotes": 'password: "«hunter\n  horse»"\nname: ok',
    "a tag and an anchor": "password: !!str &a «hunter»\nname: ok",
    "an escaped quote": r'{"password": "«hun\"ter horse»", "name": "ok"}',
    "an escaped backslash": r'{"password": "«hunter\\»", "name": "ok"}',
    "two quotes that are one": "password: '«it''s horse»'\nname: ok",
    "an escaped quote in Python": r"{'password': '«it\'s horse»', 'name': 'ok'}",
    "JSON in JSON": r'{"said": "{\"password\": \"«hunter horse»\", \"name\": \"ok\"}"}',
    "an escaped quote in JSON in JSON": r'{"said": "{\"password\": \"«hun\\\"ter horse»\", \"name\": \"ok\"}"}',
    "JSON in JSON in JSON": r'"\"{\\\"password\\\": \\\"«hunter horse»\\\", \\\"name\\\": \\\"ok\\\"}\""',
    "JSON without blanks": '{"client_secret":"«hunter»","expires":1,"scope":"ok"}',
    "a number in JSON": '{"password": «4711», "port": 8080, "name": "ok"}',
    "a list in JSON": '{"tokens": «["hunter", {"a": "horse"}]», "name": "ok"}',
    "HTML": "<b>password</b> &quot;password&quot;: &quot;«hunter horse»&quot;, ok",
    "cells of HTML": "<tr><th>DB_PASSWORD</th>\n<td>«hunter horse»</td><td>ok</td></tr>",
    "an element": "<password>«hunter horse»</password><name>ok</name>",
    "cells of Markdown": "| `db_password` | «hunter» | ok |",
    "a name and a value beside it": "env:\n- name: DB_PASSWORD\n  value: «hunter horse»\n- name: ok",
    "the same in JSON": '{"name": "DB_PASSWORD", "value": "«hunter»"}, {"name": "ok"}',
    "a removed line": "@@ -1,2 +1,2 @@\n-password: «hunter horse»\n-other: ok\n+name: ok",
    "a removed variable": "@@ -1,2 +1 @@\n-DB_PASSWORD=«hunter horse»\n name=ok",
    "a changed list": "@@ -1,4 +1,4 @@\n x:\n   password:\n-«  - hunter\n+  - horse»\n   name: ok",
    "a changed block": "@@ -1,4 +1,4 @@\n password: «|\n-  hunter\n+  horse»\n name: ok",
    "a flag": "kubelet --bootstrap-token «hunter» --v=2 ok",
    "a flag in quotes": 'run --password "«hunter horse»" ok',
    "a flag with one dash": "run -password=«hunter» ok",
    "a flag in a list": "command: ['run', '--password', '«hunter horse»', 'ok']",
    "a flag in a block list": "- --db-password\n- «hunter»\n- ok",
    "a flag in a JSON list": '["--token", "«hunter»", "ok"]',
    "a user and a password": "curl --user ok:«hunter» https://web/ok".replace("ok:«", "«ok:"),
    "a URL": "proxy: http://ops:«hunter»@proxy.example:3128 ok",
    "a URL with an at sign": "proxy: http://ops:«hun@ter»@proxy.example ok",
    "a query": "GET /x?token=«hunter»&name=ok HTTP/1.1",
    "a signed URL": "https://web/ok?sig=«hunter%2Bhorse»&name=ok",
    "a header": "curl -H 'Authorization: «Bearer hunter»' ok",
    "a header with another scheme": "Authorization: «Digest username=ops, response=hunter»\nname: ok",
    "a header that Go shows": "map[Authorization:«[Bearer hunter]» Name:[ok]]",
    "headers as a list": "Authorization:\n«- Basic hunter»\nName:\n- ok",
    "a cookie": "Set-Cookie: «id=hunter; Path=/horse»\nName: ok",
    "a key of an API": "X-Api-Key: «hunter horse»\nName: ok",
    "a registry's login": '{"auths": {"ok": {"auth": "«aHVudGVyOmhvcnNl»"}}}',
    "a unit's variables": "[Service]\nEnvironment=A=«hunter» B=«horse»\nUser=ok",
    "variables over lines": "[Service]\nEnvironment=A=«hunter» \\\n  B=«horse»\nUser=ok",
    "words over lines": '[Service]\nEnvironment="NOTE=«hunter \\\n  horse»"\nUser=ok',
    "a private key": "x: «-----BEGIN OPENSSH PRIVATE KEY-----\nhunter\n-----END OPENSSH PRIVATE KEY-----»\nok",
    "a private key that is cut off": "«-----BEGIN EC PRIVATE KEY-----\nhunter\nhorse»",
    "a private key on one line": r'"«-----BEGIN PRIVATE KEY-----\nhunter\n-----END PRIVATE KEY-----»", "ok"',
    "a private key of PGP": "«-----BEGIN PGP PRIVATE KEY BLOCK-----\nhunter\n-----END PGP PRIVATE KEY BLOCK-----» ok",
    "a private key in base64": f"data: «{ENCODED_KEY}» ok",
    "a token of a service account": "said «eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJrdWJlIn0.c2lnbmF0dXJl» ok",
    "a token of GitHub": "said «ghp_0123456789abcdefghijABCDEFGHIJ» ok",
    "what crypt makes of a password": "root:«$6$saltsalt$hunterhorsehunter»:19000 ok",
    "a Secret": "kind: Secret\ndata:\n  a: «aHVudGVy»\n  b: «aG9yc2U=»\nmetadata: {name: ok}",
    "a Secret in a diff": "@@ -1,3 +1,3 @@\n kind: Secret\n data:\n-  a: «aHVudGVy»\n+  a: «aG9yc2U=»\n type: ok",
    "a Secret in Python": "{'kind': 'Secret', 'stringData': {'a': '«hunter horse»', 'b': '«horse»'}, 'type': 'ok'}",
    "a Secret with a block": "kind: Secret\nstringData:\n  a: «|\n    hunter\n    horse»\ntype: ok",
    "a key of a registry": "[registry]\naccess_key = «hunter»\nname = ok",
    "Ruby": ":password => '«hunter horse»', :name => 'ok'",
    "Go": 'password := "«hunter horse»"\nname := "ok"',
    "three quotes": 'password = """«hunter\nhorse»"""\nname = ok',
    "a name in brackets": 'config["db_password"] = "«hunter horse»"; ok',
}
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
    "\x00",
    "\u200b",
    "\xad",
    r"\u001b[31m",
    r"\x1b[0m",
]


def secrets_and_rest(text: str) -> tuple[list[str], str, str]:
    """What stands between the marks, the text without the marks, and what must be left of it."""
    parts = text.replace("»", "«").split("«")
    return parts[1::2], "".join(parts), "«»".join(parts[::2])


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
        "sudo: password, or nopasswd; the token is asked for once",
        "https://web:8443/a/b@c http://[fd00::1]:80/x ssh://core@node1/",
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
    assert "planted" not in str(redactor.redact_data({"password": deep, "other": deep}))


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


HOSTILE = {
    "blanks": " ",
    "newlines": "\n",
    "a long word": "a",
    "a long name": "a.a-",
    "names": "password",
    "names without values": "password: ",
    "open quotes": "password: '\npassword: \"\npassword: `\n",
    "escaped quotes": 'password="\\"',
    "open brackets": 'password: [{"\n',
    "references": "kind: Secret\nsecret: {name: a}\n",
    "items": "kind: Secret data: {",
    "backslashes": "\\",
    "backslashes and quotes": '\\\\\\"password',
    "tokens": "eyJabcdefgh.",
    "keys that begin": "-----BEGIN PRIVATE KEY-----",
    "schemes": "a://u:",
    "dots before a scheme": "a.a://",
    "variables": "Environment=A=b \\\n",
    "flags": "--a=b --token x ",
    "cells": "password</td><td>",
    "sequences": "\x1b]8;;\x1b[",
    "erased": "a\b",
    "blocks": "password:\n  a\n",
    "a diff": "@@ -1\n+password:\n-  x\n",
}


@pytest.mark.parametrize("shape", HOSTILE)
def test_time_grows_with_the_text_and_no_faster(shape: str) -> None:
    redactor = Redactor(["--v"])
    redactor.withhold(Secrets({f"planted-{number}" for number in range(1000)}))
    piece = HOSTILE[shape]
    text = piece * (100_000 // len(piece))
    start = time.process_time()
    redactor.redact(text)
    assert time.process_time() - start < 8
