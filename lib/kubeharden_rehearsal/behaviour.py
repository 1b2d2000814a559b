"""The start of a Kubernetes component: what it logs, and whether it serves.

Flags and config files are judged by the release tables; the words are those of the component's own
release. Sources: cmd/kubelet/app/server.go, cmd/kube-proxy/app/server.go, cmd/kube-scheduler/app/server.go
of the releases named, spf13/pflag and spf13/cobra for errors of the command line.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import yaml

from kubeharden.components.effective import decode
from kubeharden.components.flags import FlagUse, FlagValueError, UnknownFlagError, parse_flags
from kubeharden.components.validate import problems
from kubeharden.errors import UnitError
from kubeharden.releases import Decoding, Release, ReleaseTable, feature, release_table
from kubeharden.releases.files import LOADER

_CLI_RUN = {"kubelet": feature("message: command failed (kubelet)")}
_CLI_RUN_OTHERS = feature("message: command failed")
# The tables' word for a flag that only its usage text calls deprecated: nothing is logged when it is used.
_IN_USAGE_ONLY = "deprecated"
_LOWER_CASE_ERROR = feature("message: error in lower case")
_STRICT_WORDS = feature("message: strict decoding by sigs.k8s.io/yaml")
_SCHEME_NAMED = feature("message: no kind in scheme")


@dataclass(frozen=True)
class Klog:
    """The log of one process: glog up to 1.12, klog after it, with the same header."""

    pid: int
    time: float

    def line(self, severity: str, source: str, text: str) -> str:
        """``I0428 15:31:39.812345    1370 server.go:182] text``; severity is I, W, E or F."""
        moment = datetime.fromtimestamp(self.time, UTC)
        return f"{severity}{moment:%m%d %H:%M:%S.%f} {self.pid:7d} {source}] {text}"

    def command_failed(self, error: str) -> str:
        """Return what component-base's cli.Run logs of an error, since 1.23 or 1.24."""
        return self.line("E", "run.go:74", f'"command failed" err={json.dumps(error)}')


@dataclass(frozen=True)
class Surroundings:
    """The surroundings of a starting process.

    Attributes:
        version: of its binary, ``v1.10.0``.
        read: the content of a file, by its path on the node, as that user may see it; raises
            FileNotFoundError and PermissionError.
        running: the other services that run on the node.
    """

    version: str
    node: str
    user: str
    read: Callable[[str], bytes]
    log: Klog
    cgroup_driver: str = "cgroupfs"
    running: frozenset[str] = frozenset()

    @property
    def release(self) -> Release:
        """Return the minor release of the binary."""
        return Release.parse(self.version)


@dataclass
class Started:
    """A component that serves.

    Attributes:
        seconds: how long it takes until it serves.
    """

    lines: list[str]
    config: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.1


class RefusedError(Exception):
    """A component does not start: its last words, and its exit status."""

    def __init__(self, lines: list[str], status: int) -> None:
        super().__init__(lines[-1] if lines else "")
        self.lines, self.status = lines, status


def unreadable(around: Surroundings, path: str) -> str:
    """Return in Go's words why a file cannot be read; empty where it can."""
    try:
        around.read(path)
    except (FileNotFoundError, NotADirectoryError):
        return f"open {path}: no such file or directory"
    except IsADirectoryError:
        return f"read {path}: is a directory"
    except PermissionError:
        return f"open {path}: permission denied"
    return ""


def read_or_refuse(around: Surroundings, path: str, refuse: Callable[[str], RefusedError]) -> bytes:
    """Read a file that a component cannot do without; where it cannot be read, refuse in Go's words."""
    if why := unreadable(around, path):
        raise refuse(why)
    return around.read(path)


@dataclass
class CommandLine:
    """A command line that was read: the flags, and what the component says of them."""

    table: ReleaseTable
    uses: list[FlagUse]
    lines: list[str]

    def value(self, name: str) -> str:
        """Return the last value of a flag, or an empty string."""
        return next((use.value for use in reversed(self.uses) if use.name == name), "")


def read_command_line(component: str, argv: Sequence[str], around: Surroundings) -> CommandLine:
    """Read a command line, the words after the program, as the component's release does.

    Raises:
        RefusedError: a flag is unknown or its value is malformed; what pflag said of the flags before
            it comes first.
    """
    table = release_table(component, around.version)
    try:
        uses = parse_flags(argv, table)
    except UnitError as error:
        before = _deprecations(table, _good_flags(argv, table))
        raise _flag_refusal(component, around, before, _pflag_words(error, argv)) from None
    return CommandLine(table, uses, _deprecations(table, uses))


def _deprecations(table: ReleaseTable, uses: Sequence[FlagUse]) -> list[str]:
    lines = []
    for use in uses:
        flag = table.flag(use.name)
        if flag is not None and flag.deprecated not in (None, _IN_USAGE_ONLY):
            lines.append(f"Flag {use.name} has been deprecated, {flag.deprecated}")
    return lines


def _good_flags(argv: Sequence[str], table: ReleaseTable) -> list[FlagUse]:
    for end in range(len(argv) - 1, 0, -1):
        try:
            return parse_flags(argv[:end], table)
        except UnitError:
            continue
    return []


def _pflag_words(error: UnitError, argv: Sequence[str]) -> str:
    if isinstance(error, UnknownFlagError):
        return f"unknown flag: {error.flag}"
    if isinstance(error, FlagValueError) and error.value is None:
        return f"flag needs an argument: {error.flag}"
    if isinstance(error, FlagValueError):
        why = str(error).rpartition(": ")[2]
        return f'invalid argument "{error.value}" for "{error.flag}" flag: {why}'
    stray = next((word for word in argv if not word.startswith("-")), "")
    return f"unknown command: {stray}"


def _flag_refusal(component: str, around: Surroundings, before: list[str], words: str) -> RefusedError:
    if component == "kubelet":
        if _CLI_RUN["kubelet"].in_release(around.release):
            words = f"failed to parse kubelet flag: {words}"
            return RefusedError([*before, f"Error: {words}", around.log.command_failed(words)], 1)
        return RefusedError([*before, around.log.line("F", "server.go:156", words)], 255)
    lines = [*before, f"Error: {words}", "Usage:", f"  {component} [flags]"]
    if _CLI_RUN_OTHERS.in_release(around.release):
        lines.append(around.log.command_failed(words))
    elif _LOWER_CASE_ERROR.in_release(around.release):
        lines.append(f"error: {words}")
    return RefusedError(lines, 1)


def refusal(component: str, around: Surroundings, before: list[str]) -> Callable[[str], RefusedError]:
    """Return what words an error as a component of that release does, after it has read its command line."""
    cli_run = _CLI_RUN.get(component, _CLI_RUN_OTHERS)

    def refuse(words: str) -> RefusedError:
        if cli_run.in_release(around.release):
            return RefusedError([*before, around.log.command_failed(words)], 1)
        if component == "kube-apiserver":
            prefix = "error" if _LOWER_CASE_ERROR.in_release(around.release) else "Error"
            return RefusedError([*before, f"{prefix}: {words}"], 1)
        if component == "kube-scheduler":
            return RefusedError([*before, words], 1)
        return RefusedError([*before, around.log.line("F", "server.go:190", words)], 255)

    return refuse


def read_config(
    line: CommandLine, around: Surroundings, refuse: Callable[[str], RefusedError]
) -> dict[str, Any] | None:
    """Read the file that ``--config`` names; None without the flag. Warnings go to ``line.lines``.

    Raises:
        RefusedError: there is no such file, it is of another kind, or the release does not take what is in it.
    """
    path, table = line.value("--config"), line.table
    if not path:
        return None
    text = read_or_refuse(around, path, lambda words: refuse(_load_words(table, path, words)))
    try:
        config = yaml.load(text, Loader=LOADER)  # noqa: S506 - a safe loader
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line_number = where.line + 1 if where is not None else 0
        problem = getattr(error, "problem", None) or "could not be read"
        raise refuse(_load_words(table, path, f"yaml: line {line_number}: {problem}")) from None
    if not isinstance(config, dict):
        raise refuse(_load_words(table, path, "couldn't get version/kind; json parse error"))
    _check_kind(table, path, config, refuse)
    _check_content(line, around, path, config, refuse)
    return config


def _load_words(table: ReleaseTable, path: str, words: str) -> str:
    if table.component != "kubelet":
        return words
    if words.startswith("open "):
        words = f'failed to read kubelet config file "{path}", error: {words}'
    return f"failed to load Kubelet config file {path}, error {words}"


def _check_kind(
    table: ReleaseTable, path: str, config: Mapping[str, Any], refuse: Callable[[str], RefusedError]
) -> None:
    kind, version = config.get("kind"), config.get("apiVersion")
    if not kind or not version:
        missing = "Kind" if not kind else "apiVersion"
        words = f"Object '{missing}' is missing in '{dict(config)}'"
        raise refuse(_load_words(table, path, words))
    if kind != table.kind or version not in table.api_versions:
        words = f'no kind "{kind}" is registered for version "{version}"'
        if _SCHEME_NAMED.in_release(table.release):
            words += ' in scheme "k8s.io/kubernetes/pkg/apis/config/scheme/scheme.go"'
        raise refuse(_load_words(table, path, words))


def _check_content(
    line: CommandLine,
    around: Surroundings,
    path: str,
    config: Mapping[str, Any],
    refuse: Callable[[str], RefusedError],
) -> None:
    table = line.table
    unknown = decode(table, config)
    wrong = [(key, why) for key, why in problems(table, config) if key not in unknown]
    if wrong:
        key, why = wrong[0]
        raise refuse(_load_words(table, path, f"v1beta1.{table.kind}.{key}: {why}"))
    if not unknown or table.decoding is Decoding.SILENT:
        return
    if _STRICT_WORDS.in_release(table.release):
        words = "strict decoding error: " + ", ".join(f'unknown field "{key}"' for key in unknown)
    else:
        found = f"found unknown field: {unknown[0].rpartition('.')[2]}"
        words = f"strict decoder error for {table.kind}: v1beta1.{table.kind}.ReadObject: {found}"
    if table.decoding is Decoding.STRICT:
        raise refuse(words)
    lenient = f"using lenient decoding as strict decoding failed: {words}"
    line.lines.append(around.log.line("W", "codec.go:82", lenient))
