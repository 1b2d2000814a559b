"""What became of command lines that were tried, before and after their migration."""

from __future__ import annotations

from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest
from flag_domains import ONE
from truth import flat


@dataclass
class Verdicts:
    """What became of the sets: seed → what is wrong."""

    tried: int = 0
    wrong: dict[int, str] = field(default_factory=dict)

    def of(self, all_seeds: list[int], judge: Callable[[int], str], workers: int = 2) -> Verdicts:
        with ThreadPoolExecutor(workers) as pool:
            for seed, said in zip(all_seeds, pool.map(judge, all_seeds), strict=True):
                self.tried += 1
                if said:
                    self.wrong[seed] = said
        return self

    def check(self) -> None:
        if self.wrong:
            told = "".join(f"\n{ONE}={seed}: {said}" for seed, said in self.wrong.items())
            pytest.fail(f"{len(self.wrong)} of {self.tried} command lines:{told}", pytrace=False)
        assert self.tried


def told(wrong: dict[str, Any], rest: str) -> str:
    """What is wrong, if anything is, and then the rest."""
    said = "".join(f"{what}: {found}\n" for what, found in wrong.items() if found)
    return said and f"{said}{rest}"


def unlike(
    ours: dict[str, Any], theirs: dict[str, Any], passed_over: Collection[str] = ()
) -> dict[str, tuple[Any, Any]]:
    """Where our idea of what runs differs from what runs: fields that we have a value for."""
    known, real = flat(ours), flat(theirs)
    return {
        path: (value, real.get(path))
        for path, value in known.items()
        if value != real.get(path)
        and (value or real.get(path))
        and path not in passed_over
        and not _holds_objects(value)
    }


def _holds_objects(value: Any) -> bool:
    """Such as the scheduler's profiles, which it fills with defaults that no table has."""
    return isinstance(value, list) and any(isinstance(item, dict) for item in value)
