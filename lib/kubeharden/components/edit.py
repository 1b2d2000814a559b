"""Other content for a config file, in its own text: lines that say the same stay as they are, comments with them.

Where the lines are is asked of the YAML parser; the result is read again and must say what was wanted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from textwrap import indent
from typing import Any

import yaml

from kubeharden.components.render import block
from kubeharden.errors import UnitError
from kubeharden.formats import (
    BYTE_ORDER_MARK,
    as_document,
    as_json,
    comments_of,
    end_of_document,
    scalars_of,
    tree_of,
)

_ALIAS = re.compile(r"[ \t]*:[ \t]+(\*[^\s,\[\]{}]+)")
MERGE = "tag:yaml.org,2002:merge"
_COMMENT = re.compile(r"(?:[ \t]*\r?\n)*( *)#[^\n]*\n?")
_MARKED = re.compile(r"(?:---|\.\.\.)(?:\s|$)")
_INDENT = re.compile(r'\n([ \t]+)"')


@dataclass(frozen=True)
class Edit:
    """A text with other content.

    Attributes:
        text: as it is to be written.
        lost: the lines of the old text, from 1 on, whose comments are not in it any more.
    """

    text: str
    lost: tuple[int, ...] = ()


def is_json(text: str) -> bool:
    """Return whether a text is one object of JSON, and not YAML in another form."""
    if not text.lstrip().startswith("{"):
        return False
    try:
        as_json(text, "a file", UnitError)
    except UnitError:
        return False
    return True


def _json_text(config: Mapping[str, Any], old: str) -> str:
    """Return the content as JSON, its keys in the order and with the indentation that the old text has."""
    match = _INDENT.search(old)
    step = match[1] if match else None if old else "  "
    wanted = _in_order(as_json(old, "a file", UnitError), config) if old else config
    return json.dumps(wanted, indent=step, ensure_ascii=False) + (
        "\n" if old.endswith("\n") or not old else ""
    )


def rewrite(
    text: str, config: Mapping[str, Any], fresh: str, own: frozenset[str] = frozenset(), *, path: str
) -> Edit:
    """Return the content in the form that the file has, or would have by its name.

    Args:
        text: as it is now; empty without a file.
        config: what it is to say.
        fresh: the content as YAML of its own.
        own: comments that are not of people.
        path: of the file.

    Raises:
        UnitError: the text is neither YAML nor JSON.
    """
    if is_json(text) if text else path.endswith(".json"):
        return Edit(_json_text(config, text))
    return edit(text, config, fresh, own) if text else Edit(fresh)


def edit(text: str, config: Mapping[str, Any], fresh: str, own: frozenset[str]) -> Edit:
    """Return a YAML text with other content.

    Args:
        text: as it is now.
        config: what it is to say.
        fresh: the content as a text of its own, for a file without comments of people.
        own: comments that are not of people.
    """
    if text.startswith(BYTE_ORDER_MARK):
        bare = edit(text.removeprefix(BYTE_ORDER_MARK), config, fresh, own)
        return bare if bare.text == fresh else replace(bare, text=f"{BYTE_ORDER_MARK}{bare.text}")
    end = end_of_document(text, "the file", UnitError)
    if more := text[end:]:  # other documents, which no component reads: they stay as they are
        alone = edit(text[:end], config, fresh, own)
        # It may have ended with a line that stands further to the left, which no new text keeps apart.
        between = "" if _MARKED.match(more) else "---\n"
        return replace(alone, text=f"{alone.text}{between}{more}")
    scalars = scalars_of(text, "the file", UnitError)
    comments = [start for start, end in comments_of(text, scalars) if text[start:end].rstrip() not in own]
    if not comments:
        return Edit(fresh)
    root, old = tree_of(text, "the file", UnitError), as_document(text, "the file", UnitError)
    changes = [] if root.flow_style else sorted(_Changes(text).within(root, old, config), key=lambda c: c[:2])
    pieces, at = [], 0
    for start, end, new in changes:
        pieces += [text[at:start], new.replace("\n", "\r\n") if "\r\n" in text else new]
        at = end
    new_text = "".join([*pieces, text[at:]])
    if not _says(new_text, config):
        return Edit(fresh, tuple(_line(text, start) for start in comments))
    lost = [start for start in comments if any(first <= start < last for first, last, _ in changes)]
    return Edit(new_text, tuple(_line(text, start) for start in lost))


Change = tuple[int, int, str]  # from where to where, and what takes its place


class _Changes:
    """The changes to one text; none of them overlap."""

    def __init__(self, text: str) -> None:
        self._text = text

    def within(
        self, node: yaml.MappingNode, old: Mapping[str, Any], new: Mapping[str, Any]
    ) -> Iterator[Change]:
        """Yield the changes of a mapping in block style."""
        for key, value in node.value:
            name = key.value
            if key.tag == MERGE:
                continue  # what it stands for is the anchor's
            if name not in new:
                yield self._line_start(key), self._line_end(self._end(value, key)), ""
            elif not _is_same(old[name], new[name]):
                yield from self._of_value(key, value, old[name], new[name])
        added = {name: value for name, value in new.items() if name not in old}
        if added:
            last = node.value[-1]
            yield self._insertion(self._end(last[1], last[0]), added, node.start_mark.column)

    def _of_value(self, key: yaml.Node, value: yaml.Node, old: Any, new: Any) -> Iterator[Change]:
        if alias := self._alias(key, value):
            yield *alias.span(1), json.dumps(new, ensure_ascii=False)
            return
        if isinstance(value, yaml.MappingNode) and _is_block(value) and isinstance(new, dict) and new:
            yield from self.within(value, old, new)
            return
        is_list = isinstance(value, yaml.SequenceNode) and not value.flow_style and isinstance(new, list)
        if is_list and (count := _count_same_items(value.value, old, new)):
            for item, one, other in zip(value.value[:count], old, new, strict=False):
                if not _is_same(one, other):
                    yield from self.within(item, one, other)
            yield from self._rest(value.value, value.start_mark.column, new, count)
            return
        start, end = value.start_mark.index, self._end(value)
        has_comment = "#" in self._text[end : self._line_end(end)]
        is_line = key.start_mark.line == value.end_mark.line
        if is_line and (has_comment or not (isinstance(new, dict) and new)):
            blank = "" if self._text[start - 1 : start].isspace() else " "
            yield start, end, f"{blank}{json.dumps(new, ensure_ascii=False)}"
            return
        name = {key.value: new}
        yield self._line_start(key), self._line_end(self._end(value)), _lines_at(name, key.start_mark.column)

    def _rest(
        self, items: Sequence[yaml.Node], column: int, new: Sequence[Any], count: int
    ) -> Iterator[Change]:
        for item in items[count:]:
            yield self._line_start(item), self._line_end(self._end(item)), ""
        if new[count:]:
            yield self._insertion(self._end(items[-1]), list(new[count:]), column)

    def _insertion(self, end: int, added: Any, column: int) -> Change:
        """Return the change that adds lines of a column behind a value, and behind the comments that stand deeper."""
        at, words = self._line_end(end), _lines_at(added, column)
        while (deeper := _COMMENT.match(self._text, at)) and len(deeper[1]) > column:
            at = deeper.end()
        return at, at, words if self._text[at - 1 : at] == "\n" else f"\n{words}"

    def _alias(self, key: yaml.Node, value: yaml.Node) -> re.Match[str] | None:
        """Return the alias that stands behind a key: the parser gives the place of what it stands for."""
        is_alias = value.start_mark.index < key.start_mark.index
        return _ALIAS.match(self._text, key.end_mark.index) if is_alias else None

    def _end(self, node: yaml.Node, key: yaml.Node | None = None) -> int:
        """Return where a value ends, behind its key; a collection in block style ends with its last part."""
        if key is not None and (alias := self._alias(key, node)):
            return alias.end()
        if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
            last = node.value[-1]
            return self._end(last[1], last[0]) if isinstance(last, tuple) else self._end(last)
        start, end = int(node.start_mark.index), int(node.end_mark.index)
        return start + len(self._text[start:end].rstrip())

    def _line_start(self, node: yaml.Node) -> int:
        return self._text.rfind("\n", 0, node.start_mark.index) + 1

    def _line_end(self, at: int) -> int:
        end = self._text.find("\n", at)
        return len(self._text) if end < 0 else end + 1


def _count_same_items(items: Sequence[yaml.Node], old: Sequence[Any], new: Sequence[Any]) -> int:
    """Return how many items from the beginning on can stay: the same ones, and mappings in block style."""
    found = zip(items, old, new, strict=False)
    stays = (
        _is_same(one, other) or (_is_block(item) and isinstance(other, dict) and other)
        for item, one, other in found
    )
    return next((at for at, stay in enumerate(stays) if not stay), min(len(old), len(new)))


def _is_block(node: yaml.Node) -> bool:
    return isinstance(node, yaml.MappingNode) and not node.flow_style


def _is_same(one: Any, other: Any) -> bool:
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _says(text: str, config: Mapping[str, Any]) -> bool:
    try:
        return _is_same(as_document(text, "the file", UnitError), config)
    except UnitError:
        return False


def _lines_at(value: Any, column: int) -> str:
    return indent(block(value), " " * column)


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1


def _in_order(old: Any, new: Any) -> Any:
    if not isinstance(old, dict) or not isinstance(new, Mapping):
        return new
    names = [*(name for name in old if name in new), *(name for name in new if name not in old)]
    return {name: _in_order(old.get(name), new[name]) for name in names}
