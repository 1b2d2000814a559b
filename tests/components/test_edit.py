"""Config files of people: what they wrote stays where its setting stays, or the plan says what goes."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

import sampling
from kubeharden import KubehardenError, migrate
from kubeharden.components.edit import edit
from kubeharden.formats import as_yaml, comments_of, scalars_of

ARGV = ["kubelet", "--client-ca-file=/ca.crt", "--kubeconfig=/k", "--config=/etc/kubelet.yaml"]
WRITTEN = """\
# Kubelet of the edge nodes; ask Anna before you change anything
---
kind: KubeletConfiguration   # never changes
apiVersion: kubelet.config.k8s.io/v1beta1
authentication:
  # nobody without a name, once the old dashboard is gone
  anonymous:
    enabled: true # for the dashboard
  x509: {clientCAFile: /ca.crt}  # of 2019

# --- who may do what ---
authorization: {mode: AlwaysAllow}
maxpods: 50 # a big node
# the DNS of our cluster
clusterDNS:
    - "10.0.0.10"   # first
    - '10.0.0.11'   # second
evictionHard: {memory.available: "100Mi", nodefs.available: "10%"}
staticPodPath: "/etc/#manifests"
# the end
"""


def read(text: str) -> Any:
    return as_yaml(text, "a file", KubehardenError)


def comments(text: str) -> list[str]:
    return [
        text[start:end].strip()
        for start, end in comments_of(text, scalars_of(text, "a file", KubehardenError))
    ]


def test_the_lines_of_people_stay_where_they_are() -> None:
    made = migrate("kubelet", "1.20", ARGV, read(WRITTEN), text=WRITTEN)
    assert not made.refused
    assert read(made.yaml) == made.config
    assert [line for line in WRITTEN.splitlines() if line not in made.yaml.splitlines()] == [
        "    enabled: true # for the dashboard",
        "authorization: {mode: AlwaysAllow}",
        "maxpods: 50 # a big node",
    ]
    assert "    enabled: false # for the dashboard\n" in made.yaml
    assert set(comments(WRITTEN)) - set(comments(made.yaml)) == {"# a big node"}
    assert made.lost == (13,)
    # What is new stands where it belongs, before the comment on what comes next.
    where = made.yaml.index("# --- who may do what ---")
    assert made.yaml.index("webhook:") < where < made.yaml.index("readOnlyPort: 0")


def test_a_file_without_comments_of_people_is_written_as_ever() -> None:
    first = migrate("kubelet", "1.20", ARGV, read(WRITTEN))
    assert "# port: 10250" in first.yaml
    again = migrate(
        "kubelet", "1.20", ARGV, first.config, text=first.yaml, fields={"clusterDNS": ["10.0.0.53"]}
    )
    assert (
        again.yaml
        == migrate("kubelet", "1.20", ARGV, first.config, fields={"clusterDNS": ["10.0.0.53"]}).yaml
    )
    assert again.lost == ()


def test_what_was_edited_needs_no_second_edit() -> None:
    made = migrate("kubelet", "1.20", ARGV, read(WRITTEN), text=WRITTEN)
    again = migrate("kubelet", "1.20", ARGV, made.config, text=made.yaml)
    assert (again.yaml, again.config, again.lost) == (made.yaml, made.config, ())


@pytest.mark.parametrize(
    ("old", "new", "text", "lost"),
    [
        ("a: 1 # one\n", {"a": 2}, "a: 2 # one\n", ()),
        ("a: 1 # one", {"a": 1, "b": {"c": "x"}}, 'a: 1 # one\nb:\n  c: "x"\n', ()),
        ("a: # one\nb: 2\n", {"a": 1, "b": 2}, "a: 1 # one\nb: 2\n", ()),
        ("a: 1 # one\n# two\nb: 2\n", {"b": 2}, "# two\nb: 2\n", (1,)),
        ("a:\n  b: 1\n  # of c\n  c: 2\n# end\n", {"a": {"c": 2}}, "a:\n  # of c\n  c: 2\n# end\n", ()),
        (
            "a:\n  b: 1\n# end\nc: 3\n",
            {"a": {"b": 1, "d": 4}, "c": 3},
            "a:\n  b: 1\n  d: 4\n# end\nc: 3\n",
            (),
        ),
        (
            "a:\n- x # first\n- y # second\n# end\n",
            {"a": ["x", "z"]},
            'a:\n- x # first\n- "z"\n# end\n',
            (3,),
        ),
        ("a:\n  - x # first\n# end\n", {"a": ["x", "y"]}, 'a:\n  - x # first\n  - "y"\n# end\n', ()),
        ("a:\n- x # first\nb: 1\n", {"a": ["y"], "b": 1}, 'a:\n- "y"\nb: 1\n', (2,)),
        (
            "a:\n- of: x # first\n  v: 1 # of x\n# two\n- of: o\n  # of v\n  v: 2\n",
            {"a": [{"of": "x", "v": 3}, {"of": "o", "v": 2, "w": 4}, {"of": "z"}]},
            'a:\n- of: x # first\n  v: 3 # of x\n# two\n- of: o\n  # of v\n  v: 2\n  w: 4\n- of: "z"\n',
            (),
        ),
        ("a:\n- n: 1 # first\n  v: 2\n", {"a": [{"v": 2}]}, "FRESH", (2,)),
        ("a: [x, y] # both\n", {"a": ["x"]}, 'a: ["x"] # both\n', ()),
        ("a: {b: 1} # flow\n", {"a": {"b": 2}}, 'a: {"b": 2} # flow\n', ()),
        ("a: |\n  # text\n  x\n# end\n", {"a": "y"}, 'a: "y"\n# end\n', ()),
        ("a: 1 # one\r\nb: 2\r\n", {"a": 3, "b": 2, "c": 4}, "a: 3 # one\r\nb: 2\r\nc: 4\r\n", ()),
        ("\ufeffa: 1 # one\n", {"a": 2}, "\ufeffa: 2 # one\n", ()),
        ("# top\n{a: 1}\n", {"a": 2}, "FRESH", (1,)),
        ("? a # one\n: 1\n", {"a": 2}, "  a: 2\n", (1,)),
        ("a: &x 1 # one\nb: 2\n", {"a": 2, "b": 2}, "a: 2 # one\nb: 2\n", ()),
    ],
)
def test_a_text_is_edited_in_place(old: str, new: dict[str, Any], text: str, lost: tuple[int, ...]) -> None:
    made = edit(old, new, "FRESH", frozenset())
    assert (made.text, made.lost) == (text, lost)


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ('{"kind":"KubeletConfiguration","maxPods":7}', {}),
        ('{\n    "kind": "KubeletConfiguration",\n    "maxPods": 7\n}\n', {"indent": 4}),
        ('{\n\t"maxPods": 7,\n\t"kind": "KubeletConfiguration"\n}\n', {"indent": "\t"}),
    ],
)
def test_json_stays_json(text: str, form: dict[str, Any]) -> None:
    given = json.loads(text)
    made = migrate("kubelet", "1.20", ARGV, given, text=text)
    written = json.loads(made.yaml)
    assert written == made.config
    assert list(written)[:2] == list(given)
    assert made.yaml == json.dumps(written, **form) + ("\n" if text.endswith("\n") else "")


def test_a_file_that_is_named_json_is_json() -> None:
    words = [word.replace("/etc/kubelet.yaml", "/etc/kubelet.json") for word in ARGV]
    made = migrate("kubelet", "1.20", words, {"maxPods": 7})
    assert json.loads(made.yaml) == made.config
    # What was YAML there stays so, with what people wrote into it.
    assert "# many" in migrate("kubelet", "1.20", words, {"maxPods": 7}, text="maxPods: 7 # many\n").yaml


def some_value(rng: random.Random, depth: int) -> Any:
    kind = rng.randrange(8 if depth else 5)
    if kind > 5:
        return {rng.choice("abcdefgh"): some_value(rng, depth - 1) for _ in range(rng.randint(1, 4))}
    if kind == 5:
        return [some_value(rng, 0) for _ in range(rng.randint(0, 3))]
    return rng.choice(
        [1, 2.5, True, False, "x", "y z", "# no comment", "a: b", "", "yes", "0x1f", "1e3", "äö", "l1\nl2"]
    )


def spelt(rng: random.Random, value: dict[str, Any], column: int) -> str:
    """A mapping as somebody may have written it, with comments that number themselves."""
    lines = []
    for name, item in value.items():
        if rng.random() < 0.3:
            lines.append(f"{' ' * column}# {rng.random()}")
        tail = f"{' ' * rng.randint(1, 3)}# {rng.random()}" if rng.random() < 0.4 else ""
        if isinstance(item, dict) and item and rng.random() < 0.8:
            lines += [f"{' ' * column}{name}:{tail}", spelt(rng, item, column + rng.choice([1, 2, 4]))]
        elif isinstance(item, list) and item and rng.random() < 0.8:
            inner = " " * (column + rng.choice([0, 2]))
            lines += [
                f"{' ' * column}{name}:{tail}",
                *(f"{inner}- {json.dumps(each)}  # {rng.random()}" for each in item),
            ]
        else:
            lines.append(f"{' ' * column}{name}: {json.dumps(item, ensure_ascii=False)}{tail}")
        if rng.random() < 0.2:
            lines.append("")
    return "\n".join(lines)


def changed(rng: random.Random, value: dict[str, Any]) -> dict[str, Any]:
    result = {
        name: changed(rng, item) if isinstance(item, dict) and rng.random() < 0.5 else
        some_value(rng, 2) if rng.random() < 0.3 else item
        for name, item in value.items() if rng.random() < 0.85
    }  # fmt: skip
    return result | ({rng.choice("uvw"): some_value(rng, 2)} if rng.random() < 0.4 or not result else {})


def test_no_comment_goes_without_a_word() -> None:
    """Random files and random changes: what is written says what was wanted, and each comment is in it or is named."""
    for seed in sampling.chosen(6000, 600):
        rng = random.Random(seed)
        old = {rng.choice("abcdefgh"): some_value(rng, 3) for _ in range(rng.randint(1, 5))}
        text = spelt(rng, old, 0) + rng.choice(["", "\n", "\n# end\n"])
        assert read(text) == old, seed
        wanted = changed(rng, old)
        made = edit(text, wanted, "FRESH: 1\n", frozenset())
        if made.text == "FRESH: 1\n":
            assert not comments(text), text
            continue
        assert read(made.text) == wanted, text
        there = comments(made.text)
        gone = [line for line, start in lines_of_comments(text) if start not in there]
        assert gone == list(made.lost), (text, made)


def lines_of_comments(text: str) -> list[tuple[int, str]]:
    places = comments_of(text, scalars_of(text, "a file", KubehardenError))
    return [(text.count("\n", 0, start) + 1, text[start:end].strip()) for start, end in places]


IN_PLACE = 'authentication: {"x509": {"clientCAFile": "/ca.crt"}, "anonymous": {"enabled": false}}'
BESIDE = {
    "authentication: {x509: {clientCAFile: /ca.crt}} # of 2019\n": f"{IN_PLACE} # of 2019\n",
    "authentication: # nothing yet\n# more\n": f"{IN_PLACE} # nothing yet\n# more\n",
    "authentication: {} # nothing yet\n": f"{IN_PLACE} # nothing yet\n",
    "authentication:\n  x509: {clientCAFile: /ca.crt}\n    # of x509\n\n  # of it\n# end\n": (
        "authentication:\n  x509: {clientCAFile: /ca.crt}\n    # of x509\n"
        "  anonymous:\n    enabled: false\n\n  # of it\n# end\n"
    ),
}


@pytest.mark.parametrize("text", BESIDE)
def test_a_comment_beside_what_changes_stays(text: str) -> None:
    wanted = {"authentication": {"x509": {"clientCAFile": "/ca.crt"}, "anonymous": {"enabled": False}}}
    made = edit(text, wanted, "fresh", frozenset())
    assert (made.text, made.lost) == (BESIDE[text], ())


def test_what_is_added_stands_behind_the_comments_that_are_deeper() -> None:
    text = "logging:\n  format: text\n    # why text\n  # of logging\n# end"
    made = edit(text, {"logging": {"format": "text"}, "maxPods": 7}, "fresh", frozenset())
    assert made.text == "logging:\n  format: text\n    # why text\n  # of logging\nmaxPods: 7\n# end"


@pytest.mark.parametrize(
    ("old", "text"),
    [
        ("  a: 1\nb: 2\n", "FRESH\n---\nb: 2\n"),
        ("  a: 1 # one\nb: 2\n", "  a: 3 # one\n---\nb: 2\n"),
        ("--- {a: 1}\nb: 2\n", "FRESH\n---\nb: 2\n"),
        ("  a: 1\n--- # next\nb: 2\n", "FRESH\n--- # next\nb: 2\n"),
        ("a: 1\n...\nb: 2\n", "FRESH\n...\nb: 2\n"),
        ("a: 1\n---\nb: 2\n", "FRESH\n---\nb: 2\n"),
    ],
)
def test_what_no_component_reads_does_not_come_into_effect(old: str, text: str) -> None:
    """kube-proxy 1.20.2 and 1.37.2 end where a line stands further to the left than the first one."""
    assert edit(old, {"a": 3}, "FRESH\n", frozenset()).text == text
