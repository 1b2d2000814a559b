"""The gate through which every message leaves a kernel: text in pieces, metadata, buffers and what is not text."""

from __future__ import annotations

import base64
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest

from kubeharden.redaction import Redactor, Secrets
from kubeharden.show import output_guard
from kubeharden.show.output_guard import _Messages


def chunk(kind: bytes, body: bytes = b"") -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(*texts: bytes, after: bytes = b"") -> str:
    head = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    drawn = [chunk(b"IHDR", head), *texts, chunk(b"IDAT", zlib.compress(b"\0\0")), chunk(b"IEND"), after]
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"".join(drawn)).decode()


PNG = png()
SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg"><defs><path id="a"/></defs><use href="#a" fill="url(#b)"/></svg>'
)
PRINTED = {
    "halves": ["it is plan", "ted-1 ok\n"],
    "letters": [*"password: hunter horse", "\n", "ok\n"],
    "a sequence in two": ["it is plan\x1b", "[Kted-1 ok\n"],
    "a name and its value": ["password: ", "hunter\n", "ok\n"],
    "a block": ["password: |\n", "  hunter\n", "  horse\n", "ok\n"],
    "a list": ["password:\n", "- hunter\n", "- horse\n", "ok: 1\n"],
    "an open quote": ['password: "hunter\n', '  horse"\n', "ok\n"],
    "an open bracket": ["password: [\n", '"hunter",\n', "horse]\n", "ok\n"],
    "a private key": [
        "-----BEGIN RSA PRIVATE KEY-----\n",
        "hunter\n",
        "-----END RSA PRIVATE KEY-----\n",
        "ok\n",
    ],
    "a Secret": ["apiVersion: v1\n", "data:\n", "  a: aHVudGVyMQ==\n", "kind: Secret\n", "ok: 1\n"],
    "variables over lines": ["Environment=A=hunter \\\n", "  B=horse\n", "ok\n"],
    "a Secret by letters": [
        *"kind: Secret\nmetadata:\n  name: a\ndata:\n  a: aHVudGVyMQ==\n",
        *"ok: 1\n" * 6,
    ],
    "a value before its name": ["- value: hunter\n", "  name: DB_PASSWORD\n", *["ok: 1\n"] * 6],
    "an alias": ["a: &x hunter\n", "b: c\n", "password: *x\n", *["ok: 1\n"] * 6],
    "a key of its own line": ["? password\n", ": hunter\n", *["ok: 1\n"] * 6],
    "a value on the next line": ['{"password":\n', ' "hunter"}\n', *["ok\n"] * 6],
    "netrc": ["machine web\n", "  login ops\n", "  password hunter\n", *["ok\n"] * 6],
    "a flag in a list": ["- --token\n", "- hunter\n", *["- ok\n"] * 6],
    "a flag that goes on": ["--token \\\n", "  hunter --ok\n", *["ok\n"] * 6],
    "a property list": ["<key>password</key>\n", "<string>hunter</string>\n", *["ok\n"] * 6],
    "a key of SSH2": [
        "---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\n",
        *["hunter\n"] * 50,
        "---- END SSH2 ENCRYPTED PRIVATE KEY ----\n",
        "ok\n",
    ],
    "a key of PuTTY": ["Private-Lines: 9\n", *["hunter\n"] * 9, "Private-MAC: 1\n", "ok\n"],
    "a name within a private key": [
        "-----BEGIN RSA PRIVATE KEY-----\nprivate-key\nhunter\n-----END RSA PRIVATE KEY-----\n",
        *["ok\n"] * 6,
    ],
    "a name within a block": ["password: |\n  a\n  token b\n  hunter\n", *["ok: 1\n"] * 6],
    "no end": ["password: hunter"],
    "a bar": ["10 %\r", "20 %\r", "ok\n"],
}


class Kernel:
    """What a session sends."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.redactor = Redactor()
        self.redactor.withhold(Secrets({"planted-1"}))
        self.send = _Messages(self._note, self.redactor)

    def _note(self, stream: Any, message: Any, content: Any = None, *rest: Any, **named: Any) -> Any:
        whole = (
            message if isinstance(message, dict) else {"header": {"msg_type": message}, "content": content}
        )
        self.sent.append({**whole, **named})
        return whole

    def print(self, text: str, stream: str = "stdout") -> None:
        header = {"msg_type": "stream", "msg_id": "x"}
        self.send(
            None, {"header": header, "metadata": {}, "content": {"name": stream, "text": text}}, ident=b"x"
        )

    def end(self) -> None:
        self.send(None, "status", {"execution_state": "idle"}, {})

    @property
    def text(self) -> str:
        return "".join(one["content"].get("text", "") for one in self.sent)


@pytest.mark.parametrize("shape", PRINTED)
def test_text_in_pieces_is_judged_as_a_whole(shape: str) -> None:
    kernel = Kernel()
    for piece in PRINTED[shape]:
        kernel.print(piece)
    kernel.end()
    for secret in ("planted", "hunter", "horse", "ted-1", "aHVudGVy"):
        assert secret not in str(kernel.sent), kernel.text
    assert "ok" in kernel.text or shape == "no end"
    assert kernel.sent[-1]["content"]["execution_state"] == "idle"


def test_whole_lines_are_not_held_back() -> None:
    kernel = Kernel()
    kernel.print("one\ntwo")
    assert kernel.text == "one\n"
    kernel.print(" three\nfour\r")
    assert kernel.text == "one\ntwo three\nfour\r"
    kernel.print("five")
    kernel.print("to stderr", "stderr")
    kernel.send(None, "input_request", {"prompt": "more? "}, {})
    assert sorted(one["content"].get("name", "") for one in kernel.sent[-3:]) == ["", "stderr", "stdout"]


def test_a_line_without_end_is_sent_at_some_length() -> None:
    kernel = Kernel()
    for _ in range(30):
        kernel.print("x" * 50_000)
    assert len(kernel.text) > 1 << 20


def test_metadata_is_redacted_and_buffers_go() -> None:
    kernel = Kernel()
    data = {"state": {"value": "planted-1"}}
    kernel.send(
        None, "comm_open", {"data": data}, {}, metadata={"note": ["planted-1"]}, buffers=[b"planted-1"]
    )
    kernel.send(
        None,
        {
            "header": {"msg_type": "comm_msg"},
            "content": {"data": data},
            "metadata": {"note": "planted-1"},
            "buffers": [b"planted-1"],
        },
    )
    assert "planted" not in str(kernel.sent)


@pytest.mark.parametrize(
    ("kind", "content", "stays"),
    [
        ("image/png", PNG, True),
        ("image/png", [f"{PNG[:40]}\n", PNG[40:]], False),
        ("image/png", png(chunk(b"tEXt", b"Comment\0planted-2")), False),
        ("image/png", png(chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"planted-2"))), False),
        ("image/png", png(after=b"planted-2"), False),
        ("image/png", png(chunk(b"PLTE", b"planted-1 !!")), False),
        ("image/png", base64.b64encode(b"\x89PNG\r\n\x1a\nplanted-2").decode(), False),
        ("image/jpeg", base64.b64encode(b"\xff\xd8\xff planted-2").decode(), False),
        ("image/svg+xml", SVG, True),
        ("image/svg+xml", "<svg onload='planted-2()'/>", False),
        ("image/svg+xml", "<svg><script>planted-2()</script></svg>", False),
        ("image/svg+xml", "<svg><s:script xmlns:s='x'>planted-2()</s:script></svg>", False),
        ("image/svg+xml", '<!DOCTYPE svg [<!ENTITY a "planted-2">]><svg>&a;</svg>', False),
        ("image/svg+xml", "<svg><image href='https://web/planted-2'/></svg>", False),
        ("image/svg+xml", ["<svg><scr", "ipt>planted-2()</scr", "ipt></svg>"], False),
        ("image/png", "planted-2 is not a picture", False),
        ("image/gif", base64.b64encode(b"GIF89a planted-2").decode(), False),
        ("application/pdf", base64.b64encode(b"%PDF planted-2").decode(), False),
        ("application/octet-stream", "planted-2", False),
        ("image/svg+xml", "<svg>planted-1</svg>", False),
        ("text/html", "<b>planted-1</b>", False),
        ("application/json", {"password": ["planted-2"]}, False),
    ],
)
def test_only_pictures_pass_as_they_are(kind: str, content: Any, stays: bool) -> None:
    kernel = Kernel()
    kernel.send(None, "display_data", {"data": {kind: content}, "metadata": {}}, {})
    shown = kernel.sent[0]["content"]["data"][kind]
    assert (shown == content) == stays
    assert "planted" not in str(shown)
    if kind == "image/png":  # what is drawn is all there is in it
        assert shown == PNG or "‹redacted" in shown


def test_the_lines_of_a_stored_notebook_are_one_text(redactor: Redactor) -> None:
    shown = redactor.redact_data({"source": ["password: |\n", "  hunter\n", "  horse\n", "ok: 1"]})
    assert "hunter" not in str(shown)
    assert shown["source"][-1] == "ok: 1"


def test_the_lines_of_a_traceback_are_one_text() -> None:
    kernel = Kernel()
    lines = ["Error", "password: |", "  hunter", "  horse", "it is plan\x1b[0mted-1", "ok"]
    kernel.send(None, "error", {"ename": "Error", "evalue": "x", "traceback": lines}, {})
    assert not any(word in str(kernel.sent) for word in ("hunter", "horse", "planted"))
    assert kernel.sent[0]["content"]["traceback"][-1] == "ok"


def test_only_words_of_the_protocol_stay_whatever_they_are() -> None:
    kernel = Kernel()
    kernel.redactor.remember("idle")
    kernel.send(None, "inspect_reply", {"status": "planted-1", "name": "planted-1"}, {})
    kernel.send(None, "status", {"execution_state": "planted-1"}, {})
    kernel.print("planted-1\n", "planted-1")
    kernel.end()
    assert "planted" not in str(kernel.sent)
    assert kernel.sent[-1]["content"]["execution_state"] == "idle"


@pytest.mark.parametrize(("is_one", "begin"), [(True, "\n"), (False, "")])
def test_the_line_for_the_terminal_does_not_stand_behind_a_progress_bar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_one: bool, begin: str
) -> None:
    out = os.open(tmp_path / "out", os.O_RDWR | os.O_CREAT)
    error = os.dup(out) if is_one else os.open(tmp_path / "error", os.O_RDWR | os.O_CREAT)
    monkeypatch.setattr(output_guard, "_terminals", {"stdout": out, "stderr": error})
    output_guard.tell_terminal("kubeharden: done")
    os.close(out)
    os.close(error)
    assert (tmp_path / "out").read_text() == f"{begin}kubeharden: done\n"
