"""Output that appears while a cell still runs, and that later output replaces."""

from __future__ import annotations

import io
import sys
import threading
from dataclasses import replace
from typing import IO, Any

from kubeharden.edges.ports import Clock
from kubeharden.plan.event import Event
from kubeharden.plan.events import AS_IT_SHOULD_BE, Result
from kubeharden.plan.timeline import TimelineMaker
from kubeharden.records.reader import one_line
from kubeharden.redaction import Redactor
from kubeharden.show import views
from kubeharden.show.display import BAD, Course, Message, View
from kubeharden.show.person import kernel
from kubeharden.show.states import States

# Good results, and bars, that are shown while a step goes on: it is all drawn anew at each event. At its end, all are.
LATEST = 30


class Progress:
    """A listener that shows what becomes of each change, while it happens.

    Where a person watches, it is one table with the state of each change, and the picture of the step. Anywhere else,
    as under papermill, it is a line for each state and result, and the table at the end: ``papermill --log-output``
    logs a line when it comes, and nothing that replaces an output. Nodes tell their states from threads of their own.
    """

    def __init__(self, redactor: Redactor, *, watched: bool, total: int, clock: Clock) -> None:
        self.results: list[Result] = []
        self._redactor, self._watched, self._clock = redactor, watched, clock
        self._states, self._maker = States(total), TimelineMaker()
        self._lock = threading.Lock()
        self._handle: Any = None

    def __call__(self, event: Event) -> None:
        """Show an event, where it is about the state or the result of a change."""
        with self._lock:
            now = self._clock.now()
            self._maker.take(replace(event, time=now.isoformat()))
            changed = self._states.take(event, now.timestamp())
            if isinstance(event, Result):
                self.results.append(event)
            if self._watched:
                if changed or isinstance(event, Result):
                    self._show_table(LATEST)
                return
            for subject, word in changed:
                say(f"{subject}: {word}", self._redactor)
            if isinstance(event, Result):
                count = "" if event.outcome == AS_IT_SHOULD_BE else f", {self._states.count}"
                say(f"{_line(event)}{count}", self._redactor)

    def end(self) -> None:
        """Show what is left to show, once no more events come."""
        if self.results:
            self._show_table(0)

    def _show_table(self, most: int) -> None:
        rows, more = self._states.rows(), f"; {self._states.count} are over"
        running = [Result(subject, views.RUNNING, f"{words}{more}") for subject, words in rows]
        earlier = self.results[:-most] if most else []
        bad = [result for result in earlier if views.outcome_kind(result.outcome) == BAD]
        view = views.results_view([*bad, *self.results[-most:], *running])
        if hidden := len(earlier) - len(bad):
            view.add(Message(f"{hidden} earlier ones went well; the end of this step shows them, too."))
        course = self._maker.timeline(most)
        if course.bars:
            view.add(Course("The course of this step", course, in_words=False))
        if self._handle is None:
            self._handle = show(view, self._redactor)
        else:
            view.redactor = self._redactor
            self._handle.update(view)


def _line(result: Result) -> str:
    took = f" in {result.seconds:.1f} s" if result.seconds else ""
    return f"{result.subject}: {result.outcome}{took}: {result.words}"


def say(text: str, redactor: Redactor) -> None:
    """Print one line, whatever is in the text."""
    sys.stdout.write(f"{one_line(redactor.redact(text))}\n")
    sys.stdout.flush()


class Reading:
    """Progress of reading a long list.

    A terminal shows a bar in its last line. A notebook has one output, which each update replaces, so that the stored
    notebook has only the end. Anywhere else nothing is shown.
    """

    MOMENT_SECONDS = 1.0

    def __init__(self) -> None:
        self._bar: Any = None

    def __call__(self, what: str, done: int, total: int | None) -> None:
        """Show that ``done`` of ``total`` items were read; the total may be unknown."""
        if self._bar is None and done != total:  # a list of one page needs no bar
            self._bar = self._begin(what)
        if self._bar is not None:
            self._bar.total = total
            self._bar.update(done - self._bar.n)
        if done == total and self._bar is not None:
            self._bar.close()
            self._bar = None

    def _begin(self, what: str) -> Any:
        place = _place_for_bars()
        if place is None:
            return None
        from tqdm import tqdm  # noqa: PLC0415 - for big clusters only

        words = f"reading {what}"
        return tqdm(desc=words, file=place, delay=self.MOMENT_SECONDS, miniters=1, unit="", ncols=80)


class _Output(io.StringIO):
    """One output of the cell, with the text that was written last."""

    def __init__(self) -> None:
        super().__init__()
        self._handle: Any = None

    def write(self, text: str) -> int:
        from IPython.display import display  # noqa: PLC0415 - half a second, and for notebooks only

        line = text.strip()
        if line and self._handle is None:
            self._handle = display({"text/plain": line}, raw=True, display_id=True)  # type: ignore[no-untyped-call]
        elif line:
            self._handle.update({"text/plain": line}, raw=True)
        return len(text)


def _place_for_bars() -> IO[str] | None:
    if kernel() is not None:
        return _Output()
    return sys.stderr if sys.stderr.isatty() else None


def show(view: View, redactor: Redactor) -> Any:
    """Show a view now and return a handle that can replace it."""
    from IPython.display import display  # noqa: PLC0415 - half a second, and for notebooks only

    view.redactor = redactor
    return display(view, display_id=True)  # type: ignore[no-untyped-call]
