"""YAML and JSON from outside: what is not plain data, or has no end, is an error that names its source."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import sampling
from go_yaml import GO_FIELDS, GO_TYPES
from kubeharden.errors import NodeError, ParameterError, UnitError
from kubeharden.formats import (
    as_document,
    as_json,
    as_yaml,
    comments_of,
    end_of_document,
    read_file,
    scalars_of,
)

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    # PyYAML itself writes a NEL (U+0085) as a line break.
    | st.text(st.characters(codec="utf-8", exclude_characters="\x85"), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("abc-.:# ", max_size=8), inner, max_size=4)
    ),
    max_leaves=15,
)
SIGNS = st.text(st.sampled_from(list("ab:-?[]{},&*!|>'\"#%@`\\\n\t 019.~<=")), max_size=60)


def read_or_said(read: Callable[..., Any], text: str) -> tuple[Any, str]:
    """What a text holds, or else what is said of it."""
    try:
        return read(text, "the source", NodeError), ""
    except NodeError as error:
        return None, str(error)


@given(PLAIN)
@settings(max_examples=sampling.examples(60))
def test_plain_data_is_read_as_it_was_written(data: Any) -> None:
    assert as_json(json.dumps(data), "x", NodeError) == data
    assert as_yaml(yaml.safe_dump(data, allow_unicode=True), "x", NodeError) == data


@given(SIGNS | st.text(max_size=40))
@settings(max_examples=sampling.examples(300))
def test_no_text_raises_anything_else(text: str) -> None:
    for read in (as_json, as_yaml, as_document):
        found, said = read_or_said(read, text)
        json.dumps(found, allow_nan=False).encode()
        assert not said or said.startswith("the source ")


BOMB = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
ENDLESS = {
    "aliases": BOMB,
    "an alias of itself": "a: &a [*a]",
    "merges": "a: &a {x: y}\nb: &b {<<: [*a, *a]}\nc: {<<: [" + "*b, " * 200_000 + "]}",
    "lists in lists": "[" * 200_000,
    "mappings in mappings": '{"a":' * 200_000,
    "closed lists in lists": "[" * 500 + "]" * 500,
    "blocks in blocks": "".join(f"{' ' * n}a:\n" for n in range(500)),
    "items": "- a\n" * 400_000,
    "keys": "? a\n" * 400_000,
    "a number": "9" * 5000,
    "a large number": "1e999",
    "a number of base 60": "x: " + "1:" * 500_000 + "1",
    "no number": '{"a": NaN}',
    "a large text": "x" * 5_000_000,
    "half a character": '{"a": "\\ud800"}',
    "bytes": "a: \udc9b",
    "a program": "!!python/object/apply:os.system [id]",
    "a key that is a list": "? [a]\n: b",
    "HTML": "<!DOCTYPE html><html><body>not found</body></html>",
    "two documents": "a: b\n---\nc: d\n",
}


@pytest.mark.parametrize("read", [as_json, as_yaml])
@pytest.mark.parametrize("shape", ENDLESS)
def test_what_has_no_end_ends_in_time(shape: str, read: Callable[..., Any]) -> None:
    start = time.process_time()
    found, said = read_or_said(read, ENDLESS[shape])
    assert len(json.dumps(found, allow_nan=False)) <= 64 << 20
    assert not said or said.startswith("the source ")
    assert len(said) < 300
    assert time.process_time() - start < 20


def test_aliases_are_for_people() -> None:
    text = "a: &a [x, y]\nb: *a\n"
    assert as_yaml(text, "x", ParameterError, aliases=True) == {"a": ["x", "y"], "b": ["x", "y"]}
    with pytest.raises(NodeError, match=r"x has an alias, which is not read here: write out .*\(line 2\)"):
        as_yaml(text, "x", NodeError)
    with pytest.raises(ParameterError, match="too many values"):
        as_yaml(BOMB, "x", ParameterError, aliases=True)


DOCUMENT = "# of Anna\n---\nport: &p 10250\nreadOnlyPort: *p\n"


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize(
    "more",
    [
        "",
        "---\n",
        "...\n",
        "---\nport: 7\n",
        "--- # x\n[ {\n",
        "...\n%YAML 1.1\n---\nport: 8\n",
        "---\na: &b *b\n",
    ],
)
def test_a_component_reads_the_first_document_with_its_aliases(mark: str, more: str) -> None:
    text = mark + DOCUMENT + more
    assert as_document(text, "x", NodeError) == {"port": 10250, "readOnlyPort": 10250}
    end = end_of_document(text, "x", NodeError)
    assert (text[:end], text[end:]) == (mark + DOCUMENT, more)
    assert [scalar.path for scalar in scalars_of(text, "x", NodeError) if scalar.is_key] == ["", ""]
    if "---" in more:
        with pytest.raises(
            ParameterError, match=r"x has more than one document, of which one is expected: .*\(line \d\)"
        ):
            as_yaml(text, "x", ParameterError, aliases=True)


@pytest.mark.parametrize(
    "text",
    [
        "a: &a {x: 1, z: 2}\nb: {<<: *a, x: 3}\n",
        "a: &a {x: 1, z: 2}\nb: {x: 3, <<: *a}\n",
        "a: &a {x: 1}\nc: &c {<<: *a, z: 2}\nb: {<<: *c, x: 3}\n",
        "a: &a {x: 1}\nc: &c {x: 2}\nb: {<<: [*a, *c]}\n",
    ],
)
def test_a_key_that_stands_beside_a_merge_and_in_it_is_refused_for_a_component(text: str) -> None:
    with pytest.raises(
        UnitError, match=r"file has the key 'x' twice, beside a merge \(<<\) and in it: say it once \(line"
    ):
        as_document(text, "file", UnitError)
    assert as_yaml(text, "file", UnitError, aliases=True)["b"]["x"] in (1, 3)
    assert as_document("a: &a {x: 1}\nb: {<<: *a, z: 3}\n", "file", UnitError)["b"] == {"x": 1, "z": 3}


def test_scalars_are_those_of_json() -> None:
    text = "day: 2024-01-01\ntime: 10:30\nhex: 0x10\n1: one\ntrue: yes\nnull: ~\nsign: =\n"
    assert as_yaml(text, "x", NodeError) == {
        "day": "2024-01-01",
        "time": "10:30",
        "hex": 16,
        "1": "one",
        "true": True,
        "null": None,
        "sign": "=",
    }


@pytest.mark.parametrize("field", GO_FIELDS)
def test_a_file_of_a_component_is_read_as_go_reads_it(field: str) -> None:
    """What the programs make of the same texts: tests/lab/test_kubelet_reads.py."""
    kind = GO_TYPES[field]
    for text, wanted in GO_FIELDS[field].items():
        found, said = read_or_said(as_document, f"{field}: {text}\n")
        value = None if said else found[field]
        assert (type(value) is kind) is (wanted is not None), (text, value, said)
        assert value == wanted or wanted is None, text


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("y", "true"),
        ("off", "false"),
        ("010", "8"),
        ("'y'", "y"),
        ("!!str n", "n"),
        ("!own k", "k"),
        ("1.5", "1.5"),
    ],
)
def test_a_key_is_the_text_that_go_makes_of_it(key: str, name: str) -> None:
    assert as_document(f"{key}: 1\n", "x", NodeError) == {name: 1}


@pytest.mark.parametrize(
    "text", ["y: 1\ntrue: 2", "8: 1\n010: 2", "null: 1", "~: 1", "a: !!binary é", "a: !!int x"]
)
def test_what_go_does_not_read_is_refused(text: str) -> None:
    with pytest.raises(NodeError, match="x is not YAML"):
        as_document(text, "x", NodeError)


@pytest.mark.parametrize("text", ["a: !own {b: 1}", "a: !!omap {b: 1}", "a: !!str {b: 1}"])
def test_a_tag_of_a_collection_says_nothing_to_go(text: str) -> None:
    assert as_document(text, "x", NodeError) == {"a": {"b": 1}}


@pytest.mark.parametrize("text", ["a: !!bool maybe", "a: !!int ''", "a: !!float ''", "a: !!bool ''"])
def test_a_tag_that_its_value_does_not_fit_is_an_error_of_the_text(text: str) -> None:
    for read in (as_yaml, as_document):
        _, said = read_or_said(read, text)
        assert said.startswith("the source is not YAML")


@pytest.mark.parametrize(
    "text", ["a: *hunter2", "a: !hunter2 b", "a: {hunter2: b", "hunter2", "a: 'hunter2\n\tb: c"]
)
def test_an_error_does_not_say_what_stands_there(text: str) -> None:
    for read in (as_json, as_yaml):
        assert "hunter2" not in read_or_said(read, text)[1]


@pytest.mark.parametrize("text", ["a:\n\tb: hunter2\n", "a:\n  \tb: hunter2\n", "\ta: hunter2\n"])
def test_a_tab_is_named(text: str) -> None:
    with pytest.raises(
        ParameterError, match=r"x is not YAML \(line [12]\): it is indented with a tab, where .*alone$"
    ):
        as_yaml(text, "x", ParameterError)


def test_a_key_that_stands_twice_is_named() -> None:
    with pytest.raises(ParameterError, match=r"x is not YAML \(line 2\): the key 'a' stands twice"):
        as_yaml("a: b\na: c\n", "x", ParameterError)


def test_only_regular_files_of_some_size_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(b"x" * 2000)
    (tmp_path / "bytes").write_bytes(b"\xff")
    (tmp_path / "good").write_text("grüße")
    assert read_file(tmp_path / "good", "x", ParameterError) == "grüße"
    for path, why in (
        (tmp_path / "pipe", "is not a regular file"),
        (tmp_path, "is not a regular file"),
        (Path("/dev/zero"), "is not a regular file"),
        (tmp_path / "large", "is too large"),
        (tmp_path / "bytes", "is not text in UTF-8"),
        (tmp_path / "nowhere", "cannot read .*No such file"),
        (Path("x" * 5000), "cannot read .*too long"),
        (Path("a\0b"), "cannot be a path"),
    ):
        with pytest.raises(ParameterError, match=f"^policies: .*{why}") as raised:
            read_file(path, "policies", ParameterError, largest=1000)
        assert len(str(raised.value)) < 400


def test_a_byte_order_mark_moves_no_place() -> None:
    text = "\ufeffa: secret # said\nb: ü\n"
    found = scalars_of(text, "a file", UnitError)
    assert [(s.value, text[s.start : s.end]) for s in found] == [(v, v) for v in ("a", "secret", "b", "ü")]
    [(start, end)] = comments_of(text, found)
    assert text[start:end] == "# said"


def test_a_comment_may_follow_a_byte_order_mark() -> None:
    text = "\ufeff# said\na: 1\n"
    assert [text[start:end] for start, end in comments_of(text, scalars_of(text, "a file", UnitError))] == [
        "# said"
    ]
