"""Find wordings that a reader must read twice, in the library, its documents and notebooks.

    python tools/lint_language.py [FILE ...]

Reads docstrings, comments, strings and names of functions in Python files, the prose of Markdown files (only the newest
section of the changelog) and the Markdown cells of notebooks. Prints each finding and a count by file; exits with 1 if
there is one. A rule that flags plain English does harm: what needs judgement is left to the reviewer.
"""

from __future__ import annotations

import ast
import io
import json
import re
import sys
import tokenize
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# pattern → advice; a blank stands for any white space
WORDINGS = {
    r"(?<![Tt]here )\b(?:is|are|was|were) no (?!longer\b|more\b|other\b|such\b)[\w‹]+": "say 'is not a …'",
    r"(?<![Tt]here )\b(?:is|are) none\b": "say 'is not one'",
    r"\b(?:is|are|was|were) said\b(?! to\b)": "say who says it: 'the plan says …'",
    r"\black(?:s|ing|ed)\b": "say 'is missing' or 'does not have'",
    r"\b[Ll]ikewise\b": "say 'also', or say it again",
    r"\b[Ww]ho(?:so|m)?ever\b": "say who: 'the next run', 'anyone who'",
    r"\b[Ww]hom\b": "say who does what, in the active voice",
    r"\b[Ss]o many\b": "name the number",
    r"\bwithheld by\b": "say what withholds it, in the active voice",
    r"\b(?:thereof|whereby|lest|foretells?|foretold|whatsoever|behold)\b": "use a word of today",
    r"(?:^|[.;:!?] )Of (?!course\b)\w+": "do not open a sentence with 'Of'",
    r"(?<!not )(?<!, )\bbut for\b": "say 'except'",
}
QUESTIONS = re.compile(r"(?:What|Whether|Why|How|Who|Whose|Whom|That|Of|Which)\b")
PARTICIPLE = re.compile(
    r"_?(?:(?!un|privileged|\w*eed$)[a-z]+ed|begun|broken|brought|built|caught|chosen|done|drawn|found|given|gone|held|hidden|kept|known"
    r"|led|left|lost|made|meant|met|said|seen|sent|shown|spent|spoken|taken|thrown|told|torn|understood|written)"
)
_PATTERNS = {re.compile(pattern.replace(" ", r"\s")): advice for pattern, advice in WORDINGS.items()}

_Function = ast.FunctionDef | ast.AsyncFunctionDef
_Documented = ast.Module | ast.ClassDef | _Function


@dataclass(frozen=True)
class Finding:
    """A wording to change, and where it is."""

    path: str
    line: int
    text: str
    advice: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {' '.join(self.text.split())!r}: {self.advice}"


def check_prose(text: str, path: str = "", line: int = 1) -> Iterator[Finding]:
    """Find the wordings in a text that starts at a line; what stands in backquotes is code."""
    prose = re.sub(r"(`+)[^`]+\1", lambda code: re.sub(r"\S", "_", code[0]), text)
    prose = re.sub(r"[ \t]*\n[ \t]*", "\n", prose)
    for pattern, advice in _PATTERNS.items():
        for match in pattern.finditer(prose):
            yield Finding(path, line + prose.count("\n", 0, match.start()), match[0], advice)


def check_python(source: str, path: str = "") -> Iterator[Finding]:
    """Find the wordings in a module: in docstrings, comments and strings, and in names of functions."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, _Documented) and (match := QUESTIONS.match(ast.get_docstring(node) or "")):
            yield Finding(path, node.body[0].lineno, match[0], "open a docstring with a verb or a noun")
        if isinstance(node, _Function) and _is_participle(node):
            yield Finding(path, node.lineno, node.name, "name a function by a verb or a noun")
    for line, text in _strings(tree):
        yield from check_prose(text, path, line)
    for line, text in _comments(source):
        yield from check_prose(text, path, line)


def _is_participle(function: _Function) -> bool:
    # A predicate ("allowed", "changed") and a property may be named by a participle: they are read, not called to do.
    is_property = any("property" in ast.unparse(decorator) for decorator in function.decorator_list)
    is_predicate = function.returns is not None and ast.unparse(function.returns) == "bool"
    return not is_property and not is_predicate and bool(PARTICIPLE.fullmatch(function.name))


def _strings(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield each string literal with its line; what a formatted string puts in is ‹›."""
    inside = {part for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield (
                node.lineno,
                "".join(str(p.value) if isinstance(p, ast.Constant) else "‹›" for p in node.values),
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in inside:
            yield node.lineno, node.value


def _comments(source: str) -> Iterator[tuple[int, str]]:
    """Yield each block of comments, with the line it starts at."""
    first, lines = 0, list[str]()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        if lines and token.start[0] != first + len(lines):
            yield first, "\n".join(lines)
            lines = []
        first = first if lines else token.start[0]
        lines.append(token.string.lstrip("# "))
    if lines:
        yield first, "\n".join(lines)


def check_markdown(text: str, path: str = "") -> Iterator[Finding]:
    """Find the wordings in Markdown, code blocks left out."""
    yield from check_prose(re.sub(r"^```.*?^```", _blank, text, flags=re.DOTALL | re.MULTILINE), path)


def _blank(match: re.Match[str]) -> str:
    return "\n" * match[0].count("\n")


def check_notebook(text: str, path: str = "") -> Iterator[Finding]:
    """Find the wordings in the Markdown cells of a notebook, each on the line of its cell."""
    for number, cell in enumerate(json.loads(text)["cells"], 1):
        if cell["cell_type"] == "markdown":
            yield from check_markdown("".join(cell["source"]), f"{path} cell {number}")


def check_file(path: Path) -> Iterator[Finding]:
    """Find the wordings in a file by what its name says it is."""
    text, name = path.read_text(encoding="utf-8"), str(path.relative_to(ROOT))
    if path.suffix == ".py":
        yield from check_python(text, name)
    elif path.suffix == ".ipynb":
        yield from check_notebook(text, name)
    else:
        newest = text.find("\n## ", text.find("\n## ") + 1) if path.name == "CHANGELOG.md" else -1
        yield from check_markdown(text[: newest if newest > 0 else len(text)], name)


def files() -> list[Path]:
    """Return the files whose language is checked."""
    patterns = ("lib/**/*.py", "tools/**/*.py", "*.md", "docs/**/*.md", "notebooks/[!o]*.ipynb")
    found = {path for pattern in patterns for path in ROOT.glob(pattern)}
    return sorted(found - {Path(__file__).resolve()})


def main(names: Iterable[str]) -> int:
    """Print every finding and the count by file; return the exit code."""
    findings = [finding for path in map(Path, names) for finding in check_file(path.resolve())]
    counts = Counter(finding.path for finding in findings)
    lines = [*map(str, findings), *(f"{count:5}  {path}" for path, count in sorted(counts.items()))]
    sys.stdout.write("\n".join((*lines, f"{len(findings)} wordings to change\n")))
    return bool(findings)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or map(str, files())))
