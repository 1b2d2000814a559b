"""No code names a component: what it must know of one is in the rows and tables of ``releases``."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from kubeharden.releases import known_components
from support import ROOT

NAMES = {row.name for row in known_components()}
LIBRARY = ROOT / "lib" / "kubeharden"


def component_names(tree: ast.Module) -> Iterator[ast.Constant]:
    """Every text that is a component's name and nothing else, be it compared, a key, an argument or in a list."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and node.value in NAMES:
            yield node


def shell_names(script: str) -> list[str]:
    """The lines of a shell script, without its comments, that have a component's name."""
    code = [re.sub(r"(^|\s)#.*", "", line) for line in script.splitlines()]
    return [line for line in code if any(re.search(rf"(?<![\w-]){name}(?![\w-])", line) for name in NAMES)]


@pytest.mark.parametrize(
    "code",
    [
        'change.service == "kubelet"',
        'name in {"kube-proxy", "kube-scheduler"}',
        'MODES = {"kubelet": "600"}',
        'match name:\n    case "etcd":\n        pass',
        'node.service("kube-apiserver")',
        'PORTS = {("kube-proxy", "healthzBindAddress"): 10256}',
    ],
)
def test_a_components_name_in_code_is_found(code: str) -> None:
    assert list(component_names(ast.parse(code)))


@pytest.mark.parametrize(
    "code", ['"""The kubelet and etcd."""', 'f"{name} has no kubelet: kube-proxy"', "# kubelet\nkubelet = 1"]
)
def test_a_sentence_about_a_component_is_none(code: str) -> None:
    assert not list(component_names(ast.parse(code)))


@pytest.mark.parametrize("line", ["case $1 in kube-proxy) ;; esac", '[ "$1" = etcd ]', "service kubelet # x"])
def test_a_components_name_in_a_script_is_found(line: str) -> None:
    assert shell_names(line)
    assert not shell_names(f"true # {line}")


def test_no_code_names_a_component() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sorted(LIBRARY.rglob("*.py"))
        for node in component_names(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert found == []


def test_no_script_names_a_component() -> None:
    scripts = sorted(LIBRARY.rglob("*.sh"))
    assert scripts
    assert {path.name: shell_names(path.read_text()) for path in scripts} == {
        path.name: [] for path in scripts
    }
