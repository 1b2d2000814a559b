"""The reference of the public names, from their signatures and docstrings."""

from __future__ import annotations

import importlib
import inspect
import json
import re
from collections.abc import Callable, Iterator
from enum import EnumType
from types import MethodType
from typing import Any

from kubeharden.runs.kinds import KINDS
from kubeharden.runs.run import Run

# The public modules: all that they have is in their ``__all__``. Every other module is private (ARCHITECTURE.md).
PUBLIC = ("kubeharden", "kubeharden.podsecurity", "kubeharden.runbook", "kubeharden_fleet")
SECTIONS = ("Args", "Attributes", "Raises", "Returns", "Yields")
LONGEST_SIGNATURE = 100


def public_names(module: str) -> tuple[str, ...]:
    """Return the public names of a module, errors left out: they have a page of their own."""
    found = importlib.import_module(module).__all__
    return tuple(name for name in found if not name.endswith("Error") and not name.startswith("__"))


def reference(module: str) -> Iterator[str]:
    """Yield the lines of one module's reference."""
    for name in public_names(module):
        thing = getattr(importlib.import_module(module), name)
        yield from _entry(f"### {name}", name, thing)
        if inspect.isclass(thing):
            for method_name, method in _verbs(thing) or _methods(thing):
                yield from _entry(f"#### {name}.{method_name}", method_name, method)
        for kind in KINDS if thing is Run else ():
            for verb in kind.verbs:
                head = f"#### {name}.{verb.__name__} ({kind.name})"
                yield from _entry(head, verb.__name__, MethodType(verb, kind))


def _verbs(kind: type) -> list[tuple[str, Any]]:
    """Return what notebooks call of a class, which then has nothing else that is public."""
    own = ((name, thing) for name, thing in vars(kind).items() if inspect.isfunction(thing))
    return [(name, thing) for name, thing in own if hasattr(thing, "__wrapped__") and name[0] != "_"]


def _methods(kind: type) -> Iterator[tuple[str, Any]]:
    """Yield the public methods and properties that a class has of its own, in their order."""
    for name, thing in vars(kind).items():
        if name.startswith("_") or not getattr(thing, "__doc__", None):
            continue
        if isinstance(thing, classmethod | staticmethod):
            yield name, thing.__func__
        elif inspect.isfunction(thing) or isinstance(thing, property):
            yield name, thing


def _entry(head: str, name: str, thing: Any) -> Iterator[str]:
    yield head
    yield ""
    is_handed_out = inspect.isclass(thing) and _verbs(thing)  # by a function that has its own entry
    if callable(thing) and not isinstance(thing, EnumType) and not is_handed_out:
        yield from ("```python", *_signature(name, thing), "```", "")
    yield from docstring(inspect.getdoc(thing) or "")
    if isinstance(thing, EnumType):
        yield from (f"- `{key}`: `{member.value!r}`" for key, member in vars(thing)["_member_map_"].items())
        yield ""


def _signature(name: str, thing: Callable[..., Any]) -> Iterator[str]:
    signature = inspect.signature(thing)
    parameters = list(_parameters(signature))
    returned = signature.return_annotation
    is_made = inspect.isclass(thing) or returned is signature.empty
    end = ")" if is_made else f") -> {_annotation(returned)}"
    line = f"{name}({', '.join(parameters)}{end}"
    if len(line) <= LONGEST_SIGNATURE:
        yield line
    else:
        yield from (f"{name}(", *(f"    {text}," for text in parameters), end)


def _parameters(signature: inspect.Signature) -> Iterator[str]:
    is_starred = False
    for parameter in signature.parameters.values():
        if parameter.name in ("self", "cls"):
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not is_starred:
            is_starred = True
            yield "*"
        text = str(parameter).partition(":")[0].partition("=")[0].strip()
        if parameter.annotation is not parameter.empty:
            text += f": {_annotation(parameter.annotation)}"
        if parameter.default is not parameter.empty:
            text += f" = {_default(parameter.default)}"
        yield text


def _annotation(annotation: object) -> str:
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


def _default(value: object) -> str:
    text = json.dumps(value) if isinstance(value, str) else repr(value)
    return "…" if text.startswith("<") else text


def docstring(text: str) -> Iterator[str]:
    """Yield a docstring of Google's form as Markdown."""
    text = text.replace("``", "`")
    parts = re.split(rf"^({'|'.join(SECTIONS)}):$\n", text, flags=re.MULTILINE)
    yield from _prose(parts[0])
    for title, body in zip(parts[1::2], parts[2::2], strict=True):
        yield f"**{title}**"
        yield ""
        for item in re.split(r"\n(?=    \S)", body.rstrip().strip("\n")):
            name, colon, meaning = " ".join(item.split()).partition(": ")
            yield f"- `{name}`: {meaning}" if colon else f"- {name}"
        yield ""


def _prose(text: str) -> Iterator[str]:
    """Yield paragraphs; what is indented in them is code."""
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        lines = paragraph.split("\n")
        if all(line.startswith("    ") for line in lines):
            yield from ("```python", *(line[4:] for line in lines), "```")
        else:
            yield " ".join(line.strip() for line in lines)
        yield ""
