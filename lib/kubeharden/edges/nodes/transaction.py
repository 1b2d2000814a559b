"""Requests to ``transaction.sh`` and its answers, as text and as plain data. Pure."""

from __future__ import annotations

import base64
import io
import re
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from kubeharden.edges.nodes.units import node_files
from kubeharden.edges.ports import Transaction, TransactionResult
from kubeharden.errors import NodeError
from kubeharden.plan import FileChange, NodeChange, sha256
from kubeharden.plan.open_changes import STUCK, UNDO, when_over
from kubeharden.redaction import Redactor
from kubeharden.releases import find_component, release_table

# Below it systemd looks for drop-ins beside a unit, so its check needs that part of the tree.
UNITS = "/systemd/system/"
SECURE_PORT = "--secure-port"
BASE = "/var/lib/kubeharden"  # on a node
JOURNAL = "\nIts journal says:\n"  # what transaction.sh has between its words and the journal of the service
TIME = "%Y-%m-%dT%H:%M:%SZ"  # of a node
_RUN = re.compile(r"(?a:[A-Za-z0-9_-][A-Za-z0-9._-]*)")
BUSY = "busy"
OUTCOMES = ("waiting", "stale", BUSY, "failed", "reverted", "unchanged", "confirmed")
_TRANSACTION = "@transaction "
_BLANKS = 7  # in a line about a transaction, at least: what is behind the last one may have some, too


def archive(change: NodeChange, run: str, holder: str, settle: float, deadline: float, script: str) -> bytes:
    """Return the standard input of ``transaction.sh begin``: an archive of tar, as that script's head describes it.

    Args:
        holder: who has the node while it is open; one line.
        settle: how long the service must run without a break, in seconds.
        deadline: after how many seconds the node puts back what nobody has confirmed.
        script: the text of the script, which the node keeps for its units.
    """
    unit = change.unit or change.service
    scripts = node_files(script, unit)
    settings = {
        "run": run,
        "holder": " ".join(holder.split()),
        "restart": unit,
        "settle": f"{settle:g}",
        "deadline": f"{deadline:g}",
        **({"hasten": "yes"} if find_component(change.service).second_sigterm else {}),
    }
    rows = [_row(number, file) for number, file in enumerate(change.files, start=1)]
    texts = {
        "settings": _lines(f"{name} {value}" for name, value in settings.items()),
        "files": _lines(rows),
        "reversed": _lines(reversed(rows)),
        **{f"node/{path.rpartition('/')[2]}": text for path, text in scripts.items()},
        "installed": _lines(f"{sha256(text)}  {path}" for path, text in scripts.items()),
    }
    for number, file in enumerate(change.files, start=1):
        if not file.gone:
            texts[f"new.{number}"] = file.after
            _, is_unit, below = file.path.rpartition(UNITS)
            if is_unit:
                texts[f"check/{below}"] = file.after
    if check := _check_flag(change):
        texts["argv"] = _lines([check, *_check_argv(change, f"{BASE}/{run}", check)])
    texts["digests"] = _lines(f"{sha256(text)}  {name}" for name, text in texts.items())
    return _tar(texts)


def naming(run: str) -> str:
    """Return the word by which ``transaction.sh`` is told a run.

    Raises:
        NodeError: a run cannot be called so: some of it would be read as something else.
    """
    if not _RUN.fullmatch(run):
        raise NodeError(f"a run cannot be called {run[:80]!r}")
    return run


def read_result(node: str, service: str, text: str, redactor: Redactor) -> TransactionResult:
    """Return the answer of ``transaction.sh``; what a login shell printed before it is left out.

    This and the other readers raise a NodeError where an answer cannot be read, was cut off, or says so itself.
    """
    _, sign, result = text.rpartition("@result ")
    head, _, words = result.partition("\n")
    outcome, _, restarted = head.partition(" ")
    words, _, journal = redactor.redact(words).partition(JOURNAL)
    if outcome == BUSY:
        words = f"{_held_words(words)}. Nothing was changed"
    if not sign or outcome not in OUTCOMES:
        raise NodeError(
            f"{node}: did not say what became of the change{f' to {service}' if service else ''}: "
            f"{redactor.redact(text)[-500:] or 'nothing'}"
        )
    return TransactionResult(outcome, words.strip(), restarted.strip(), journal.strip())


def read_transactions(node: str, text: str, redactor: Redactor) -> tuple[Transaction, ...]:
    """Return the answer of ``transaction.sh state``."""
    if not text.endswith("@end\n"):
        raise NodeError(
            f"{node}: did not say which transactions it knows: {redactor.redact(text)[-500:] or 'nothing'}"
        )
    lines = (line for line in text.splitlines() if line.startswith(_TRANSACTION))
    transactions = map(_transaction, lines)
    return tuple(replace(one, holder=redactor.redact(one.holder)) for one in transactions)


def _transaction(line: str) -> Transaction:
    run, is_open, state, service, since, seconds, holder = line.split(" ", 7)[1:]
    return Transaction(run, is_open == "open", state, service, since, _later(since, seconds), holder)


def _held_words(text: str) -> str:
    """Return who has a node, for somebody who finds it held.

    Args:
        text: the node's own: how it reports a transaction, then what is to be said of one that is stuck; or words.
    """
    line, _, words = text.strip().partition("\n")
    if not line.startswith(_TRANSACTION) or line.count(" ") < _BLANKS:
        return line
    held = _transaction(line)
    if held.state == STUCK:
        return f"this node is held by run {held.run}, which could not be put back. {words}"
    return (
        f"this node is held by {held.holder} since {held.since} (run {held.run}, which is {held.state}). It is over, "
        f"one way or the other, {when_over(held.until)}. If nobody is behind it any more, put it back at once, on the "
        f"node: {UNDO} {held.run}"
    )


def _later(since: str, seconds: str) -> str:
    """Return the time that many seconds after another one, in the same form; empty where one of the two is unknown."""
    try:
        later = datetime.strptime(since, TIME).replace(tzinfo=UTC) + timedelta(seconds=float(seconds))
        return later.strftime(TIME)
    except (ValueError, OverflowError):
        return ""


def read_removed(node: str, text: str, redactor: Redactor) -> tuple[str, ...]:
    """Return the answer of ``transaction.sh clean``: the paths that are gone."""
    _, sign, body = text.partition("@removed\n")
    if not sign or not body.endswith("@end\n"):
        head, _, words = redactor.redact(text).partition("\n")
        if head.startswith(f"@result {BUSY}"):
            words = f"{_held_words(words)}. Nothing was changed"
        raise NodeError(f"{node}: {words.strip() or 'did not say what it removed'}")
    return tuple(body.removesuffix("@end\n").splitlines())


def read_backup(node: str, digest: str, text: str) -> str | None:
    """Return the answer of ``transaction.sh old``: the content with that SHA-256, or None where the node has none."""
    if "@result failed" in text:  # it does not know that transaction, or not any more
        return None
    _, sign, body = text.partition("@old\n")
    if not text.endswith("@end\n") or not sign:
        raise NodeError(f"{node}: did not say what it has backed up")
    encoded = body.removesuffix("@end\n")
    if not encoded:
        return None
    content = base64.b64decode(encoded).decode("utf-8", errors="surrogateescape")
    if sha256(content) != digest:
        raise NodeError(f"{node}: the backup {digest} is damaged: its content has another digest")
    return content


def _check_flag(change: NodeChange) -> str:
    """Return the flag with which the component checks its new config file; empty where it cannot.

    A file that cannot be checked on the node was checked with the tables, before there was a plan.
    """
    words, config = change.expected_argv, find_component(change.service).config
    named = any(_names(words, file) for file in change.files)
    return config.check_flag if config and named and not any("\n" in word for word in words) else ""


def _check_argv(change: NodeChange, folder: str, flag: str) -> Iterator[str]:
    """Yield the command line of a check: the new one, but with the new files where the node has them until then.

    Args:
        folder: of the transaction, on the node.
        flag: where the component writes what it has read, which nobody looks at.
    """
    new = {file.path: f"{folder}/new.{number}" for number, file in enumerate(change.files, start=1)}
    for word in change.expected_argv:
        name, is_config, path = word.rpartition("--config=")
        yield f"{is_config}{new.get(path, path)}" if is_config and not name else new.get(word, word)
    migration = change.migration
    if migration and release_table(change.service, migration.release).flag(SECURE_PORT):
        yield f"{SECURE_PORT}=0"  # the service that runs has the port already
    yield f"{flag}={folder}/written"


def _names(words: tuple[str, ...], file: FileChange) -> bool:
    return f"--config={file.path}" in words or file.path in words


def _row(number: int, file: FileChange) -> str:
    if file.gone:
        return f"{number} - - - {file.before_digest} absent {file.path}"
    owned = f"{file.mode} {file.owner} {file.group}"
    return f"{number} {owned} {file.before_digest} {file.after_digest} {file.path}"


def _lines(words: Iterable[str]) -> str:
    return "".join(f"{word}\n" for word in words)


def _tar(texts: dict[str, str]) -> bytes:
    """Return an archive of private files, which differs from others in contents only."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, text in texts.items():
            content = text.encode("utf-8", errors="surrogateescape")
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o600
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()
