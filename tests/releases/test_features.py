"""The table of features, and that no fact about a release stands anywhere else."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from kubeharden.releases import FIRST, LAST, Release, feature, features_of, releases, releases_with
from kubeharden.releases.features import NOT_YET
from support import ROOT

LIBRARY = sorted(path for path in (ROOT / "lib").rglob("*.py"))
RELEASE_TEXT = re.compile(r"v?1\.\d{1,2}")


def outside_the_tables() -> list[Path]:
    return [path for path in LIBRARY if path.parent.name != "releases"]


def releases_in_code(tree: ast.AST) -> Iterator[ast.AST]:
    """Release(1, n), and comparisons with a minor release or with a text such as "1.23"."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            constants = [arg for arg in node.args if isinstance(arg, ast.Constant)]
            if name == "Release" and constants:
                yield node
            if name in ("older_than", "parse") and any(map(names_release, constants)):
                yield node
        elif isinstance(node, ast.Compare):
            sides = (node.left, *node.comparators)
            minor = any(isinstance(side, ast.Attribute) and side.attr == "minor" for side in sides)
            if minor and any(isinstance(side, ast.Constant) for side in sides):
                yield node
            if any(map(names_release, sides)):
                yield node


def names_release(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and bool(RELEASE_TEXT.fullmatch(node.value))
    )


@pytest.mark.parametrize(
    "code",
    [
        "GONE = Release(1, 25)",
        "release.Release(1, minor)",
        "release.minor >= 25",
        "25 <= table.release.minor",
        'server.older_than("1.19")',
        'release < Release.parse("1.25")',
        'str(release) == "1.25"',
    ],
)
def test_a_release_in_code_is_found(code: str) -> None:
    assert list(releases_in_code(ast.parse(code)))


def test_no_release_stands_in_code_outside_the_tables() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
        for path in outside_the_tables()
        for node in releases_in_code(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert found == []


def named(*functions: str) -> set[str]:
    """The names that the library asks the table for; of an f-string, its beginning."""
    found = set()
    for text in (path.read_text(encoding="utf-8") for path in LIBRARY):
        if not any(f"{function}(" in text for function in functions):
            continue  # to parse all of the library takes a second
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in functions:
                found |= {arg.value for arg in node.args if isinstance(arg, ast.Constant)}
    return found


def test_every_feature_that_the_library_asks_for_is_in_the_table() -> None:
    asked = named("feature", "releases_with")
    assert len(asked) > 20
    assert asked <= set(features_of(""))


def test_every_family_of_features_is_in_the_table() -> None:
    prefixes = named("features_of")
    assert prefixes
    assert [prefix for prefix in prefixes if not features_of(prefix)] == []


@pytest.mark.parametrize("name", sorted(features_of("")))
def test_a_feature_begins_before_it_ends_and_names_its_source(name: str) -> None:
    row = feature(name)
    assert FIRST <= row.alpha <= row.since < row.until <= NOT_YET
    assert (row.alpha, row.since, row.until) != (FIRST, FIRST, NOT_YET) or name.startswith(
        ("safe sysctl", "cipher suite")
    )
    assert row.source


def test_until_is_exclusive_and_since_is_not() -> None:
    policy, admission = feature("PodSecurityPolicy"), feature("Pod Security Admission")
    assert (policy.since, policy.last, policy.until) == (FIRST, Release(1, 24), Release(1, 25))
    assert [str(r) for r in releases() if policy.in_release(r)][-1] == "1.24"
    assert (admission.alpha, admission.since, admission.until) == (Release(1, 22), Release(1, 23), NOT_YET)
    assert not admission.in_release(Release(1, 22))
    assert admission.in_release(LAST)
    assert list(map(str, releases_with("PodSecurityPolicy", "Pod Security Admission"))) == ["1.23", "1.24"]


def test_an_unknown_feature_is_an_error() -> None:
    with pytest.raises(KeyError, match="PodSecurityPolice"):
        feature("PodSecurityPolice")


def test_a_release_that_is_newer_than_the_tables_has_what_the_newest_has() -> None:
    newer = Release(LAST.major, LAST.minor + 2)
    assert feature("nodes/configz").in_release(newer)
    assert not feature("PodSecurityPolicy").in_release(newer)
