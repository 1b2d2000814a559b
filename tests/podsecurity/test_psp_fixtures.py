"""Every field of a PodSecurityPolicy by example; tests/lab/test_psp_judge.py shows the same to a real API server."""

from __future__ import annotations

import copy

import pytest

from kubeharden.podsecurity import evaluate_psp
from kubeharden.podsecurity.psp.policy import PolicySpec
from psp_examples import Example, examples


@pytest.mark.parametrize("example", list(examples()), ids=str)
def test_example(example: Example) -> None:
    pod, policy = copy.deepcopy(example.pod), copy.deepcopy(example.policy)
    decision = evaluate_psp(pod, [policy])
    assert (pod, policy) == (example.pod, example.policy), "an argument was changed"
    assert decision.refusals == ({"judged": example.reasons} if example.reasons else {})
    assert decision.admitted is not bool(example.reasons)
    assert decision.policy == (None if example.reasons else "judged")
    assert decision.pod == example.becomes


def test_every_field_has_its_examples() -> None:
    named = {key for example in examples() for key in example.policy["spec"]}
    assert named == {field.alias or name for name, field in PolicySpec.model_fields.items()}
