"""Charts, as SVG elements that a notebook keeps and that load nothing. Pure."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from functools import partial

from kubeharden.show.display import Picture

# Okabe and Ito's palette, told apart by the colour-blind; hatches tell them apart without any colour.
COLOURS = ("#D55E00", "#999999", "#0072B2")
HATCHES = ("///", "---", "")
_WIDTH, _ROW, _FRAME = (
    8.0,
    0.32,
    1.1,
)  # inches: the whole width, the height of a bar, and of what is around them
_TEXT_BAR = 40  # characters of the longest bar in a terminal


def bars(title: str, names: Sequence[str], rows: Mapping[str, Sequence[int]]) -> Picture:
    """Horizontal bars, one a row, in parts that are stacked.

    Args:
        title: what is counted.
        names: what the parts of every bar are called, at most as many as there are ``COLOURS``.
        rows: label of each bar, and the size of its parts.
    """
    said = [f"{label}: {_parts(names, sizes)}" for label, sizes in rows.items()]
    return Picture(
        draw=partial(_svg, title, tuple(names), dict(rows)),
        alt=f"Bar chart. {title}. {'. '.join(said)}.",
        text=_as_text(title, names, rows),
    )


def _parts(names: Sequence[str], sizes: Sequence[int]) -> str:
    return ", ".join(f"{size} {name}" for name, size in zip(names, sizes, strict=True) if size) or "none"


def _as_text(title: str, names: Sequence[str], rows: Mapping[str, Sequence[int]]) -> str:
    longest = max((sum(sizes) for sizes in rows.values()), default=0)
    scale = min(1.0, _TEXT_BAR / longest) if longest else 1.0
    width = max(map(len, rows), default=0)
    lines = [title]
    for label, sizes in rows.items():
        bar = "".join(
            mark * max(round(size * scale), bool(size)) for mark, size in zip("X.=", sizes, strict=False)
        )
        lines.append(f"  {label:{width}}  {bar}  {_parts(names, sizes)}")
    return "\n".join(lines)


def _svg(title: str, names: Sequence[str], rows: Mapping[str, Sequence[int]]) -> str:
    # Half a second, and for notebooks only; the figure by itself needs no screen and keeps no state.
    import matplotlib as mpl  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415

    # Text stays text, and the same chart has the same bytes.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": title, "hatch.linewidth": 0.6}):
        figure = Figure(figsize=(_WIDTH, _FRAME + _ROW * len(rows)), layout="constrained", facecolor="white")
        axes = figure.subplots()
        starts = [0] * len(rows)
        for name, colour, hatch, sizes in zip(
            names, COLOURS, HATCHES, zip(*rows.values(), strict=True), strict=False
        ):
            bar = axes.barh(list(rows), sizes, left=starts, height=0.7, color=colour, label=name)
            for patch in bar:
                patch.set(hatch=hatch, edgecolor="white")
            starts = [start + size for start, size in zip(starts, sizes, strict=True)]
        axes.invert_yaxis()
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_title(title, loc="left", fontsize=10)
        figure.legend(loc="outside lower left", ncols=len(names), frameon=False, fontsize=9)
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None})
    text = out.getvalue()
    return text[text.index("<svg") :]
