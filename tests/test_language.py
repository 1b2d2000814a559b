"""The language linter: each rule finds its wording and leaves plain English alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import lint_language
from lint_language import check_file, check_markdown, check_notebook, check_prose, check_python


@pytest.mark.parametrize(
    ("bad", "good"),
    [
        ("this is no proof", "there is no proof; it is no longer one, and there is no such file"),
        ("what is no\n    valid text", "where there\n    is no valid text"),
        ("these are no pods", "there are no pods"),
        ("the lock is none by then", "where there is none"),
        ("what is left is said", "it is said to be left out; two are told apart"),
        ("it lacks a key", "a black key, and a lack of keys"),
        ("its key is lacking", "its key is missing"),
        ("Likewise for the next", "the same for the next"),
        ("whoever comes next", "the next run"),
        ("Whom it names", "the person it names"),
        ("one of so many nodes", "one of three nodes; so much the better"),
        ("a value withheld by the redaction", "the redaction withholds a value"),
        ("an impact that it foretells", "an impact that it predicts"),
        (
            "It reads. Of files it keeps paths.",
            "It reads. Of course it keeps the paths of files. One Of them",
        ),
        ("everything but for the seal", "everything except the seal; not for one, but for all; but the rest"),
    ],
)
def test_a_wording_is_found_and_plain_english_is_not(bad: str, good: str) -> None:
    assert len(list(check_prose(bad))) == 1
    assert list(check_prose(good)) == []


def test_every_wording_is_tried() -> None:
    [mark] = [
        m for m in test_a_wording_is_found_and_plain_english_is_not.pytestmark if m.name == "parametrize"
    ]
    advice = {finding.advice for bad, _ in mark.args[1] for finding in check_prose(bad)}
    assert advice == set(lint_language.WORDINGS.values())


@pytest.mark.parametrize(
    "word", ["What", "Whether", "Why", "How", "Who", "Whose", "Whom", "That", "Of", "Which"]
)
def test_a_docstring_opens_with_no_question(word: str) -> None:
    [finding] = [
        f
        for f in check_python(f'def f():\n    """{word} it does."""\n')
        if f.line == 2 and "docstring" in f.advice
    ]
    assert finding.text == word


def test_a_docstring_opens_with_a_verb_or_a_noun() -> None:
    assert (
        list(check_python('"""Howitzers."""\nclass A:\n    """Return it."""\n    x = "What it does"\n')) == []
    )


@pytest.mark.parametrize(
    "definition",
    [
        "def _kept(x): ...",
        "def begun(self) -> str: ...",
        "async def _listed(): ...",
        "@cache\ndef _told(): ...",
    ],
)
def test_a_function_is_not_named_by_a_participle(definition: str) -> None:
    [finding] = check_python(definition)
    assert "verb" in finding.advice


@pytest.mark.parametrize(
    "definition",
    [
        "def _keep(x): ...",
        "def allowed(x) -> bool: ...",
        "@property\ndef changed(self) -> str: ...",
        "def seed(): ...",
        "def _feed(): ...",
        "def privileged(pod): ...",
        "def unauthorized(): ...",
        "def kept_files(): ...",
        "kept = 1",
    ],
)
def test_other_names_are_left_alone(definition: str) -> None:
    assert list(check_python(definition)) == []


def test_comments_strings_and_docstrings_are_read_where_they_stand() -> None:
    source = '''"""A module.

It is no
good."""
x = f"{x} is no number"  # which is fine
# A comment that is
# no comment.
y = ("this is "
     "no pair")
'''
    found = sorted((finding.line, " ".join(finding.text.split())) for finding in check_python(source))
    assert found == [(3, "is no good"), (5, "is no number"), (6, "is no comment"), (8, "is no pair")]
    assert list(check_python("# it is\nx = 1\n# no comment\n")) == []


def test_code_is_not_prose() -> None:
    assert list(check_markdown("```\nthis is no prose\n```\n`it lacks` ``whom``\n")) == []
    [finding] = check_markdown("```\nx\n```\n\nthis is no code\n")
    assert finding.line == 5


def test_a_notebook_is_read_by_its_prose() -> None:
    cells = [
        {"cell_type": "code", "source": ["# whom"]},
        {"cell_type": "markdown", "source": ["# Title\n", "it is no plan"]},
    ]
    [finding] = check_notebook(json.dumps({"cells": cells}), "a.ipynb")
    assert str(finding) == "a.ipynb cell 2:2: 'is no plan': say 'is not a …'"


def test_of_a_changelog_the_newest_section_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lint_language, "ROOT", tmp_path)
    changelog = tmp_path / "CHANGELOG.md"
    changelog.write_text("# Changelog\n\n## 0.2\n\nit is no plan\n\n## 0.1\n\nit lacks one\n")
    assert [finding.text for finding in check_file(changelog)] == ["is no plan"]


def test_the_files_are_those_of_the_project(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    names = {str(path.relative_to(lint_language.ROOT)) for path in lint_language.files()}
    assert {
        "README.md",
        "notebooks/harden.ipynb",
        "lib/kubeharden/cli.py",
        "tools/release_facts/tables.py",
    } <= names
    assert lint_language.main([]) == 0
    assert capsys.readouterr().out == "0 wordings to change\n"
