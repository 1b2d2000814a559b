"""A run as a picture: a time line of its changes, made from the events of its journal. Pure: events in, SVG out.

    made = Timeline.of(read_run(folder).events)
    made.svg()      # the picture, which any page can hold: no script, no style sheet, nothing that is fetched
    made.rows()     # the same numbers, as rows under HEADINGS

Each step has a scale of its own that begins at 0, since minutes may pass between two of them. Colour, height and
dashes of a bar tell what is done to a node, so that it can be read in any theme, in print and by the colour-blind
(colours of Okabe and Ito). Text has the colour of the page that it stands in. The objects of a step are one bar.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from html import escape
from itertools import groupby

from kubeharden.plan.event import Event
from kubeharden.plan.events import OUTCOMES, Completed, Drained, ReadyAgain, Restarted, Started
from kubeharden.plan.model import node_of_subject

DRAINING, STAGING, RESTARTING, PROVING, CHANGING = (
    "draining",
    "staging",
    "restarting",
    "proving",
    "changing",
)
PARTS = (DRAINING, STAGING, RESTARTING, PROVING)
# By part: colour, height, dashes.
_LOOK = {
    DRAINING: ("#56b4e9", 8, "2 3"),
    STAGING: ("#999999", 4, ""),
    RESTARTING: ("#d55e00", 14, "4 2"),
    PROVING: ("#0072b2", 8, ""),
    CHANGING: ("#0072b2", 8, "8 2"),  # of a record that does not say more
}
_SIGNS = {"completed": "✔", "reverted": "↩", "failed": "✘", "": "…"}
HEADINGS = (
    "Step", "What", "Began (UTC)", "Draining", "Staging", "Restarting", "Proving", "Not Ready", "Outcome", "Took"
)  # fmt: skip
MOST_BARS, TICKS = 100, 6  # that are drawn; the table has all
_LABEL, _WIDTH, _ROW, _END = 220, 440, 22, 160  # CSS pixels


@dataclass(frozen=True)
class Bar:
    """A change of one service of one node, or of one API object, with the time that each part of it took.

    Attributes:
        start: seconds since the epoch.
        parts: what was done, each with its seconds, in that order.
        outcome: ``completed``, ``reverted``, ``failed``; empty while it goes on, or where it was cut off.
        not_ready: the seconds for which its node was not Ready; None where that was not watched.
    """

    step: str
    subject: str
    start: float
    parts: tuple[tuple[str, float], ...]
    outcome: str = ""
    not_ready: float | None = None

    @property
    def seconds(self) -> float:
        """The time that it took."""
        return sum(seconds for _, seconds in self.parts)


@dataclass(frozen=True)
class Timeline:
    """The changes of a run, in the order in which they began."""

    bars: tuple[Bar, ...] = ()

    @classmethod
    def of(cls, events: Iterable[Event]) -> Timeline:
        """Return the time line of these events; those without a time are left out."""
        maker = TimelineMaker()
        for event in events:
            maker.take(event)
        return maker.timeline()

    def rename(self, rename: Callable[[str], str]) -> Timeline:
        """Return it with other names, such as those without secrets."""
        return Timeline(
            tuple(replace(bar, step=rename(bar.step), subject=rename(bar.subject)) for bar in self.bars)
        )

    def rows(self) -> list[tuple[str, ...]]:
        """Return the numbers of the picture, a row for each change."""
        return [
            (
                bar.step,
                bar.subject,
                datetime.fromtimestamp(bar.start, UTC).strftime("%H:%M:%S"),
                *(_duration(sum(s for name, s in bar.parts if name == part)) for part in PARTS),
                "" if bar.not_ready is None else f"{bar.not_ready:.1f} s",
                bar.outcome or "not over",
                f"{bar.seconds:.1f} s",
            )
            for bar in self.bars
        ]

    def svg(self) -> str:
        """Return the picture; empty where there is nothing to draw."""
        if not self.bars:
            return ""
        bars = _with_objects_as_one(self.bars)
        more, bars = len(bars) - MOST_BARS, bars[:MOST_BARS]
        longest = max(_reach(bars)) or 1.0
        scale, shapes, y = _WIDTH / longest, list[str](), 20
        for step, bars_of in groupby(bars, key=lambda bar: bar.step):
            group = list(bars_of)
            start = group[0].start
            time = datetime.fromtimestamp(start, UTC).strftime("%H:%M:%S")
            shapes.append(_text(0, y, f"{step or 'change'}, from {time} UTC", "font-weight:600"))
            for bar in group:
                y += _ROW
                shapes += _draw(bar, bar.start - start, scale, y)
            y += _ROW + 8
        if more > 0:
            shapes.append(_text(8, y, f"… and {more} more, see the table"))
            y += _ROW
        shapes += _axis(longest, scale, y)
        shapes += _legend(y + 34)
        width, height = _LABEL + _WIDTH + _END, y + 44
        changes = "1 change" if len(self.bars) == 1 else f"{len(self.bars)} changes"
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {width} {height}" width="{width}" '
            'style="max-width:100%;height:auto;background:none;font:12px system-ui,sans-serif;'
            'print-color-adjust:exact;-webkit-print-color-adjust:exact">'
            f"<title>Time line of {changes}; the table has the same numbers</title>"
            f"{''.join(shapes)}</svg>"
        )


class TimelineMaker:
    """Makes a time line of events while they come."""

    def __init__(self) -> None:
        self._open: dict[str, _Change] = {}
        self._changes: list[_Change] = []
        self._last = 0.0

    def take(self, event: Event) -> None:
        """Take the next event; one without a time is left out."""
        at = _seconds(event.time)
        if at is None:
            return
        self._last = max(self._last, at)
        if isinstance(event, Started):
            self._changes.append(_Change(event.step, event.subject, event.node, at))
            self._open[event.subject] = self._changes[-1]
        elif isinstance(event, Drained):
            for change in self._open.values():
                if change.node == event.node:
                    change.drained = at
        elif isinstance(event, (Restarted, ReadyAgain, *OUTCOMES)) and event.subject in self._open:
            self._open[event.subject].take(event, at)
            if isinstance(event, OUTCOMES):
                del self._open[event.subject]

    def timeline(self, most: int = 0) -> Timeline:
        """Return the time line so far; of the ``most`` changes that began last, if not of all."""
        return Timeline(tuple(change.bar(self._last) for change in self._changes[-most:]))


class _Change:
    """A change while its events are read."""

    def __init__(self, step: str, subject: str, node: str, start: float) -> None:
        self.step, self.subject, self.node, self.start = step, subject, node, start
        self.drained: float | None = None
        self.restarted: float | None = None  # when the service was restarted
        self.waits: float | None = None  # when it was known to run
        self.ready: float | None = None
        self.ended: float | None = None
        self.outcome = ""
        self.not_ready: float | None = None

    def take(self, event: Event, at: float) -> None:
        """Take one event about it."""
        if isinstance(event, Restarted):
            # The node's own clock says when, in whole seconds; it may be another one than that of the journal.
            by_node = _seconds(event.at)
            earliest = self.drained or self.start
            self.restarted = min(max(by_node, earliest), at) if by_node is not None else at
            self.waits = at
        elif isinstance(event, ReadyAgain):
            self.ready = at
        elif isinstance(event, OUTCOMES):
            self.ended, self.outcome = at, event.action
            self.not_ready = event.not_ready if isinstance(event, Completed) else None

    def bar(self, last: float) -> Bar:
        """Return its bar; one that is not over reaches until ``last``."""
        end = last if self.ended is None else self.ended
        begin = self.drained or self.start
        drained = [(DRAINING, self.drained - self.start)] if self.drained else []
        if self.restarted is None or self.waits is None:
            is_told = self.drained is not None or self.outcome != Completed.action
            parts = [(STAGING if is_told else CHANGING, max(end - begin, 0.0))]
        else:
            runs = self.ready or self.waits
            parts = [
                (STAGING, self.restarted - begin),
                (RESTARTING, max(runs - self.restarted, 0.0)),
                (PROVING, max(end - runs, 0.0)),
            ]
        return Bar(self.step, self.subject, self.start, (*drained, *parts), self.outcome, self.not_ready)


def _seconds(time: str) -> float | None:
    """Return a time as seconds since the epoch; None for a text that is not one."""
    try:
        moment = datetime.fromisoformat(time)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds else ""


def _with_objects_as_one(bars: Iterable[Bar]) -> list[Bar]:
    """Return the bars with those of API objects that follow one another as one."""
    result: list[Bar] = []
    for (step, is_object, outcome), bars_of in groupby(
        bars, key=lambda bar: (bar.step, not node_of_subject(bar.subject), bar.outcome)
    ):
        group = list(bars_of)
        if is_object and len(group) > 1:
            end = max(bar.start + bar.seconds for bar in group)
            parts = ((CHANGING, end - group[0].start),)
            result.append(Bar(step, f"{len(group)} API objects", group[0].start, parts, outcome))
        else:
            result += group
    return result


def _reach(bars: Iterable[Bar]) -> Iterator[float]:
    """Yield the seconds from the beginning of a step to the end of each of its bars."""
    for _, bars_of in groupby(bars, key=lambda bar: bar.step):
        group = list(bars_of)
        yield from (bar.start - group[0].start + bar.seconds for bar in group)


def _draw(bar: Bar, offset: float, scale: float, y: int) -> list[str]:
    """Return the drawing of one bar: its name, its parts, and its end in a sign and words."""
    x = _LABEL + offset * scale
    shapes = [_text(8, y, bar.subject)]
    for part, seconds in bar.parts:
        width = max(seconds * scale, 1.0 if seconds else 0.0)
        shapes += [_line(part, x, y - 4, width, f"{part} {seconds:.1f} s")] if width else []
        x += width
    words = f"{_SIGNS[bar.outcome]} {bar.outcome or 'not over'}, {bar.seconds:.1f} s"
    weight = "" if bar.outcome == Completed.action else "font-weight:600"
    return [*shapes, _text(x + 6, y, words, weight)]


def _line(part: str, x: float, y: int, width: float, title: str) -> str:
    colour, height, dashes = _LOOK[part]
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    return (
        f'<path d="M{x:.1f} {y}h{width:.1f}" stroke="{colour}" stroke-width="{height}"{dashed} fill="none">'
        f"<title>{escape(title)}</title></path>"
    )


def _text(x: float, y: float, text: str, style: str = "") -> str:
    styled = f' style="{style}"' if style else ""
    return f'<text x="{x:.1f}" y="{y}" fill="currentColor"{styled}>{escape(text)}</text>'


def _axis(longest: float, scale: float, y: int) -> list[str]:
    """Return the scale: a line with a few numbers of seconds."""
    every = next(
        (step for step in (1, 2, 5, 10, 20, 30, 60, 120, 300, 600) if longest / step <= TICKS),
        longest / TICKS,
    )
    ticks = [number * every for number in range(int(longest / every) + 1)]
    line = f'<path d="M{_LABEL} {y - 16}h{_WIDTH}" stroke="currentColor" stroke-width="1" opacity="0.5" fill="none"/>'
    return [line, *(_text(_LABEL + tick * scale, y - 2, f"{tick:g} s") for tick in ticks)]


def _legend(y: int) -> list[str]:
    shapes, x = list[str](), 8.0
    for part in PARTS:
        shapes += [_line(part, x, y - 4, 28, part), _text(x + 34, y, part)]
        x += 120
    return shapes
