"""Judge what was read from a node or the API: what is not known to be harmless is neither shown nor recorded. Pure.

The parser judges each file where it is read: its content is a ``Sensitive``, a text that knows the places in it that
may be secret, found by reading the file as what it is. What is made of it, such as a diff, knows them too. Elsewhere, a
value is withheld wherever it was copied, if it is distinct; that of a variable whatever it is, as a word of its own.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from kubeharden.components import units
from kubeharden.components.environment_files import assignments
from kubeharden.components.unit_words import Word, words_in
from kubeharden.errors import UnitError
from kubeharden.facts.harmless import EVERYWHERE, HARMLESS_FORM, MIXED, harmless, is_distinct
from kubeharden.facts.model import NodeFacts, ServiceFacts
from kubeharden.formats import Scalar, comments_of, end_of_document, scalars_of
from kubeharden.kube.manifests import Objects
from kubeharden.redaction import LEAST, Secrets, Sensitive, decode, is_secret_name, secrets_of

_SECTION = re.compile(r"(?m)^\ufeff?[ \t]*\[(?:Unit|Service|Install)\][ \t\r]*$")  # of a unit or a drop-in
_REFERENCE = re.compile(r"\$\{?\w+\}?")  # a variable in a unit's command
_SHELL = re.compile(r"[;&|<>(){}]+|[0-9]?[<>]&?[0-9]?")  # an operator
SHORTHANDS = {"-v": "--v"}


def with_sensitive_files(service: ServiceFacts) -> ServiceFacts:
    """Return the service with each of its files as ``Sensitive``: it knows what in it may be secret."""
    files = {
        path: replace(fact, content=sensitive_file(service.name, fact.content))
        for path, fact in service.files.items()
    }
    return replace(service, files=files)


def sensitive_file(component: str, content: str) -> Sensitive:
    """Judge the content of a unit, a config file or an environment file of a component."""
    text = str(content)
    judge = _Judge(component, text)
    if _SECTION.search(text):
        judge.unit()
    elif (scalars := _scalars(text)) is not None:
        judge.config(scalars)
    else:
        judge.environment_file()
    return judge.result()


def sensitive_command(component: str, argv: Sequence[str]) -> Sensitive:
    """Judge a command line; the text has one word a line."""
    judge = _Judge(component, "\n".join(argv))
    words, at = [], 0
    for word in argv:
        words.append(Word(word, at, at + len(word)))
        at += len(word) + 1
    judge.command(words)
    return judge.result()


def sensitive_value(component: str, text: str, *, flag: str = "", field: str = "") -> str:
    """Judge a value of a flag or a field, as it is shown by itself; one that may be seen is a plain text."""
    names = harmless()
    if flag:
        is_harmless = flag in names.flags_of(component) and not _has_credentials(text)
    else:
        plain = HARMLESS_FORM.fullmatch(text.strip('"')) is not None
        is_harmless = names.allows_field(component, field) or (
            plain and not names.withholds_field(component, field)
        )
    if is_harmless:
        return text
    return Sensitive(text, Secrets({text} if is_distinct(text) else set()), [(0, len(text))])


def secrets_on(node: NodeFacts) -> Secrets:
    """Return what may be secret in the files, command lines and configurations of a node."""
    secrets = Secrets()
    for word in (node.name, node.hostname, node.os, node.systemd):
        secrets.allow(word)
    for service in node.services.values():
        secrets.allow(service.name)
        secrets.update(sensitive_command(service.name, service.cmdline).secrets)
        for path, fact in service.files.items():
            secrets.allow(path)
            secrets.update(secrets_of(fact.content))
        for path, value in _leaves(service.configz or {}):
            _judge_leaf(secrets, service.name, path, str(value))
    return secrets


def secrets_in(objects: Objects) -> Secrets:
    """Return what may be secret in API objects: environment variables, and all that a Secret holds."""
    secrets = Secrets()
    for item in (item for items in objects.values() for item in items):
        meta = item.get("metadata") or {}
        for word in (meta.get("name"), meta.get("namespace"), item.get("kind")):
            secrets.allow(str(word or ""))
        if item.get("kind") == "Secret":
            for key in ("data", "stringData"):
                for value in map(str, (item.get(key) or {}).values()):
                    _add(secrets, value)
                    _add(secrets, decode(value))
        for value in _variables(item):
            add_variable(secrets, value)
    return secrets


def add_variable(secrets: Secrets, value: str) -> None:
    """Add the value of a variable: whatever it is, unless it is one that variables have everywhere."""
    _add(secrets, value)
    if len(value) >= LEAST and not EVERYWHERE.fullmatch(value) and value.lower() not in harmless().values:
        secrets.values.add(value)


def _add(secrets: Secrets, value: str) -> None:
    """Add a value that may be secret, and its parts: those that are distinct."""
    # The password of a URL or a header is sensitive by itself, too.
    parts = (part for part in re.split(r"[\s:=,;@/?&]+", value) if MIXED.fullmatch(part))
    secrets.values.update(text for text in {value, value.strip("\"'"), *parts} if is_distinct(text))


def _judge_leaf(secrets: Secrets, component: str, path: str, value: str) -> bool:
    """Add a value of a config file or a configuration; return whether it may be seen where it stands."""
    if harmless().withholds_field(component, path):
        add_variable(secrets, value)
        return False
    if harmless().allows_field(component, path):
        secrets.allow(value)
        return True
    if HARMLESS_FORM.fullmatch(value):
        return True
    _add(secrets, value)
    return path.rpartition(".")[2].lower() in harmless().leaves and not is_distinct(value)


class _Judge:
    """Judges one text of a component, from its beginning to its end."""

    def __init__(self, component: str, text: str) -> None:
        self._component, self._text = component, text
        self._secrets = Secrets()
        self._spans: list[tuple[int, int]] = []

    def result(self) -> Sensitive:
        """Return the text with what was found."""
        return Sensitive(self._text, self._secrets, self._spans, self._component)

    def unit(self) -> None:
        """Judge a unit file: its directives by their names, and comments."""
        at = 0
        for entry in units.Unit.parse(self._text).entries:
            end = at + len(entry.raw)
            visible = at + len(entry.raw.rstrip("\r\n"))
            start = at + entry.raw.find("=") + 1
            if not entry.key:
                if not re.fullmatch(r"(?:\[[\w-]*\])?", entry.raw.removeprefix("\ufeff").strip()):
                    self._comment(at, visible)
            elif entry.key == "Environment":
                self._command_words(start, visible, command=False)
            elif entry.key.startswith("Exec"):
                self._command_words(start, visible, command=True)
            elif entry.key in harmless().directives:
                self._secrets.allow(entry.value)
            else:
                self._hide(start, visible)
                _add(self._secrets, entry.value)
            at = end

    def environment_file(self) -> None:
        """Judge an environment file; what is not an assignment in it is withheld."""
        at = 0
        for variable in assignments(self._text):
            name = self._text.rfind(variable.name, at, variable.start) if variable.name else variable.start
            self._comment_lines(at, name)
            self._variable(variable.value, variable.start, variable.end)
            at = variable.end
        self._comment_lines(at, len(self._text))

    def config(self, scalars: Sequence[Scalar]) -> None:
        """Judge a config file: its fields by their paths, and comments."""
        end = end_of_document(self._text, "a file", UnitError)
        for scalar in scalars:
            if (
                not scalar.is_key
                and scalar.value
                and not _judge_leaf(self._secrets, self._component, scalar.path, scalar.value)
            ):
                self._hide(scalar.start, scalar.end)
        comments = list(_comments_between(self._text[:end], scalars))
        for block in comments:
            lines = [self._text[start:end] for start, end in block]
            if not self._are_defaults("\n".join(line[1:].removeprefix(" ") for line in lines)):
                for place in block:
                    self._comment(*place)
        self._comment_lines(end, len(self._text))  # other documents, which no component reads

    def command(self, words: Iterable[Word]) -> None:
        """Judge a command line: the program, its flags, and other words."""
        queue = deque(words)
        self._program(queue)
        has_flags = False
        while queue:
            word = queue.popleft()
            if word.is_comment:
                self._comment(word.start, word.end)
            elif word.text.startswith("-"):
                has_flags = True
                self._flag(word, queue)
            elif re.match(r"[A-Za-z_]\w*=", word.text):
                self._variable(word.text.partition("=")[2], *self._after_sign(word))
            elif _REFERENCE.fullmatch(word.text) or _SHELL.fullmatch(word.text):
                continue
            elif is_distinct(word.text) or (has_flags and not HARMLESS_FORM.fullmatch(word.text)):
                self._hide(word.start, word.end)
                _add(self._secrets, word.text)

    def _program(self, queue: deque[Word]) -> None:
        while queue and queue[0].text == "exec":
            queue.popleft()
        if queue and not queue[0].text.startswith("-"):
            self._secrets.allow(queue.popleft().text)

    def _flag(self, word: Word, queue: deque[Word]) -> None:
        name, equals, value = word.text.partition("=")
        start, end = self._after_sign(word) if equals else (word.end, word.end)
        if not equals and queue and not queue[0].is_comment and not queue[0].text.startswith("-"):
            following = queue.popleft()
            value, start, end = following.text, following.start, following.end
        name = SHORTHANDS.get(name, name.replace("_", "-"))
        if not value:
            return
        if re.fullmatch(r"-[a-z]*c", name) and " " in value:  # the command of a shell
            self.command(words_in(self._text, *self._inner(start, end)))
        elif name in harmless().flags_of(self._component) and not _has_credentials(value):
            self._secrets.allow(value)
        else:
            self._hide(start, end)
            if harmless().withholds_flag(self._component, name) or is_secret_name(name):
                add_variable(self._secrets, value)
            _add(self._secrets, value)

    def _command_words(self, start: int, end: int, *, command: bool) -> None:
        words = words_in(self._text, start, end)
        if command:
            self.command(words)
            return
        for word in words:
            if word.is_comment:
                self._comment(word.start, word.end)
            elif "=" in word.text:
                self._variable(word.text.partition("=")[2], *self._after_sign(word))
            else:
                self._hide(word.start, word.end)

    def _variable(self, value: str, start: int, end: int) -> None:
        """Judge what is assigned to a variable; a value that consists of flags is judged as flags."""
        bare = value.strip().strip("\"'")
        if bare.startswith("-"):
            inner = self._inner(start, end)
            self.command([Word("", inner[0], inner[0]), *words_in(self._text, *inner)])
        elif bare:
            self._hide(start, end)
            add_variable(self._secrets, bare)

    def _after_sign(self, word: Word) -> tuple[int, int]:
        """Return where the value of ``name=value`` stands; a quote around both does not belong to it."""
        raw = self._text[word.start : word.end]
        start = word.start + raw.find("=") + 1
        around = raw[:1] in ("'", '"') and raw[-1:] == raw[:1] and len(raw) > 1
        return start, max(start, word.end - around)

    def _inner(self, start: int, end: int) -> tuple[int, int]:
        """Return a place without the quotes around it."""
        raw = self._text[start:end]
        bare = raw.strip()
        start += len(raw) - len(raw.lstrip())
        end = start + len(bare)
        if len(bare) > 1 and bare[0] in "'\"" and bare[-1] == bare[0]:
            return start + 1, end - 1
        return start, end

    def _comment_lines(self, start: int, end: int) -> None:
        for line in re.compile(r"[^\n]+").finditer(self._text, start, end):
            self._comment(line.start(), line.end())

    def _comment(self, start: int, end: int) -> None:
        """Withhold a comment, which may say anything, unless everybody has it; also words of it elsewhere."""
        whole = self._text[start:end]
        text = whole.strip()
        bare = text.lstrip("#; \t")
        if len(bare) < LEAST or text in harmless().comments:
            return
        begin = start + len(whole) - len(whole.lstrip()) + len(text) - len(bare)
        self._hide(begin, begin + len(bare))
        for word in bare.split():
            word = word.rpartition("=")[2].strip("\"'().,:;")  # noqa: PLW2901
            if "/" not in word and not word.startswith("-") and MIXED.fullmatch(word):
                _add(self._secrets, word)

    def _are_defaults(self, text: str) -> bool:
        """Check whether a comment is one of those that a profile has written: fields that may be seen."""
        scalars = _scalars(text)
        return scalars is not None and all(
            scalar.is_key or not scalar.value or harmless().allows_field(self._component, scalar.path)
            for scalar in scalars
        )

    def _hide(self, start: int, end: int) -> None:
        """Withhold a place, without the blanks and quotes around it."""
        inner = self._inner(start, end)
        if inner[0] < inner[1]:
            self._spans.append(inner)


def _scalars(text: str) -> list[Scalar] | None:
    """Return the scalars of a config file; None for another file, such as an environment file."""
    try:
        return scalars_of(text, "a file", UnitError)
    except UnitError:
        return None


def _comments_between(text: str, scalars: Sequence[Scalar]) -> Iterator[list[tuple[int, int]]]:
    """Yield the comments of a YAML file; those on lines of their own that follow each other are one block."""
    block: list[tuple[int, int]] = []
    for start, end in comments_of(text, scalars):
        line = text.rfind("\n", 0, start) + 1
        own = not text[line:start].strip()
        if block and not (own and text[block[-1][1] : line] in ("\n", "\r\n")):
            yield block
            block = []
        block.append((start, end))
    if block:
        yield block


def _variables(item: Any) -> Iterator[str]:
    """Yield the values of environment variables, wherever in an object containers are."""
    if isinstance(item, Mapping):
        for key, part in item.items():
            if key == "env" and isinstance(part, list):
                yield from (str(v["value"]) for v in part if isinstance(v, Mapping) and v.get("value"))
            else:
                yield from _variables(part)
    elif isinstance(item, list):
        for part in item:
            yield from _variables(part)


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from _leaves(part, f"{path}.{key}" if path else str(key))
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _leaves(part, path)
    elif value is not None and value != "":
        yield path, value


def _has_credentials(value: str) -> bool:
    return re.search(r"://[^\s/@]*@", value) is not None
