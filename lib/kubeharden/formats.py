"""Private. The one reader of YAML and JSON from outside. Pure.

What goes beyond a bound, or is not plain data, is an error.
Time grows with the text, which has a bound. An error names its source, and never says what stands in the text.
"""

from __future__ import annotations

import base64
import json
import math
import re
import stat
from bisect import bisect_right
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import yaml

from kubeharden.errors import KubehardenError

LARGEST_YAML = 2 << 20  # characters
LARGEST_JSON = 64 << 20
DEEPEST = 64  # collections in collections
MOST_VALUES = 100_000  # of YAML, those behind aliases included
LONGEST_NUMBER = 40  # digits
BYTE_ORDER_MARK = "\ufeff"
LONGEST_SHOWN = 200  # characters of a path in a message

_SAFE = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml is ten times as fast
_PLAIN = ("null", "bool", "int", "float", "str", "seq", "map", "merge")
_TAG = "tag:yaml.org,2002:"
# What Go's YAML takes plain scalars for, and what each tag of theirs promises; None promises nothing.
_PLAIN_SCALAR = f"{_TAG}plain"
_RESOLVED: dict[str, type | None] = {
    _PLAIN_SCALAR: None,
    f"{_TAG}null": type(None),
    **{f"{_TAG}{kind.__name__}": kind for kind in (bool, int, float)},
}
_WORDS_OF_GO: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(["y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"], True),
    **dict.fromkeys(["n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"], False),
    **dict.fromkeys([".nan", ".NaN", ".NAN"], math.nan),
    **dict.fromkeys([".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF", "-.inf", "-.Inf", "-.INF"], math.inf),
}
_INT_OF_GO = re.compile(r"[-+]?(0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO]?[0-7]+|0|[1-9][0-9]*)")
_FLOAT_OF_GO = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_LEAST_WITH_EXPONENT = 1e21  # encoding/json writes larger ones so
_NO_LINES = {10: None, 13: None}
_TAB = re.compile(r" *\t")
_LONE_SURROGATE = re.compile(r"(?i)\\ud[89a-f]")


class _Loader(_SAFE):  # type: ignore[misc,valid-type]
    """YAML as JSON has it: dates and keys are texts. A key that stands twice is an error; PyYAML lets the last win."""

    yaml_implicit_resolvers: ClassVar = {
        first: [(tag, pattern) for tag, pattern in rules if tag.removeprefix(_TAG) in _PLAIN]
        for first, rules in _SAFE.yaml_implicit_resolvers.items()
    }
    yaml_constructors: ClassVar = {
        tag: make
        for tag, make in _SAFE.yaml_constructors.items()
        if tag is None or tag.removeprefix(_TAG) in _PLAIN
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _wrong("a key is a collection", key)
            if key.value in keys:
                raise _wrong(f"the key {key.value[:80]!r} stands twice", key)
            keys.add(key.value)
            if key.tag != f"{_TAG}merge":
                key.tag = f"{_TAG}str"
        mapping: dict[Hashable, Any] = super().construct_mapping(node, deep)
        return mapping

    def number(self, node: yaml.ScalarNode) -> Any:
        """Return a number; one with colons, of base 60, is a text, as Kubernetes reads it."""
        text = str(self.construct_scalar(node))
        if ":" in text:
            return text
        if len(text) > LONGEST_NUMBER:
            raise _wrong("a number is too long", node)
        number = (
            self.construct_yaml_int(node) if node.tag == f"{_TAG}int" else self.construct_yaml_float(node)
        )
        if not math.isfinite(number):
            raise _wrong("a number is not one that JSON has", node)
        return number


_Loader.add_constructor(f"{_TAG}int", _Loader.number)
_Loader.add_constructor(f"{_TAG}float", _Loader.number)


class _DocumentLoader(_Loader):
    """The YAML of a component's config file, as Go reads it (see ``_as_go``).

    A key that stands beside a merge (``<<``) and in it is an error. What comes later counts for sigs.k8s.io/yaml, be it
    the merge; its strict decoding takes it for a key that stands twice (checked with kube-proxy 1.20.2, 1.24.17 and
    1.37.2). By YAML's own rules, the merge never counts.
    """

    def resolve(self, kind: type, value: str, implicit: Any) -> Any:
        """Return the tag of a node that has none: of a scalar, its own where nobody quoted it."""
        if kind is not yaml.ScalarNode or not implicit[0]:
            return super().resolve(kind, value, implicit)
        return f"{_TAG}merge" if value == "<<" else _PLAIN_SCALAR

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Return what a node stands for; tags of collections say nothing to Go."""
        if isinstance(node, yaml.ScalarNode):
            return _as_go(node)
        node.tag = f"{_TAG}map" if isinstance(node, yaml.MappingNode) else f"{_TAG}seq"
        return super().construct_object(node, deep)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        has_merge = any(key.tag == f"{_TAG}merge" for key, _ in node.value)
        count = Counter(_merged_names(node) if has_merge else ())
        for name in (name for name, times in count.items() if times > 1):
            why = f"has the key {name[:80]!r} twice, beside a merge (<<) and in it: say it once"
            raise _ShapeError(problem=why, problem_mark=node.start_mark)
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag not in (f"{_TAG}merge", f"{_TAG}str"):
                key.value = _key_of_json(key)
        return super().construct_mapping(node, deep)


def _key_of_json(key: yaml.ScalarNode) -> str:
    """Return the key that sigs.k8s.io/yaml makes of one in its JSON."""
    value = _as_go(key)
    if value is None:
        raise _wrong("a key is null", key)
    return value if isinstance(value, str) else json.dumps(value)


def _as_go(node: yaml.ScalarNode) -> Any:
    """Return what Go's YAML makes of a scalar, on its way to JSON.

    Source: resolve.go and decode.go of go-yaml v2, which sigs.k8s.io/yaml has; checked with kube-proxy 1.20.2 to
    1.37.2 (--write-config-to). ``y`` is a truth value, ``0o10`` and ``010`` are 8, ``110.0`` and ``1e2`` are whole
    numbers in JSON; a time is a text, and so is what has a tag of its own.
    """
    text, tag = node.value, node.tag
    if tag == f"{_TAG}binary":
        return base64.b64decode(text.translate(_NO_LINES), validate=True).decode(errors="replace")
    if tag not in _RESOLVED:
        return text
    value = _plain_value(node)
    kind = _RESOLVED[tag]
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        kind = int
    if kind is not None and type(value) is not kind:
        raise _wrong("a value is not of the type that its tag says", node)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise _wrong("a number is not one that JSON has", node)
        return int(value) if value.is_integer() and abs(value) < _LEAST_WITH_EXPONENT else value
    return value


def _plain_value(node: yaml.ScalarNode) -> Any:
    text = node.value
    if text in _WORDS_OF_GO:
        return _WORDS_OF_GO[text]
    if text[0] not in "+-.0123456789":
        return text
    if len(text) > LONGEST_NUMBER and _FLOAT_OF_GO.fullmatch(text.replace("_", "")):
        raise _wrong("a number is too long", node)
    plain = text if text[0] == "." else text.replace("_", "")
    if _INT_OF_GO.fullmatch(plain):
        digits = plain.lstrip("+-")
        number = int(digits, 8 if re.fullmatch("0[0-7]+", digits) else 0)
        number = -number if plain[0] == "-" else number
        if -(2**63) <= number < 2**64:
            return number
    if _FLOAT_OF_GO.fullmatch(plain) and math.isfinite(float(plain)):
        return float(plain)
    return text


def _merged_names(node: yaml.MappingNode) -> Iterator[str]:
    """Yield the keys of a mapping, and those of what is merged into it."""
    for key, value in node.value:
        if key.tag != f"{_TAG}merge":
            yield str(key.value)
            continue
        for part in value.value if isinstance(value, yaml.SequenceNode) else (value,):
            if isinstance(part, yaml.MappingNode):
                yield from _merged_names(part)


class _ShapeError(yaml.MarkedYAMLError):
    """YAML of a shape that is not read here; ``problem`` is the end of a sentence about the text."""


def as_yaml(
    text: str,
    source: str,
    raises: type[KubehardenError],
    *,
    aliases: bool = False,
    first: bool = False,
    go: bool = False,
) -> Any:
    """Return what a text holds as YAML: plain data, as JSON has it.

    Args:
        source: what the text is, for messages.
        aliases: whether it may have them; people use them, programs do not.
        first: whether others may follow the document, which are not read, whatever they are.
        go: whether a program in Go reads it, too, and scalars mean what they mean there.

    Raises:
        KubehardenError: of the given kind: it is not YAML, or goes beyond a bound.
    """
    if len(text) > LARGEST_YAML:
        raise raises(f"{source} is too large: {len(text)} characters, where {LARGEST_YAML} are the most")
    text = str(text)  # libyaml takes no other kind of text
    try:
        _check_events(text, aliases=aliases, first=first)
        return _first_of((_DocumentLoader if go else _Loader)(text), "get_data")
    except _ShapeError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise raises(f"{source} {error.problem} (line {line})") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark else ""
        problem = str(
            getattr(error, "problem", None) or getattr(error, "reason", None) or "it cannot be read"
        )
        if mark and text.splitlines()[mark.line : mark.line + 1] and _TAB.match(text.splitlines()[mark.line]):
            problem = "it is indented with a tab, where YAML takes blanks alone"
        raise raises(f"{source} is not YAML{where}: {_without_quotes(problem)}") from None
    except (ValueError, LookupError, RecursionError):  # PyYAML's, of a scalar with a tag that it is not of
        raise raises(f"{source} is not YAML: it has characters or numbers that cannot be read") from None


def as_document(text: str, source: str, raises: type[KubehardenError]) -> Any:
    """Return what a component reads of its config file: the first document, its aliases filled in.

    Components read YAML with sigs.k8s.io/yaml, which ends where a second document begins (checked with kube-proxy
    1.20.2, 1.24.17 and 1.37.2). Arguments and errors are those of ``as_yaml``.
    """
    return as_yaml(text, source, raises, aliases=True, first=True, go=True)


def end_of_document(text: str, source: str, raises: type[KubehardenError]) -> int:
    """Return where the first document of a text ends, and the next one begins; arguments are those of ``as_yaml``."""
    as_document(text, source, raises)
    mark = text.startswith(BYTE_ORDER_MARK)  # libyaml does not count it
    events: Any = yaml.parse(str(text).removeprefix(BYTE_ORDER_MARK), Loader=_SAFE)
    ends = (event for event in events if isinstance(event, yaml.DocumentEndEvent))
    end: Any = next(ends, None)
    return len(text) if end is None else int(end.start_mark.index) + mark


@dataclass(frozen=True)
class Scalar:
    """A scalar in a YAML text, and where it stands."""

    # The names of the mappings that it is in, with dots; one that has a dot of its own stands in quotes. A
    # list has no name.
    path: str
    value: str  # as text; empty for null
    start: int  # where it begins, with its quotes
    end: int
    is_key: bool = False  # whether it is the name of a field


def scalars_of(text: str, source: str, raises: type[KubehardenError]) -> list[Scalar]:
    """Return the scalars of a config file, a mapping, in their order; arguments and errors are those of ``as_yaml``."""
    mark = BYTE_ORDER_MARK if text.startswith(BYTE_ORDER_MARK) else ""  # libyaml does not count it
    bare = str(text).removeprefix(mark)
    scalars = _scalars_in(tree_of(bare, source, raises), "", bare)
    places = (
        replace(scalar, start=scalar.start + len(mark), end=scalar.end + len(mark)) for scalar in scalars
    )
    return sorted(places, key=lambda scalar: scalar.start)


def _scalars_in(node: Any, path: str, text: str) -> Iterator[Scalar]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield _scalar(key, path, text, is_key=True)
            # A key with a dot of its own must not pass for the path of another field.
            name = json.dumps(key.value) if "." in key.value else key.value
            yield from _scalars_in(value, f"{path}.{name}" if path else name, text)
    elif isinstance(node, yaml.SequenceNode):
        for part in node.value:
            yield from _scalars_in(part, path, text)
    else:
        yield _scalar(node, path, text, is_key=False)


def _scalar(node: Any, path: str, text: str, *, is_key: bool) -> Scalar:
    start, end = node.start_mark.index, node.end_mark.index
    end -= len(text[start:end]) - len(text[start:end].rstrip())
    return Scalar(path, "" if node.tag == f"{_TAG}null" else node.value, start, end, is_key)


def comments_of(text: str, scalars: Sequence[Scalar]) -> Iterator[tuple[int, int]]:
    """Yield where each comment of a YAML text that has these scalars begins and ends, without its line's end."""
    starts = [scalar.start for scalar in scalars]
    for match in re.finditer(r"(?m)(?:^|(?<=[ \t\ufeff]))#[^\r\n]*", text):
        before = bisect_right(starts, match.start()) - 1
        if before < 0 or match.start() >= scalars[before].end:
            yield match.span()


def tree_of(text: str, source: str, raises: type[KubehardenError]) -> yaml.MappingNode:
    """Return the nodes of a config file that holds a mapping, with their places; arguments as of ``as_yaml``.

    Raises:
        KubehardenError: of the given kind: it holds something else.
    """
    as_document(text, source, raises)
    node = _first_of(_SAFE(str(text)), "get_node")
    if not isinstance(node, yaml.MappingNode):
        raise raises(f"{source} holds no mapping")
    return node


def as_json(text: str, source: str, raises: type[KubehardenError]) -> Any:
    """Return what a text holds as JSON; arguments and errors are those of ``as_yaml``."""
    if len(text) > LARGEST_JSON:
        raise raises(f"{source} is too large: {len(text)} characters, where {LARGEST_JSON} are the most")
    try:
        content = json.loads(text, parse_constant=_refuse, parse_float=_finite)
        if _LONE_SURROGATE.search(text):  # half a character, which nobody could write out again
            content = json.loads(json.dumps(content, ensure_ascii=False).encode("utf-8", "replace"))
    except json.JSONDecodeError as error:
        raise raises(f"{source} is not JSON (line {error.lineno}): {error.msg}") from None
    except (ValueError, RecursionError) as error:
        why = "it is nested too deeply" if isinstance(error, RecursionError) else "a number is out of range"
        raise raises(f"{source} cannot be read: {why}") from None
    if not is_shallow(content):
        raise raises(f"{source} cannot be read: it is nested too deeply")
    return content


def read_file(
    path: Path, source: str, raises: type[KubehardenError], *, largest: int = LARGEST_YAML, hint: str = ""
) -> str:
    """Return the text of a regular file.

    Args:
        source: what it is, for messages.
        largest: how many bytes it may have.
        hint: what to do about it, for messages.

    Raises:
        KubehardenError: of the given kind: there is no such file, it is not a regular one, too large, or not UTF-8.
    """
    path_text = repr(str(path))
    path_text = path_text if len(path_text) <= LONGEST_SHOWN else f"{path_text[:LONGEST_SHOWN]} …"
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would never end
            raise raises(f"{source}: {path_text} is not a regular file{hint}")
        with path.open("rb") as file:
            data = file.read(largest + 1)
        if len(data) > largest:
            raise raises(f"{source}: {path_text} is too large; {largest} bytes are the most")
        return data.decode("utf-8")
    except OSError as error:
        raise raises(f"{source}: cannot read {path_text} ({error.strerror}){hint}") from None
    except UnicodeDecodeError:
        raise raises(f"{source}: {path_text} is not text in UTF-8{hint}") from None
    except ValueError as error:
        if isinstance(error, KubehardenError):
            raise
        raise raises(f"{source}: {path_text} cannot be a path{hint}") from None


def is_shallow(content: Any, deepest: int = DEEPEST) -> bool:
    """Check that no collection in data is below more than ``deepest`` others."""
    level = [content]
    for _ in range(deepest + 1):
        parts = (
            part
            for item in level
            if isinstance(item, (dict, list))
            for part in (item.values() if isinstance(item, dict) else item)
            if isinstance(part, (dict, list))
        )
        level = list({id(part): part for part in parts}.values())  # each once, were it in itself
        if not level:
            return True
    return False


def _first_of(loader: Any, method: str) -> Any:
    """Return what a loader makes of the first document of its text; None where there is none."""
    try:
        return getattr(loader, method)() if loader.check_node() else None
    finally:
        loader.dispose()


def _check_events(text: str, *, aliases: bool, first: bool) -> None:
    """Go through a text once, before anything is made of it; raise yaml.YAMLError where it goes beyond a bound."""
    bounds = _Bounds(aliases=aliases)
    for event in yaml.parse(text, Loader=_SAFE):
        if first and isinstance(event, yaml.DocumentEndEvent):
            return
        bounds.check(event)


class _Bounds:
    """The size and the depth of a text, with what its aliases stand for."""

    def __init__(self, *, aliases: bool) -> None:
        self._aliases = aliases
        # How many values each stands for, and how deep they are.
        self._anchors: dict[str, tuple[int, int]] = {}
        # Each open collection: its anchor, the values before it, how deep it is.
        self._open: list[list[Any]] = []
        self._count = self._documents = 0
        self._kinds = {
            yaml.DocumentStartEvent: self._document,
            yaml.AliasEvent: self._alias,
            yaml.ScalarEvent: self._scalar,
            yaml.SequenceStartEvent: self._start,
            yaml.MappingStartEvent: self._start,
            yaml.SequenceEndEvent: self._end,
            yaml.MappingEndEvent: self._end,
        }

    def check(self, event: Any) -> None:
        """Take the next event; raise yaml.YAMLError where it goes beyond a bound."""
        depth = self._kinds.get(type(event), lambda _: 0)(event)
        if len(self._open) + depth > DEEPEST:
            raise _wrong("it is nested too deeply", event)
        if self._open:
            self._open[-1][2] = max(self._open[-1][2], depth)
        if self._count > MOST_VALUES:
            raise _wrong("it has too many values", event)

    def _document(self, event: Any) -> int:
        self._documents += 1
        if self._documents > 1:
            why = "has more than one document, of which one is expected: the next begins with ---"
            raise _ShapeError(problem=why, problem_mark=event.start_mark)
        return 0

    def _alias(self, event: Any) -> int:
        if not self._aliases:
            why = "has an alias, which is not read here: write out what it stands for"
            raise _ShapeError(problem=why, problem_mark=event.start_mark)
        if event.anchor not in self._anchors:
            raise _wrong("an alias stands for what it is in, or for nothing", event)
        size, depth = self._anchors[event.anchor]
        self._count += size
        return depth

    def _scalar(self, event: Any) -> int:
        self._count += 1
        if event.anchor:
            self._anchors[event.anchor] = 1, 0
        return 0

    def _start(self, event: Any) -> int:
        self._open.append([event.anchor, self._count, 0])
        return 0

    def _end(self, _event: Any) -> int:
        anchor, before, below = self._open.pop()
        self._count += 1
        if anchor:
            self._anchors[anchor] = self._count - before, below + 1
        return int(below + 1)


def _wrong(why: str, place: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=why, problem_mark=place.start_mark)


def _without_quotes(problem: str) -> str:
    """Return what is wrong without what it quotes, which may be anything: but keys, and single characters."""
    return problem if problem.startswith("the key") else re.sub(r"'[^']{2,}'", "'…'", problem)


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number
