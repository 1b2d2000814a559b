"""Write what the pages in docs/ say about the code anew, from the code.

    python -m documents.pages        (with tools/ in PYTHONPATH; make pages)

A page has a pair of marks around each such part: ``<!-- made: NAME -->`` and ``<!-- end -->``. The rest of a page is
written by hand. A test holds that this changes nothing.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from documents import lab_results
from documents.api import reference
from documents.markdown import table
from documents.support_table import support_table
from kubeharden import cli, errors
from kubeharden.plan.steps import names
from kubeharden.runs.kinds import KINDS
from kubeharden.runs.past_runs import Query
from kubeharden_rehearsal import available

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "tests" / "bench" / "results.yaml"
MARKED = re.compile(r"(<!-- made: (.+?) -->\n).*?(<!-- end -->)", re.DOTALL)
CAUSE, WAY_OUT = "Causes:", "Way out:"
# Values that no parameter can have: what each of them is refused with says what is accepted.
IMPOSSIBLE: tuple[Any, ...] = ("‹\x07›", "‹›", -(10**9), 5)
PLAIN = {"text", "expected text", "a whole number"}


def pages() -> list[Path]:
    """Return the pages, the README among them."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]


def made_anew(text: str) -> str:
    """Return a page with each marked part as the code has it now.

    Raises:
        KeyError: a mark names a part that is not known.
    """
    return MARKED.sub(lambda match: f"{match[1]}{_part(match[2])}{match[3]}", text)


def _part(name: str) -> str:
    kind, _, argument = name.partition(" ")
    return "".join(f"{line}\n" for line in PARTS[kind](argument))


def parameters_cell(notebook: str) -> list[tuple[str, str, str, str]]:
    """Return name, type, default and comment of each parameter of a notebook."""
    content = json.loads((ROOT / "notebooks" / f"{notebook}.ipynb").read_text(encoding="utf-8"))
    [cell] = [c for c in content["cells"] if "parameters" in c["metadata"].get("tags", [])]
    found = re.findall(r"^(\w+): (\w+) = (.+?)  # (.+)$", "".join(cell["source"]), re.MULTILINE)
    return [(name, kind, default, text) for name, kind, default, text in found]


def _parameters(notebook: str) -> Iterator[str]:
    models: dict[str, type[BaseModel]] = {kind.name: kind.parameters_model for kind in KINDS}
    model = models.get(notebook, Query)
    rows = []
    for name, kind, default, text in parameters_cell(notebook):
        value = json.dumps(ast.literal_eval(default))
        accepted = _accepted_values(model, name)
        rows.append((f"`{name}`", f"`{value}`", accepted or {"str": "text"}.get(kind, kind), text))
    yield from table(("name", "default", "accepts", "meaning"), rows)


def _accepted_values(model: type[BaseModel], name: str) -> str:
    """Return what a parameter accepts, in the words with which it refuses everything else."""
    known = {"rehearsals": tuple(available()), "steps": names()}
    found = []
    for value in IMPOSSIBLE:
        try:
            model.model_validate({name: value}, context=known)
        except ValidationError as error:
            why = [str(e.get("ctx", {}).get("error", "")) for e in error.errors() if e["loc"] == (name,)]
            found += [text.partition("expected ")[2].partition(" (")[0] for text in why]
    wanted = [text.removeprefix("one of them") or "true or false" for text in found if text]
    return next((text for text in wanted if text not in PLAIN), "")


def _errors(_: str) -> Iterator[str]:
    """Yield a section for each class of the tree of errors."""
    for error in error_tree(errors.KubehardenError):
        above = error.__bases__[0].__name__
        what, cause, way_out = error_parts(error)
        yield f"## {error.__name__}"
        yield ""
        yield what + ("" if error is errors.KubehardenError else f" A kind of [{above}](#{above.lower()}).")
        yield ""
        yield f"**Causes.** {_with_links(_sentence(cause))}"
        yield ""
        yield f"**Way out.** {_with_links(_sentence(way_out))}"
        yield ""


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _with_links(text: str) -> str:
    """Return a text in which the name of a page, from the project's folder, is a link from another page."""
    return re.sub(r"(?:docs/([\w/-]+\.md)|([A-Z]+\.md))", lambda m: f"[{m[0]}]({m[1] or '../' + m[2]})", text)


def error_tree(error: type[errors.KubehardenError]) -> Iterator[type[errors.KubehardenError]]:
    """Yield an error and all below it, in the order of the module."""
    yield error
    for below in error.__subclasses__():
        if below.__module__ == errors.__name__:
            yield from error_tree(below)


def error_parts(error: type[errors.KubehardenError]) -> tuple[str, str, str]:
    """Return what an error's docstring says: what it is, its causes, the way out.

    Raises:
        ValueError: one of them is not there.
    """
    text = inspect.cleandoc(error.__doc__ or "").partition("\nAttributes:")[0]
    what, has_cause, rest = text.partition(f"\n{CAUSE} ")
    cause, has_way_out, way_out = rest.partition(f"\n{WAY_OUT} ")
    if not has_cause or not has_way_out:
        raise ValueError(f"{error.__name__}: its docstring must have '{CAUSE}' and '{WAY_OUT}'")
    first, second, third = (" ".join(part.replace("``", "`").split()) for part in (what, cause, way_out))
    return first, second, third


def _rehearsals(_: str) -> Iterator[str]:
    by_release = sorted(available().items(), key=lambda item: int(item[0].rpartition(".")[2]))
    yield from table(("name", "what it is"), [(f"`{name}`", title) for name, title in by_release])


def _commands(_: str) -> Iterator[str]:
    """Yield a section for each command of the program, from its parser."""
    parser = cli._parser()
    [commands] = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    helps = {choice.dest: choice.help for choice in commands._choices_actions}
    for name, command in commands.choices.items():
        yield f"### kubeharden {name}"
        yield ""
        yield f"{_sentence(helps[name] or '')}."
        yield ""
        actions = [a for a in command._actions if not isinstance(a, argparse._HelpAction)]
        rows = [(f"`{_usage(action)}`", action.help or "") for action in actions]
        yield from table(("argument", "meaning"), rows)
        yield ""


def _usage(action: argparse.Action) -> str:
    many = {"+": " …", "*": " …"}.get(str(action.nargs), "")
    if not action.option_strings:
        name = str(action.metavar or action.dest)
        return f"[{name}]{many}" if action.nargs in ("?", "*") else f"{name}{many}"
    value = "" if action.nargs == 0 else f" {action.metavar or action.dest.upper()}"
    return f"{action.option_strings[-1]}{value}"


def _bench(name: str) -> Iterator[str]:
    """Yield one kept result of the bench."""
    yield from _result_rows(yaml.safe_load(RESULTS.read_text(encoding="utf-8"))[name])


def _result(path: str) -> Iterator[str]:
    """Yield the result that a script wrote to a file of its own."""
    yield from _result_rows(yaml.safe_load((ROOT / path).read_text(encoding="utf-8")))


def _result_rows(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield a result: what was measured, how, on what, and the numbers."""
    head = tuple(result["columns"])
    yield from table(head, [tuple(map(str, row)) for row in result["rows"]])
    yield ""
    yield f"By `{result['script']}`, {result['measured']}, on {result['machine']}: {result['how']}."


PARTS: dict[str, Callable[[str], Iterator[str]]] = {
    "api": reference,
    "bench": _bench,
    "commands": _commands,
    "errors": _errors,
    "facts": lambda _: lab_results.sources(lab_results.facts(), lab_results.programs()),
    "lab": lambda _: lab_results.report(lab_results.read(), lab_results.releases(), lab_results.reasons()),
    "parameters": _parameters,
    "rehearsals": _rehearsals,
    "result": _result,
    "support": lambda _: support_table(),
}


def main() -> None:
    """Write every page whose parts are others now."""
    for page in pages():
        text = page.read_text(encoding="utf-8")
        if (new := made_anew(text)) != text:
            page.write_text(new, encoding="utf-8")
            sys.stdout.write(f"{page.relative_to(ROOT)}\n")


if __name__ == "__main__":
    main()
