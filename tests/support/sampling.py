"""Cases that repeat one another: a run tries some of them, by a seed that it says, and ``make soak`` tries all.

A test says it with a mark; the cases of a run that are not in its sample are skipped, with the count as the reason:

    @pytest.mark.sample(2)               two of the cases of this function
    @pytest.mark.sample(1, of="shell")   one value of that parameter for each combination of the others

KUBEHARDEN_SAMPLE_SEED=N tries what the run with that seed tried. Seeds that follow one another begin one case further
on, so as many as there are cases leave none out. KUBEHARDEN_SAMPLE=all tries everything.
"""

from __future__ import annotations

import os
import random
from collections.abc import Hashable, Iterable, Iterator

import pytest

SWITCH, SEED = "KUBEHARDEN_SAMPLE", "KUBEHARDEN_SAMPLE_SEED"
TOLD = "sample of "
EXAMPLES_ONE_IN = 3


def begin() -> None:
    """Choose a seed, unless there is one; the processes that this one starts have the same."""
    os.environ.setdefault(SEED, str(random.SystemRandom().randrange(10**6)))


def is_complete() -> bool:
    """Whether everything is tried."""
    return os.environ.get(SWITCH) == "all"


def header() -> str:
    if is_complete():
        return f"sample: everything ({SWITCH}=all)"
    told = f"one in {EXAMPLES_ONE_IN} of the examples of a property; what is left out is skipped below"
    return f"sample: {SEED}={os.environ[SEED]}, {told}; {SWITCH}=all tries everything"


def chosen(count: int, wanted: int, further: int = 0) -> list[int]:
    """The cases that this run tries, by their place, evenly spread.

    Args:
        count: how many there are.
        wanted: how many are enough.
        further: how many cases further on it begins, so that others that are chosen from are not at the same place.
    """
    if is_complete() or wanted >= count:
        return list(range(count))
    first = int(os.environ[SEED]) + further
    return sorted((first + at * count // wanted) % count for at in range(wanted))


def examples(count: int) -> int:
    """How many examples of a property this run tries."""
    return count if is_complete() else count // EXAMPLES_ONE_IN


def tell(item: pytest.Item, what: str, tried: int, known: int) -> None:
    """Note for the end of the run how many of how many a test tried by itself."""
    item.user_properties.append((f"{TOLD}{what}", (tried, known)))


def summary(reports: Iterable[pytest.TestReport]) -> Iterator[str]:
    """What tests told, added up."""
    told: dict[str, list[tuple[int, int]]] = {}
    for report in reports:
        for name, value in report.user_properties:
            if name.startswith(TOLD):
                told.setdefault(name, []).append(tuple(value))
    for name, counts in told.items():
        tried, known = map(sum, zip(*counts, strict=True))
        yield f"{name}: {tried} of {known}"


def leave_out(items: Iterable[pytest.Item]) -> None:
    """Skip what is not in the sample of this run; what is skipped anyway does not count."""
    groups: dict[Hashable, list[pytest.Function]] = {}
    for item in items:
        mark = item.get_closest_marker("sample")
        if mark is not None and isinstance(item, pytest.Function) and not item.get_closest_marker("skip"):
            groups.setdefault(_group(item, mark.kwargs.get("of")), []).append(item)
    for number, cases in enumerate(groups.values()):
        [wanted] = cases[0].get_closest_marker("sample").args
        kept = chosen(len(cases), wanted, number)
        reason = f"not in the sample: {len(kept)} of {len(cases)} are tried"
        for at, case in enumerate(cases):
            if at not in kept:
                case.add_marker(pytest.mark.skip(reason=reason))


def _group(item: pytest.Function, of: str | None) -> Hashable:
    """What the cases that are sampled together have in common: the function, and all parameters but one."""
    others = item.callspec.params.items() if of else ()
    return (item.nodeid.partition("[")[0], *((name, id(value)) for name, value in others if name != of))
