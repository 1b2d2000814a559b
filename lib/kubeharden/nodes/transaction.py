"""What goes to ``scripts/transaction.sh`` and what comes back, as text and as plain data. Pure."""

from __future__ import annotations

import base64
from dataclasses import dataclass

from kubeharden.errors import NodeError
from kubeharden.plan import FileChange, NodeChange, sha256
from kubeharden.redact import redact

PAYLOAD_MARK = "kubeharden-payload\n"
# Those that read a config file, write what they make of it with --write-config-to, and end. The kubelet has no such
# flag: its file is checked with the tables, before there is a plan.
WRITES_CONFIG = ("kube-proxy", "kube-scheduler")
OUTCOMES = ("waiting", "stale", "busy", "failed", "reverted", "unchanged", "confirmed")


@dataclass(frozen=True)
class Begun:
    """What became of a change on its node, with the node's own words.

    Attributes:
        outcome: ``waiting``: it runs with the new files, and the node puts the old ones back unless it is confirmed
            in time. ``unchanged``: nothing was to be done. ``confirmed``: it was confirmed. ``stale``, ``busy``:
            nothing was changed, since a file differs from the plan or another transaction has the node.
            ``reverted``: it was changed, and is as it was before. ``failed``: nothing was changed, or not all of it
            could be put back; the words say which.
        words: what the node says of it.
        restarted: when the service was restarted, by the node's own clock (RFC 3339, UTC); empty if it was not.
    """

    outcome: str
    words: str
    restarted: str = ""


@dataclass(frozen=True)
class Transaction:
    """A transaction that a node knows.

    Attributes:
        run: its name.
        open: whether it holds the node: it works, or waits to be confirmed.
        state: in the words of ``scripts/transaction.sh``.
        service: the service that it is about.
        since: when it began, by the node's own clock (RFC 3339, UTC).
        holder: who began it.
    """

    run: str
    open: bool
    state: str
    service: str
    since: str
    holder: str


def payload(change: NodeChange, run: str, holder: str, settle: float, deadline: float, script: str) -> str:
    """The standard input of ``transaction.sh begin``.

    Args:
        change: what to do.
        run: the name of the transaction.
        holder: who has the node while it is open; one line.
        settle: how long the service must run without a break, in seconds.
        deadline: after how many seconds the node puts back what nobody has confirmed.
        script: the text of the script, of which the node keeps a copy.
    """
    lines = [f"run {run}", "script", _encoded(script), f"holder {' '.join(holder.split())}"]
    for file in change.files:
        if file.gone:
            lines.append(f"remove {file.before_digest} {file.path}")
            continue
        lines.append(f"file {file.mode} {file.owner} {file.group} {file.before_digest} {file.path}")
        lines.append(_encoded(file.after))
    if _is_checked(change):
        lines += ["argv", _encoded("".join(f"{word}\n" for word in change.expected_argv))]
    lines += [f"restart {change.service}", f"settle {settle:g}", f"deadline {deadline:g}", "end"]
    return PAYLOAD_MARK + "\n".join(lines) + "\n"


def naming(run: str) -> str:
    """The standard input of ``transaction.sh confirm`` and ``undo``."""
    return f"{PAYLOAD_MARK}run {run}\n"


def read_result(node: str, service: str, text: str) -> Begun:
    """The answer of ``transaction.sh``; what a login shell printed before it is left out.

    Raises:
        NodeError: it is none.
    """
    _, found, result = text.rpartition("@result ")
    head, _, words = result.partition("\n")
    outcome, _, restarted = head.partition(" ")
    if not found or outcome not in OUTCOMES:
        raise NodeError(
            f"{node}: did not say what became of the change{f' to {service}' if service else ''}: "
            f"{redact(text[-500:]) or 'nothing'}"
        )
    return Begun(outcome, redact(words.strip()), restarted.strip())


def read_transactions(node: str, text: str) -> tuple[Transaction, ...]:
    """The answer of ``transaction.sh state``.

    Raises:
        NodeError: it was cut off.
    """
    if not text.endswith("@end\n"):
        raise NodeError(
            f"{node}: did not say which transactions it knows: {redact(text[-500:]) or 'nothing'}"
        )
    found = []
    for line in text.splitlines():
        if line.startswith("@transaction "):
            run, is_open, state, service, since, holder = line.split(" ", 6)[1:]
            found.append(Transaction(run, is_open == "open", state, service, since, redact(holder)))
    return tuple(found)


def read_backup(node: str, digest: str, text: str) -> str | None:
    """The answer of ``transaction.sh old``: the content with that SHA-256, or None where the node has none.

    Raises:
        NodeError: it was cut off, or is another content.
    """
    if "@result failed" in text:  # it does not know that transaction, or not any more
        return None
    _, found, body = text.partition("@old\n")
    if not text.endswith("@end\n") or not found:
        raise NodeError(f"{node}: did not say what it has backed up")
    encoded = body.removesuffix("@end\n")
    if not encoded:
        return None
    content = base64.b64decode(encoded).decode("utf-8", errors="surrogateescape")
    if sha256(content) != digest:
        raise NodeError(f"{node}: the backup {digest} is damaged: its content has another digest")
    return content


def _is_checked(change: NodeChange) -> bool:
    words = change.expected_argv
    named = any(_names(words, file) for file in change.files)
    return change.service in WRITES_CONFIG and named and not any("\n" in word for word in words)


def _names(words: tuple[str, ...], file: FileChange) -> bool:
    return f"--config={file.path}" in words or file.path in words


def _encoded(text: str) -> str:
    content = base64.encodebytes(text.encode("utf-8", errors="surrogateescape")).decode("ascii")
    return content + "."
