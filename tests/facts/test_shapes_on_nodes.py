"""Secrets in the files of a node, in every shape that the files allow: seen in no view, no diff and no message."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from facts_fixtures import PLANS, read_facts
from kubeharden.facts import Facts, FileFact, NodeFacts, parse_observation
from kubeharden.facts.harmless import harmless_flags
from kubeharden.facts.sensitive import secrets_on, sensitive_file, sensitive_value
from kubeharden.inputs.parameters import Parameters
from kubeharden.plan import FileChange, Plan
from kubeharden.plan.decide import make_plan
from kubeharden.plan.model import unified_diff
from kubeharden.plan.own_words import own_words
from kubeharden.plan.proof import compare, unproved
from kubeharden.podsecurity.policies import read_policies
from kubeharden.redaction import Redactor, Sensitive, lines_of, mask
from kubeharden.show.display import View
from kubeharden.show.views import effective_view, plan_view, step_view
from secret_shapes import SHAPES, secrets_and_rest


@pytest.mark.parametrize("shape", SHAPES)
def test_each_place_is_known_and_all_else_stays(redactor: Redactor, shape: str) -> None:
    secrets, text, rest = secrets_and_rest(SHAPES[shape])
    found = sensitive_file("kubelet", text)
    assert mask(found) == rest.replace("«»", "‹redacted›")
    assert [text[start:end] for start, end in found.spans] == secrets
    shown = redactor.redact(found)
    for secret in secrets:
        assert not re.search(rf"(?<!\w){re.escape(secret)}(?!\w)", shown), shown


@pytest.mark.parametrize("shape", SHAPES)
def test_a_diff_knows_what_its_sides_do_wherever_it_is_cut(shape: str) -> None:
    secrets, text, _ = secrets_and_rest(SHAPES[shape])
    before = sensitive_file("kubelet", text)
    words = {word for secret in secrets for word in secret.split() if word not in "|>->\\"}
    for number in range(len(text.splitlines())):
        lines = text.splitlines(keepends=True)
        after = "".join([*lines[:number], "Nice=1\n", *lines[number + 1 :]])
        change = FileChange("/p", FileFact("/p", "644", "root", "root", before), after, "644", "root", "root")
        assert change.diff == unified_diff("/p", text, after), "the text of it is the same"
        removed = "".join(line for line in mask(change.diff).splitlines() if line[:1] in " -")
        assert not words & set(re.split(r"[\s=:'\",\[\]{}]+", removed)), removed


def test_lines_keep_what_is_known_of_them() -> None:
    text = Sensitive("ab\ncd\nef\n", spans=[(1, 4), (6, 8)])
    assert [mask(line) for line in lines_of(text)] == ["a‹redacted›\n", "‹redacted›d\n", "‹redacted›\n"]
    assert "".join(lines_of(text)) == text


@pytest.mark.parametrize("value", ["hunter", "4711", "abc", "SWORDFISH", "0012345", "correct horse", "x,y"])
def test_the_value_of_a_variable_is_withheld_where_it_stands_alone(value: str) -> None:
    for text in (f'[Service]\nEnvironment="NOTE={value}"\n', f"NOTE='{value}'\n"):
        redactor = Redactor(harmless_flags(), own_words())
        redactor.redact(sensitive_file("kubelet", text))
        for shown in (value, f"it is {value}.", f'["{value}"]', f"say: ({value})"):
            assert value not in redactor.redact(shown)
            assert value not in str(redactor.redact_data({"said": [shown]}))
        assert (redactor.redact(f"x{value}x") == f"x{value}x") == (len(value) < 12)


def test_what_variables_have_everywhere_stays() -> None:
    redactor = Redactor(harmless_flags(), own_words())
    values = [
        "info",
        "true",
        "/var/lib/x",
        "10.0.0.1",
        "v1.20.2",
        "300s",
        "100Mi",
        "kubernetes",
        "production",
        "ok",
    ]
    redactor.redact(sensitive_file("kubelet", "".join(f"A{n}={value}\n" for n, value in enumerate(values))))
    shown = " ".join(values)
    assert redactor.redact(shown) == shown


def test_words_of_a_node_are_never_withheld() -> None:
    facts = read_facts(PLANS / "handbuilt-1.20")
    node = facts.nodes[0]
    redactor = Redactor(harmless_flags(), own_words())
    text = f"A={node.name}\nB=kubelet\nC={node.hostname}\nD=PodSecurityPolicy\nE=hunter\n"
    redactor.redact(sensitive_file("kubelet", text))
    redactor.withhold(secrets_on(node))
    shown = f"{node.name} kubelet {node.hostname} PodSecurityPolicy"
    assert redactor.redact(shown) == shown
    assert redactor.redact("hunter") != "hunter"


def planned_with(*flags: str) -> tuple[Facts, Plan, Redactor]:
    """The plan of a node whose kubelet has more flags, and no config file yet."""
    folder = PLANS / "article-1.10"
    facts = read_facts(folder)
    answer = (folder / "facts" / "k8s-node1.txt").read_text()
    words = "".join(f"{flag}\n" for flag in flags)
    answer = answer.replace("/usr/bin/kubelet ", f"/usr/bin/kubelet {' '.join(flags)} ").replace(
        "/usr/bin/kubelet\n", f"/usr/bin/kubelet\n{words}"
    )
    node = parse_observation("k8s-node1", False, answer)
    node = node.with_configz(facts.node("k8s-node1").effective_config("kubelet"))
    seen = Facts((*(one for one in facts.nodes if one.name != node.name), node), facts.cluster)
    redactor = Redactor(harmless_flags(), own_words())
    for one in seen.nodes:
        redactor.withhold(secrets_on(one))
    policies = read_policies(Path(__file__).parents[2] / "parameters" / "pod-security.yaml")
    return seen, make_plan(seen, Parameters(), policies), redactor


@pytest.fixture
def planned() -> tuple[Facts, Plan, Redactor]:
    """The plan of a node whose kubelet has secrets in its flags."""
    return planned_with(
        "--manifest-url=http://web/pods?k=ab", "--manifest-url-header=X-Pin:hunter,X-Word:swordfish"
    )


@pytest.mark.parametrize("long", range(200, 500, 13))
def test_a_long_value_is_cut_without_its_secrets(long: int) -> None:
    """Half a token is not known as one."""
    token = "k1u2b3.h4a5r6d7e8n9z0xy"
    _, plan, redactor = planned_with(f"--root-dir={('/a/b' * 200)[:long]}/{token}")
    view = step_view(plan, "kubelet")
    view.redactor = redactor
    for shown in (str(view), view._repr_html_()):
        assert "/a/b/a/b" in shown
        assert token[:4] not in shown


def test_what_is_moved_to_a_new_file_is_shown_nowhere(planned: tuple[Facts, Plan, Redactor]) -> None:
    _, plan, redactor = planned
    change = next(c for c in plan.node_changes if (c.node, c.service) == ("k8s-node1", "kubelet"))
    assert any("swordfish" in file.after for file in change.files), "it is written"
    for view in (step_view(plan, "kubelet"), plan_view(plan)):
        view.redactor = redactor
        for shown in (str(view), view._repr_html_()):
            assert "hunter" not in shown
            assert "swordfish" not in shown
    assert "staticPodURLHeader" in str(step_view(plan, "kubelet"))
    shown = str(redactor.redact_data([file.diff for file in change.files]))
    assert "swordfish" not in shown


def test_what_is_in_effect_is_reported_without_it(planned: tuple[Facts, Plan, Redactor]) -> None:
    facts, plan, redactor = planned
    node = facts.node("k8s-node1")
    served = {"staticPodURLHeader": {"X-Pin": ["swordfish"]}, "maxPods": 7}
    after = Facts(
        (*(one for one in facts.nodes if one.name != node.name), node.with_configz(served)), facts.cluster
    )
    proof = compare(facts, after, plan, applied=True)
    view = View([effective_view(proof.differences)])
    for shown in (
        "\n".join(proof.problems),
        str(redactor.redact_data(proof.differences)),
        _html(view, redactor),
    ):
        assert "swordfish" not in shown
        assert "staticPodURLHeader" in shown
        assert "maxPods" in shown
    change = next(c for c in plan.node_changes if (c.node, c.service) == ("k8s-node1", "kubelet"))
    assert "swordfish" not in "\n".join(unproved(change, node.with_configz(served), node))


def _html(view: View, redactor: Redactor) -> str:
    view.redactor = redactor
    return view._repr_html_().replace("<wbr>", "")  # where a long word may break


def test_a_value_by_itself_is_judged_by_its_name() -> None:
    assert sensitive_value("kubelet", "60", field="maxPods") == "60"
    assert mask(sensitive_value("kubelet", "hunter", field="staticPodURLHeader.A")) == "‹redacted›"
    assert mask(sensitive_value("kubelet", "7", field="staticPodURLHeader.A")) == "‹redacted›"
    assert mask(sensitive_value("kubelet", "hunter", field="made.up")) == "‹redacted›"
    assert mask(sensitive_value("kubelet", "hunter", flag="--storage-driver-password")) == "‹redacted›"
    assert mask(sensitive_value("kubelet", "rack=b12", flag="--node-labels")) == "rack=b12"


def test_a_node_without_secrets_has_no_mark() -> None:
    for folder in PLANS.iterdir():
        for node in read_facts(folder).nodes:
            _assert_whole(node)


def _assert_whole(node: NodeFacts) -> None:
    for service in node.services.values():
        for fact in service.files.values():
            assert mask(fact.content) == fact.content
