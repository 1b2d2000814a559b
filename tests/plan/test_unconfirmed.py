"""What a plan says of changes that were open while it was made."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import yaml

from facts_fixtures import PLANS, read_facts
from kubeharden.facts import OpenChange
from kubeharden.plan.unconfirmed import refusals

CASES = yaml.safe_load((PLANS.parent / "unconfirmed" / "changes.yaml").read_text())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_it_names_the_run_until_when_and_what_to_do(case: dict[str, Any]) -> None:
    facts = replace(read_facts(PLANS / "article-1.10"), open_changes=(OpenChange(**case["change"]),))
    [found] = refusals(facts)
    assert (found.subject, found.text, found.step) == (case["subject"], case["text"], "")
