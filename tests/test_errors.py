"""Errors: one root, a tree that its docstring draws, and what they know survives pickling."""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterator

import pytest

from kubeharden import errors
from kubeharden.components.flags import FlagValueError
from kubeharden.errors import KubehardenError, NodeError, RevertedError, StepError
from kubeharden.runs.verb import verb


def tree(kind: type[KubehardenError], depth: int = 0) -> Iterator[tuple[str, int]]:
    """The name and depth of an error and of all below it, as far as they are public."""
    yield kind.__name__, depth
    for below in kind.__subclasses__():
        if below.__module__ == errors.__name__:
            yield from tree(below, depth + 1)


def test_the_docstring_draws_the_tree() -> None:
    drawn = re.findall(r"^    ((?:[│ ]   )*)(?:[├└]── )?(\w+Error)\b", errors.__doc__ or "", re.MULTILINE)
    depths = [(name, len(indent) // 4 + (name != "KubehardenError")) for indent, name in drawn]
    assert depths == list(tree(KubehardenError))


def test_an_error_names_its_place_in_the_documents_once() -> None:
    @verb
    def inner() -> None:
        raise FlagValueError("--v", "x", "is not a number")

    with pytest.raises(FlagValueError) as raised:
        verb(inner)()
    assert raised.value.__notes__ == ["Causes and ways out: docs/errors.md#uniterror"]


@pytest.mark.parametrize("name", [name for name, _ in tree(KubehardenError)])
def test_every_error_survives_pickling(name: str) -> None:
    kind = getattr(errors, name)
    back = pickle.loads(pickle.dumps(kind("what, where and what to do")))
    assert (type(back), str(back)) == (kind, "what, where and what to do")


def test_what_an_error_knows_survives_pickling() -> None:
    reverted = RevertedError("put back", {"n1": NodeError("no")})
    step = StepError("two failed", "kubelet", {"kubelet on n1": reverted, "kubelet on n2": NodeError("no")})
    back = pickle.loads(pickle.dumps(step))
    assert (str(back), back.step, list(back.failures)) == (
        "two failed",
        "kubelet",
        ["kubelet on n1", "kubelet on n2"],
    )
    first = back.failures["kubelet on n1"]
    assert (type(first), str(first), str(first.failures["n1"])) == (RevertedError, "put back", "no")
    flag = pickle.loads(pickle.dumps(FlagValueError("--v", "two", "is not a number")))
    assert (str(flag), flag.flag, flag.value) == ("--v=two: is not a number", "--v", "two")
