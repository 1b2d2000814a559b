"""The register as files that open from a folder of runs: ``index.html``, and a page for each run in ``register/``."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from kubeharden.errors import ParameterError, RecordError
from kubeharden.plan.timeline import Timeline
from kubeharden.records.archive import PAGE
from kubeharden.records.folder import write_aside
from kubeharden.records.front import front_of
from kubeharden.records.journal import JOURNAL, read_journal
from kubeharden.records.pages.front_page import front_html
from kubeharden.records.pages.markup import GENERATOR, Markup, document, tag
from kubeharden.records.pages.register_page import RunRow, register_html
from kubeharden.records.reader import MIB, is_there, read_path
from kubeharden.records.register import RegisterEntry, compare_runs, record_of, register
from kubeharden.records.seal_rows import seal_rows
from kubeharden.records.signature import Signers
from kubeharden.records.verify import Verdict, verify_folder
from kubeharden.redaction import Redactor
from kubeharden.show.display import View
from kubeharden.show.records_views import comparison_view, details_view, names_on_lines

INDEX, PAGES = "index.html", "register"


def run_page(folder: Path, verdict: Verdict | None, more: View, redactor: Redactor) -> str:
    """Return the page of one run: its first page, and all that it did.

    Args:
        verdict: the verdict on it; None where it was not verified.
        more: what comes after the verdict.

    Raises:
        RecordError: it cannot be read.
    """
    record = record_of(folder)
    course = Timeline.of(read_journal(folder / JOURNAL).events).rename(redactor.redact)
    front = front_html(front_of(redactor.redact_data(record)), seal_rows(record, verdict), course)
    details = names_on_lines(details_view(record, verdict).add(*more.blocks))
    return document(record["run"], front, _html(details, redactor))


def comparison_page(one: Path, other: Path, redactor: Redactor) -> str:
    """Return the page of two runs side by side; a RecordError names one that cannot be read."""
    view = names_on_lines(comparison_view(one.name, other.name, compare_runs(one, other)))
    head = tag("h1", "Two runs side by side"), tag("p", f"{one.name}, and {other.name}")
    return document(f"{one.name}, {other.name}", *head, _html(view, redactor))


def write_register(parent: Path, signers: Signers | None, ca: bytes | None, redactor: Redactor) -> Path:
    """Write the register of a folder of runs, and return the path of its first page.

    Args:
        signers: whose signatures count; None where that is not known.
        ca: the certificates of time-stamp authorities that count, as for ``verify``.

    Raises:
        ParameterError: there is an ``index.html`` of somebody else.
        RecordError: a page cannot be written.
    """
    index = parent / INDEX
    if is_there(parent, INDEX) and GENERATOR not in read_path(index, MIB * 64).decode(errors="replace"):
        raise ParameterError(f"{index} is not a register that kubeharden wrote; move it away first")
    verdicts = {} if signers is None else {v.folder.name: v for v in verify_folder(parent, signers, ca=ca)}
    entries = register(parent)
    rows = list(_rows(parent, entries, verdicts, redactor))
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    write_aside(parent, INDEX, register_html(rows, now).encode())
    return index


def _rows(
    parent: Path, entries: list[RegisterEntry], verdicts: dict[str, Verdict], redactor: Redactor
) -> Iterator[RunRow]:
    """Write the page of each run, and yield its row."""
    for place, entry in enumerate(entries):
        run, verdict = entry.folder.name, verdicts.get(entry.folder.name)
        links = {}
        if is_there(entry.folder, PAGE):
            links["notebook"] = f"{run}/{PAGE}"
        page = f"{PAGES}/{run}.html"
        try:
            text = run_page(entry.folder, verdict, View(), redactor)
        except RecordError as error:
            text = document(run, tag("h1", run), tag("p", f"✘ {error}"))
        write_aside(parent, page, text.encode())
        before = next(
            (e for e in itertools.islice(entries, place + 1, None) if e.cluster == entry.cluster), None
        )
        if before is not None:
            with suppress(RecordError):
                compared = f"{PAGES}/{run}.before.html"
                write_aside(parent, compared, comparison_page(before.folder, entry.folder, redactor).encode())
                links["beside the run before"] = compared
        yield RunRow(entry, verdict, page, links)


def _html(view: View, redactor: Redactor) -> Markup:
    view.redactor = redactor
    return Markup(view._repr_html_())
