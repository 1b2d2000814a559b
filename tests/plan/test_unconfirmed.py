"""What a plan says of changes that were open while it was made."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import yaml

from facts_fixtures import PLANS, read_facts
from kubeharden.facts import OpenChange
from kubeharden.plan.open_changes import open_lines, refusals, refused_for_now

CASES = yaml.safe_load((PLANS.parent / "unconfirmed" / "changes.yaml").read_text())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_it_names_the_run_until_when_and_what_to_do(case: dict[str, Any]) -> None:
    facts = replace(read_facts(PLANS / "article-1.10"), open_changes=(OpenChange(**case["change"]),))
    [found] = refusals(facts)
    assert list(refused_for_now(facts)) == [found] * case["not_yet"]
    assert open_lines(facts.open_changes) in f"  {found.subject}: {found.text}", (
        "what is waited for has the same words"
    )
    assert (found.subject, found.text, found.step) == (case["subject"], case["text"], "")
