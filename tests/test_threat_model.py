"""Each row of the threat model names a test that there is."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parent
ROWS = [
    line.split("|")[1:-1]
    for line in (TESTS.parent / "docs/threat-model.md").read_text().splitlines()
    if line.startswith("| ") and not line.startswith("| must not")
]


def test_each_row_names_a_test_that_there_is() -> None:
    assert len(ROWS) > 20
    for *_, named in ROWS:
        [place] = re.findall(r"`([\w/]+\.py(?:::\w+)?)`", named)
        path, _, name = place.partition("::")
        assert (TESTS / path).is_file(), place
        assert f"def {name}{'(' if name else ''}" in (TESTS / path).read_text(), place
