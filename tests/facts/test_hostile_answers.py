"""Whatever a node answers, reading it ends in time and raises nothing but the library's own errors."""

from __future__ import annotations

import contextlib
import json
import re
import time
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sampling
from facts_fixtures import PLANS, read_facts
from kubeharden.components import units
from kubeharden.components.commands import MARK, specifiers_of, with_values
from kubeharden.components.environment_files import parse_environment_file
from kubeharden.components.shells import expansion_in
from kubeharden.components.validate import _thresholds
from kubeharden.components.values import parse_text
from kubeharden.errors import KubehardenError, NodeError, UnitError
from kubeharden.facts import Facts, NodeFacts, parse_observation
from kubeharden.facts.model import ANYTHING, _fits
from kubeharden.facts.sensitive import secrets_on, sensitive_file
from kubeharden.inputs.parameters import Parameters
from kubeharden.plan.decide import make_plan
from kubeharden.podsecurity.policies import read_policies
from kubeharden.redaction import Redactor
from kubeharden.show.views import facts_view, plan_view, step_view

POLICIES = read_policies(Path(__file__).parents[2] / "parameters" / "pod-security.yaml")
ANSWER = (PLANS / "handbuilt-1.20" / "facts" / "k8s-node2.txt").read_text()
# What is put into an answer, in places where chance has it.
PIECES = [
    *(
        "",
        "\n",
        '"',
        "'",
        "\\",
        "%",
        "$",
        "${A}",
        "=",
        "\0",
        "\udc9b",
        "\x85",
        "\r\n",
        "#",
        " ",
        "\t",
        "..",
        "/",
    ),
    *(
        "[Service]\n",
        "ExecStart=",
        "ExecStart=\n",
        'ExecStart=/bin/sh -c "exec k"',
        'Environment=A="x',
        "EnvironmentFile=/x",
    ),
    *(
        "&a [*a]",
        "*a",
        "<html>",
        ": ",
        "- ",
        "|",
        "{",
        "[" * 200,
        "9" * 5000,
        ".inf",
        "!!python/object:x y",
        "? a",
    ),
    *(
        "MainPID=x",
        "MainPID=",
        "v9.9.9",
        "1." * 50,
        "kind: x\n",
        "apiVersion: v0\n",
        "NaN",
        "1e999",
        "null",
        "true",
    ),
    *("--config", "--", "-", "--v=x", "--feature-gates=A=b", "--node-labels", "--cluster-dns=x,y", "-1"),
]


def garbled(answer: str, chance: Random) -> str:
    """An answer in which some pieces and lines are others."""
    for _ in range(chance.randint(1, 4)):
        place, piece = chance.randrange(len(answer) + 1), chance.choice(PIECES)
        if chance.random() < 0.5:
            answer = answer[:place] + piece + answer[place + chance.choice([0, 0, 1, 20]) :]
        else:
            lines = answer.split("\n")
            number = chance.randrange(len(lines))
            head = re.match(r"[^=:]*[=:]?", lines[number])
            lines[number] = chance.choice(
                [piece, lines[chance.randrange(len(lines))], (head[0] if head else "") + piece]
            )
            answer = "\n".join(lines)
    return answer


def read(answer: str) -> NodeFacts | None:
    try:
        return parse_observation("k8s-node2", False, answer)
    except NodeError:
        return None


@given(st.randoms(use_true_random=False))
@settings(max_examples=sampling.examples(150), deadline=None)
def test_any_answer_is_read_or_refused(chance: Random) -> None:
    node = read(garbled(ANSWER, chance))
    for service in node.present if node else ():
        for look in (
            service.unit_argv,
            lambda found=service: found.config(list(found.cmdline)),
            lambda found=service: found.release,
        ):
            try:
                look()
            except KubehardenError:
                continue
    redactor = Redactor()
    if node is not None:
        redactor.withhold(secrets_on(node))
        redactor.redact(repr(node))


@given(st.randoms(use_true_random=False))
@settings(max_examples=sampling.examples(8), deadline=None)
def test_any_answer_makes_a_plan_or_an_error(chance: Random) -> None:
    facts = read_facts(PLANS / "handbuilt-1.20")
    node = read(garbled(ANSWER, chance))
    if node is None:
        return
    nodes = (*(one for one in facts.nodes if one.name != node.name), node)
    try:
        seen = Facts(nodes, facts.cluster)
        shown = str(facts_view(seen))
        plan = make_plan(seen, Parameters(), POLICIES)
        shown += str(plan_view(plan)) + "".join(str(step_view(plan, step)) for step in plan.steps)
    except KubehardenError as error:
        shown = str(error)
    assert shown


LINES = st.text(st.sampled_from(list("AB=\\\n\"'#;$ {}x%-\t[")), max_size=80)


@given(LINES, LINES)
@settings(max_examples=sampling.examples(200), deadline=None)
def test_any_unit_and_environment_file_is_read_or_refused(unit: str, environment: str) -> None:
    text = f"[Service]\n{unit}\nExecStart=/k $A ${{B}}\nEnvironmentFile=/e\n"
    service = units.Service((("/u", units.Unit.parse(text)),), {"/e": environment})
    with contextlib.suppress(UnitError):
        assert all(isinstance(word, str) for word in service.argv())
    for content in (text, environment):
        found = sensitive_file("kubelet", content)
        assert found == content
        Redactor().redact(found)


LONG = {
    "one word": "ExecStart=/k " + "a" * 300_000,
    "words": "ExecStart=/k " + "a " * 100_000,
    "flags": "ExecStart=/k " + "-a " * 80_000,
    "quotes": "ExecStart=/k " + "'a' " * 60_000,
    "an open quote": "ExecStart=/k '" + "a" * 300_000,
    "variables": "Environment=A=b\n" * 50_000 + "ExecStart=/k",
    "one variable": 'Environment="A=' + "b" * 300_000 + '"\nExecStart=/k $A',
    "lines that go on": "ExecStart=/k " + "\\\na" * 80_000,
    "comments in lines that go on": "ExecStart=/k \\\n" + "# a\n" * 80_000,
    "commands": "ExecStart=/k\n" * 60_000,
    "references": "ExecStart=/k " + "$A " * 80_000,
    "backslashes": "ExecStart=/k " + "\\" * 300_000,
    "a shell": "ExecStart=/bin/sh -c 'exec /k " + '"a" ' * 60_000 + "'",
    "starters": "ExecStart=env " + "nice " * 9_000 + "/k",
    "assignments": "ExecStart=env " + "A=b " * 9_000 + "/k",
    "a shell line": "ExecStart=/bin/sh -c '" + ";a=" * 90_000 + "'",
    "specifiers": "ExecStart=/k " + "%H " * 80_000,
    "specifiers in a word": "ExecStart=/k " + "%a%b%c%d%e%f%g%H%i" * 8_000,
    "escapes": "ExecStart=/k " + "\\x41" * 60_000,
    "lines that go on after blanks": "ExecStart=/k " + "\\\n" * 100_000,
    "commands in a line": "ExecStart=/k " + "; /k " * 60_000,
    "backslashes in a line": "ExecStart=/k " + "\\" * 300_000 + "x",
    "variables that are open": "ExecStart=/k " + "${" * 150_000,
    "blanks": " " * 300_000 + "x",
    "files of variables": "EnvironmentFile=/e\n" * 20_000 + "ExecStart=/k",
    "words of a shell": "ExecStart=/usr/bin/env -S '" + "a " * 100_000 + "'",
    "sections": "[Unit]\n" * 100_000 + "[Service]\nExecStart=/k",
}


@pytest.mark.sample(4)
@pytest.mark.parametrize("shape", LONG)
def test_a_long_unit_is_read_or_refused_in_time(shape: str) -> None:
    start = time.process_time()
    text = f"[Service]\n{LONG[shape]}\n"
    service = units.Service((("/u", units.Unit.parse(text)),), {"/e": "A=b\n" * 20_000})
    with contextlib.suppress(UnitError):
        service.argv()
    Redactor().redact(sensitive_file("kubelet", text))
    parse_environment_file(text.replace("'", "").replace('"', ""))
    assert time.process_time() - start < 20


@pytest.mark.parametrize(
    ("template", "word"),
    [
        (f"{MARK}ax{MARK}bx{MARK}cx{MARK}dy", "x" * 4000),
        (f"{MARK}a{MARK}a{MARK}ay", "x" * 200_000),
        (f"{MARK}a", "x" * 1_000_000),
        (f"/run/{MARK}n/{MARK}i", "/run/kubelet.service/a"),
    ],
)
def test_what_a_specifier_stands_for_is_told_in_time(template: str, word: str) -> None:
    start = time.process_time()
    known = specifiers_of([template], [word])
    assert known is None or with_values(template, known) == word
    assert (known is None) == template.endswith("y")
    assert time.process_time() - start < 5


@pytest.mark.parametrize("between", [ANYTHING, f"{ANYTHING}x", f"x{ANYTHING}"])
def test_words_are_compared_with_those_that_run_in_time(between: str) -> None:
    start = time.process_time()
    assert not _fits([*[between, "x"] * 20, "y"], ["x"] * 400)
    assert not _fits([between * 40 + "y"], ["x" * 4000])
    assert _fits([ANYTHING, "x", ANYTHING, f"a{ANYTHING}b{ANYTHING}c"], ["x", "1", "x", "abbc"])
    assert time.process_time() - start < 5


def test_one_brace_and_many_dots_are_read_in_time() -> None:
    start = time.process_time()
    assert expansion_in("k {" + "." * 200_000) == ""
    assert expansion_in("k {" + "." * 200_000 + "}").endswith("..}")
    assert expansion_in("k {a,b}") == "{a,b}"
    assert time.process_time() - start < 5


@pytest.mark.parametrize("text", ["1" * 300_000, "1" * 300_000 + "x", "0." * 150_000, "1h" * 150_000 + "x"])
def test_long_numbers_are_read_or_refused_in_time(text: str) -> None:
    start = time.process_time()
    for kind in ("duration", "quantity", "float64", "int32"):
        for value in (text, f"{text}%", f"{text}h"):
            with contextlib.suppress(ValueError):
                parse_text(kind, value)
    with contextlib.suppress(ValueError):
        _thresholds({"memory.available": f"{text}%"})
    assert time.process_time() - start < 5


def with_section(section: str) -> str:
    """The answer with another section at its end."""
    mark = ANSWER.partition("@observation ")[2].partition("\n")[0]
    return ANSWER.replace(f"\n{mark} end\n", f"\n{mark} {section}\n{mark} end\n")


@pytest.mark.parametrize(
    ("section", "why"),
    [
        (
            "modes /etc/kubernetes\n644 root root ./a\nb\n",
            "a name below /etc/kubernetes has a line break in it, near 'b'",
        ),
        ("modes /etc/kubernetes\nrw- root root ./a\n", "has a line break in it, near 'rw- root root ./a'"),
        (
            "show kubelet\nLoadState=loaded\nMainPID=1x",
            "systemd says of kubelet MainPID='1x', which is not a number",
        ),
        ("show kubelet\nLoadState=loaded\nNRestarts=-1", "NRestarts='-1', which is not a number"),
        ("show sshd\nLoadState=loaded", "a section that the script does not write: 'show sshd'"),
        ("file rw-r--r-- root root /etc/x\nx", "'/etc/x' has the mode 'rw-r--r--', which is not octal"),
        ("file 644 root\nx", "a section that the script does not write"),
        ("file 644 root root /etc/x\n" + "x" * 2_000_000, "'/etc/x' is too large"),
        ("show\n", "a section that the script does not write: 'show'"),
        ("cmdline kubelet\n" + "a\n" * 50_000, "the command line of kubelet is too long: 50000 words"),
    ],
)
def test_what_is_wrong_is_named(section: str, why: str) -> None:
    with pytest.raises(NodeError, match=re.escape(why)) as raised:
        parse_observation("k8s-node2", False, with_section(section))
    assert str(raised.value).startswith("k8s-node2: ")
    assert len(str(raised.value)) < 400


@pytest.mark.parametrize(
    "said",
    [
        "<html><body>404 page not found</body></html>",
        "a: &a [x]\n" + "".join(f"a{n}: &a{n} [{', '.join(['*a'] * 9)}]\n" for n in range(9)),
        "[" * 100_000,
        '{"a":' * 100_000,
        '["a"]',
        '{"componentconfig": ["a"]}',
        '{"componentconfig": NaN}',
        "just text",
    ],
)
def test_what_another_program_serves_as_configuration_is_not_one(said: str) -> None:
    start = time.process_time()
    node = parse_observation("k8s-node2", False, with_section(f"configz kube-proxy\n{said}"))
    assert node.services["kube-proxy"].configz is None
    assert time.process_time() - start < 5


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ("a: &a [*a]\n", r"/etc/k is not YAML \(line 1\): an alias stands for what it is in"),
        (
            "a: &a [x]\n"
            + "".join(
                f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n".replace("*a-1", "*a") for n in range(9)
            ),
            r"/etc/k is not YAML \(line \d\): it has too many values",
        ),
        (
            "a0: &a0 "
            + "[" * 30
            + "]" * 30
            + "\n"
            + "".join(f"a{n}: &a{n} {'[' * 30}*a{n - 1}{']' * 30}\n" for n in range(1, 5)),
            r"/etc/k is not YAML \(line 3\): it is nested too deeply",
        ),
        ("a: &a {x: 1}\nb: {x: 2, <<: *a}\n", r"/etc/k has the key 'x' twice, beside a merge .*\(line 2\)"),
        (
            "---\n---\nport: 1\n",
            "/etc/k holds no configuration in its first document, the only one that is read",
        ),
        ("[" * 1000, r"/etc/k is not YAML \(line 1\): it is nested too deeply"),
        ("- a\n" * 200_000, r"/etc/k is not YAML \(line \d+\): it has too many values"),
        ("port: 1e999\nx: .inf\n", r"/etc/k is not YAML \(line 2\): a number is not one that JSON has"),
        ("just text", "/etc/k holds no configuration"),
        ("<!doctype html>", "/etc/k holds no configuration"),
    ],
)
def test_a_config_file_that_is_none_is_refused_by_name(config: str, why: str) -> None:
    text = with_section(f"file 644 root root /etc/k\n{config}")
    node = parse_observation("k8s-node2", False, text)
    service = next(one for one in node.services.values() if "/etc/k" in one.files)
    with pytest.raises(UnitError, match=why):
        service.config(["k", "--config=/etc/k"])


def test_a_served_configuration_is_read_as_json() -> None:
    said = json.dumps({"componentconfig": {"mode": "iptables", "day": "2024-01-01"}})
    node = parse_observation("k8s-node2", False, with_section(f"configz kube-proxy\n{said}"))
    assert node.services["kube-proxy"].configz == {"mode": "iptables", "day": "2024-01-01"}
