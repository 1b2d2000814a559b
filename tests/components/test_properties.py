"""What must hold for every command line of every component and release, not only for those that people thought of.

The command lines come from ``flag_sets``. What they mean is worked out here once more, by a reader of its own
(``read``) and from the release tables alone: of the code under test, only the tables are shared, so that a mistake in
``components/values.py``, ``flags.py`` or ``effective.py`` does not confirm itself.
"""

from __future__ import annotations

import csv
import random
import re
from collections import Counter
from fractions import Fraction
from typing import Any

import pytest
import yaml
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import sampling
from flag_sets import flag_set
from kubeharden import Migration, migrate
from kubeharden.components import render
from kubeharden.components.profile import ComponentProfile
from kubeharden.components.units import Service, Unit
from kubeharden.components.validate import problems
from kubeharden.components.values import duration_ns, format_duration, parse_text
from kubeharden.releases import FIRST, LAST, Flag, Release, ReleaseTable, release_table
from written_units import split_command, with_command

COMPONENTS = ("kubelet", "kube-proxy", "kube-scheduler")
VERDICTS = ("moved", "kept", "dropped", "hardened", "refused")
# derandomize: the same examples everywhere and always.
FIXED = settings(deadline=None, derandomize=True, print_blob=True, max_examples=sampling.examples(100))
# Command lines come from seeds, which is ten times faster than from choices that hypothesis can make smaller; the
# assertion names the flag, and the words are printed.
LINES_FIXED = settings(FIXED, phases=[Phase.explicit, Phase.generate])

# Why a valid command line may be refused, and whether the value is one of which that is true.
NOT_IN_A_FILE = {
    r"has no scheduling policy; rewrite it as profiles by hand": lambda _: True,
    r"cannot be said in the file: there it counts as unset": lambda value: value in ("", "0s", 0),
    r"^0 switches the server off": lambda value: value == 0,
}


# What a kubelet needs so that it can be closed, and asks the API server who may do what.
REACHABLE = ("--client-ca-file=/ca.pem", "--kubeconfig=/kubelet.kubeconfig")
# *metav1.Duration in types.go, so that 0 is a value; for other durations a file's 0 means the default.
DURATION_POINTERS = {"conntrack.tcpEstablishedTimeout", "conntrack.tcpCloseWaitTimeout", "cpuCFSQuotaPeriod"}


# -- a reader of its own -----------------------------------------------------------------------------------------------


def nanoseconds(text: str) -> int:
    units = {"h": 3600 * 10**9, "m": 60 * 10**9, "s": 10**9, "ms": 10**6, "us": 1000, "µs": 1000, "ns": 1}
    return int(sum(Fraction(n) * units[u] for n, u in re.findall(r"([\d.]+)(h|ms|m|s|us|µs|ns)", text)))


def pairs(text: str, separator: str) -> list[tuple[str, str]]:
    split = [item.split(separator, 1) for item in text.split(",") if item]
    return [(key.strip(), value.strip()) for key, value in split]


def meaning(name: str, flag: Flag, texts: list[str]) -> Any:
    """What the values of one flag mean together, durations in nanoseconds."""
    kind, last = flag.type, texts[-1]
    if kind == "map(string,list(string))":
        found: dict[str, list[str]] = {}
        for key, value in (pair for text in texts for pair in pairs(text, ":")):
            found.setdefault(key, []).append(value)
        return found
    if kind.startswith("map("):
        sign = "<" if name in ("--eviction-hard", "--eviction-soft") else "="
        both = {key: value for text in texts for key, value in pairs(text, sign)}
        is_bool = kind == "map(string,bool)"
        return {key: value.lower() in ("true", "1") for key, value in both.items()} if is_bool else both
    if kind == "list(string)":
        return [item for text in texts if text for item in next(csv.reader([text]))]
    if kind == "list(taint)":
        taints = [re.fullmatch(r"([^=:]+)(?:=([^:]*))?:(\w+)", item) for item in last.split(",")]
        return [(taint[1], taint[2] or "", taint[3]) for taint in taints if taint]
    if kind == "list(object)":
        return [
            (int(item.split(":")[0]), dict(pairs(item.split(":")[1], "=")))
            for item in ";".join(texts).split(";")
        ]
    if kind == "list({filePattern,verbosity})":
        return [(key, int(value)) for text in texts for key, value in pairs(text, "=")]
    return as_value(kind, {"bool": last.lower() == "true"}.get(kind, last))


def as_value(kind: str, value: Any) -> Any:
    """A value of a table, a file or a flag so that they can be compared."""
    if "duration" in kind and value not in (None, ""):
        return value if isinstance(value, int) else nanoseconds(str(value))
    if kind.startswith(("int", "uint", "float")) and value is not None:
        return float(value)
    if kind == "list(taint)":
        return [(taint["key"], taint.get("value", ""), taint["effect"]) for taint in value or ()]
    if kind == "list(object)" and value and "numaNode" in value[0]:
        return [(item["numaNode"], item["limits"]) for item in value]
    return value


def read(words: list[str], table: ReleaseTable) -> dict[str, list[str]]:
    """The values of every flag in their order, by its name as the table has it; the flag given last comes last."""
    found: dict[str, list[str]] = {}
    rest = iter(words)
    for word in rest:
        if word.startswith("-v"):
            found.setdefault("--v", []).append(word[2:].lstrip("=") or next(rest))
            continue
        name, equals, value = word.partition("=")
        name = name.replace("_", "-")
        flag = table.flags[name]
        text = value if equals else "true" if flag.type == "bool" else next(rest)
        found[name] = [*found.pop(name, []), text]
    return found


def at(config: Any, path: str) -> Any:
    for key in re.findall(r"[^.\[\]]+", path):
        if isinstance(config, list):
            config = config[int(key)] if int(key) < len(config) else None
        else:
            config = (config or {}).get(key)
    return config


def holds(table: ReleaseTable, words: list[str], config: dict[str, Any] | None) -> dict[str, Any]:
    """What the component runs with, by path: its flags, its file and the defaults, for the fields that flags have.

    Host and port of an address are left to ``test_addresses_are_put_together_as_the_release_does``.
    """
    given = read(words, table)
    table = table.with_flags({name: texts[-1] for name, texts in given.items()})
    beside_file = table.component == "kubelet" or config is None
    result: dict[str, Any] = {}
    # Of two flags for one field, such as --experimental-fail-swap-on, the one given last wins.
    for name in [*(name for name in table.flags if name not in given), *given]:
        flag = table.flags[name]
        if flag.stays or flag.part or flag.type == "address":
            continue
        for path in flag.fields:
            field = table.fields.get(path.partition("[")[0])
            known = table.fields.get(path)
            default = known.default if known else None
            if config is None and flag.legacy_default is not None:
                default = flag.legacy_default
            value = as_value(flag.type, default)
            inside = at(config, path)
            zero = flag.type == "duration" and inside is not None and nanoseconds(inside) == 0
            empty = inside == "" and not (path == "resolvConf" and table.release >= Release(1, 22))
            if field and not (inside is None or empty or (zero and path not in DURATION_POINTERS)):
                value = as_value(flag.type, inside)
            if name in given and beside_file and not (flag.type == "ip" and given[name][-1] == ""):
                told = meaning(name, flag, given[name])
                value = {**(value or {}), **told} if path == "featureGates" else told
            result[path] = value
    return result


# -- command lines -----------------------------------------------------------------------------------------------------


SEEDS = st.integers(0, 2**32 - 1)


@st.composite
def cases(draw: st.DrawFn, components: tuple[str, ...] = COMPONENTS) -> tuple[ReleaseTable, list[str]]:
    """A table and a command line without the program's name that starts with it."""
    table = release_table(
        draw(st.sampled_from(components)), f"1.{draw(st.integers(FIRST.minor, LAST.minor))}"
    )
    rng = random.Random(draw(SEEDS))
    return table, flag_set(rng, table, share=draw(st.sampled_from([0.05, 0.2, 0.5])))


def moved_to_a_file(table: ReleaseTable, words: list[str], profile: str) -> Migration:
    """The migration of a command line that the API server can still reach when it is hardened."""
    reachable = list(REACHABLE) if profile == "article" and table.component == "kubelet" else []
    return migrate(table.component, table.release, [table.component, *words, *reachable], profile=profile)


def usable(made: Migration) -> bool:
    """Whether there is a result; if not, each refusal must be one that this flag and value are known for."""
    for setting in made.refused:
        known = [test for why, test in NOT_IN_A_FILE.items() if re.search(why, setting.why)]
        assert known, setting
        assert known[0](setting.value), setting
    return not made.refused


# -- properties --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", ["none", "article"])
@settings(LINES_FIXED, max_examples=sampling.examples(100))
@given(case=cases())
def test_every_flag_gets_exactly_one_verdict(profile: str, case: tuple[ReleaseTable, list[str]]) -> None:
    table, words = case
    made = moved_to_a_file(table, words, profile)
    verdicts = Counter(
        name for verdict in VERDICTS for name in {s.flag for s in getattr(made, verdict) if s.flag}
    )
    expected = set(read(words, table))
    if profile == "article" and table.component == "kubelet":
        expected |= {"--client-ca-file", "--kubeconfig"}
    assert verdicts == Counter(dict.fromkeys(expected, 1))


@settings(LINES_FIXED, max_examples=sampling.examples(200))
@given(case=cases())
def test_nothing_is_lost_and_nothing_is_added(case: tuple[ReleaseTable, list[str]]) -> None:
    table, words = case
    made = moved_to_a_file(table, words, "none")
    if not usable(made):
        return
    table = table.with_flags({name: texts[-1] for name, texts in read(words, table).items()})
    before = holds(table, words, None)
    after = holds(table, [word for word in made.argv[1:] if not word.startswith("--config=")], made.config)
    for path, value in before.items():
        assert (after[path] or None) == (value or None), path
    # Without a field, the flag itself must still be there with all its values, unless it says why it is dropped.
    given, left = read(words, table), read(made.argv[1:], table)
    gone = {setting.flag for setting in made.dropped}
    for name, texts in given.items():
        flag = table.flags[name]
        if not flag.fields or flag.stays:
            grows = flag.type.startswith(("map(", "list(")) and flag.type != "list(taint)"
            counting = texts if grows else texts[-1:]
            assert left.get(name) == (None if name in gone else counting), name
    if table.component == "kubelet":
        assert all("is the default from" in setting.why for setting in made.dropped), made.dropped


@settings(LINES_FIXED, max_examples=sampling.examples(100))
@given(case=cases())
def test_hardening_changes_what_it_says_and_nothing_else(case: tuple[ReleaseTable, list[str]]) -> None:
    table, words = case
    made = moved_to_a_file(table, words, "article")
    if not usable(made):
        return
    words = [*words, *REACHABLE] if table.component == "kubelet" else words
    table = table.with_flags({name: texts[-1] for name, texts in read(words, table).items()})
    before = holds(table, words, None)
    after = holds(table, [word for word in made.argv[1:] if not word.startswith("--config=")], made.config)
    said = {setting.field for setting in made.hardened}
    assert {path for path in before if (before[path] or None) != (after[path] or None)} <= said
    if table.component == "kubelet":
        assert after["authentication.anonymous.enabled"] is False
        assert after["authorization.mode"] == "Webhook"
        assert not after["readOnlyPort"]


@pytest.mark.parametrize("profile", ["none", "article"])
@settings(LINES_FIXED, max_examples=sampling.examples(75))
@given(case=cases())
def test_the_result_is_valid_and_its_text_says_the_same(
    profile: str, case: tuple[ReleaseTable, list[str]]
) -> None:
    table, words = case
    made = moved_to_a_file(table, words, profile)
    if usable(made):
        assert problems(release_table(table.component, table.release), made.config) == []
        assert strictly(made.yaml) == made.config


@pytest.mark.parametrize("profile", ["none", "article"])
@settings(LINES_FIXED, max_examples=sampling.examples(75))
@given(case=cases())
def test_migrating_again_changes_nothing(profile: str, case: tuple[ReleaseTable, list[str]]) -> None:
    table, words = case
    made = moved_to_a_file(table, words, profile)
    if usable(made):
        again = migrate(table.component, table.release, made.argv, made.config, profile=profile)
        assert again.refused == []
        assert (again.argv, again.config) == (made.argv, made.config)
        assert (again.moved, again.hardened, again.dropped) == ([], [], [])


@settings(LINES_FIXED, max_examples=sampling.examples(75))
@given(case=cases(), seed=SEEDS)
def test_nothing_is_lost_where_there_is_a_file_already(
    case: tuple[ReleaseTable, list[str]], seed: int
) -> None:
    """The kubelet's flags win over its file, gate by gate; the others' flags beside a file did nothing before."""
    table, words = case
    first = moved_to_a_file(table, words, "none")
    if not usable(first):
        return
    beside = flag_set(random.Random(seed), table, share=0.2)
    made = migrate(table.component, table.release, [*beside, "--config=/there"], first.config, profile="none")
    if not usable(made):
        return
    before = holds(table, beside, first.config)
    after = holds(table, [word for word in made.argv if not word.startswith("--config=")], made.config)
    assert {path for path in before if (before[path] or None) != (after[path] or None)} == set()
    if table.component != "kubelet":
        assert made.config == first.config


@pytest.mark.parametrize(
    ("component", "flag"),
    [
        ("kubelet", "--authentication-token-webhook-cache-ttl"),
        ("kube-proxy", "--iptables-min-sync-period"),
    ],
)
def test_only_the_last_value_of_a_flag_gets_a_verdict(component: str, flag: str) -> None:
    words = [f"{flag}=0s", f"{flag}=10s"]
    made = migrate(component, "1.20", [component, *words], profile="none")
    assert [s.flag for v in VERDICTS for s in getattr(made, v) if s.flag] == [flag]
    assert not made.refused


HOSTS = st.sampled_from(["0.0.0.0", "10.0.0.1", "[::]", "[fd00::1]"])


@settings(FIXED, max_examples=sampling.examples(100))
@given(
    minor=st.integers(FIRST.minor, LAST.minor),
    host=st.none() | HOSTS,
    own_port=st.none() | st.integers(1, 65535),
    port=st.none() | st.integers(1, 65535),
    metrics=st.booleans(),
)
def test_addresses_are_put_together_as_the_release_does(
    minor: int, host: str | None, own_port: int | None, port: int | None, metrics: bool
) -> None:
    """kube-proxy: to 1.14 the port's flag replaces what the address has, from 1.15 it fills in what it lacks.

    cmd/kube-proxy/app/server.go: applyDeprecatedHealthzPortToConfig, addressFromDeprecatedFlags.
    """
    what, default = ("metrics", "127.0.0.1:10249") if metrics else ("healthz", "0.0.0.0:10256")
    table = release_table("kube-proxy", f"1.{minor}")
    name, old = f"--{what}-port", minor < 15
    words = [f"{name}={port}"] if port and table.flag(name) else []
    if host:
        bare = host if own_port else host.strip("[]")
        words += [f"--{what}-bind-address={bare}" + (f":{own_port}" if own_port else "")]
    ports = [port if words and words[0].startswith(name) else None, own_port if host else None]
    default_host, _, default_port = default.partition(":")
    known = [*ports, int(default_port)] if old else [ports[1], ports[0] if host else None, int(default_port)]
    made = migrate("kube-proxy", table.release, ["kube-proxy", *words], profile="none")
    expected = f"{host or default_host}:{next(number for number in known if number)}"
    assert made.refused == []
    assert made.config.get(f"{what}BindAddress", default) == expected


# -- values ------------------------------------------------------------------------------------------------------------

NAMES = st.text(
    st.characters(min_codepoint=33, max_codepoint=126, exclude_characters=',=<:;"'), min_size=1, max_size=8
)


@FIXED
@given(st.integers(-(2**63) + 1, 2**63 - 1) | st.integers(-(10**10), 10**10))
def test_a_printed_duration_is_read_back(span: int) -> None:
    text = format_duration(span)
    assert duration_ns(text) == span
    assert (nanoseconds(text.lstrip("-")), text[:1] == "-") == (abs(span), span < 0)
    assert parse_text("duration", text) == text


@pytest.mark.parametrize(
    ("span", "text"),
    [(0, "0s"), (1, "1ns"), (1100, "1.1µs"), (2_200_000, "2.2ms"), (500_000_000, "500ms"), (3_300_000_000, "3.3s"),
     (305 * 10**9, "5m5s"), (305_001_000_000, "5m5.001s"), (18_305_001_000_000, "5h5m5.001s"), (-(10**9), "-1s")],
)  # fmt: skip
def test_durations_are_printed_as_go_prints_them(span: int, text: str) -> None:
    """The cases of TestDurationString in Go's src/time/time_test.go."""
    assert format_duration(span) == text


@FIXED
@given(st.from_regex(r"[+-]?(0|[1-9][0-9]{0,5})(\.[0-9]{1,3})?(|Ki|Mi|Gi|Ti|m|k|M|G|e3|E-2)", fullmatch=True))
def test_a_quantity_stays_as_it_is_written(text: str) -> None:
    assert parse_text("quantity", text) == text


@FIXED
@given(st.dictionaries(NAMES, NAMES, max_size=4), st.sampled_from("=<"))
def test_a_map_is_read_back(value: dict[str, str], separator: str) -> None:
    text = ",".join(f"{key}{separator}{item}" for key, item in value.items())
    assert parse_text("map(string,string)", text, separator) == value
    assert written_and_read(value) == value


@FIXED
@given(
    st.lists(st.tuples(NAMES, st.none() | NAMES, st.sampled_from(["NoSchedule", "NoExecute"])), max_size=3)
)
def test_taints_are_read_back(taints: list[tuple[str, str | None, str]]) -> None:
    text = ",".join(
        f"{key}:{effect}" if value is None else f"{key}={value}:{effect}" for key, value, effect in taints
    )
    expected = [
        {"key": key, "effect": effect} if value is None else {"key": key, "value": value, "effect": effect}
        for key, value, effect in taints
    ]
    assert parse_text("list(taint)", text) == expected
    assert written_and_read(expected) == expected


@FIXED
@given(
    st.lists(
        st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]), max_size=6), max_size=4
    )
)
def test_any_text_in_a_file_is_read_back(value: list[str]) -> None:
    assert written_and_read(value) == value
    assert written_and_read({item: item for item in value}) == {item: item for item in value}


@FIXED
@given(st.lists(st.text("ab ,\"'=", max_size=6), min_size=1, max_size=4))
def test_a_list_is_read_back_whatever_is_quoted(items: list[str]) -> None:
    """pflag's StringSlice is one line of CSV."""
    text = ",".join('"' + item.replace('"', '""') + '"' for item in items)
    assert parse_text("list(string)", text) == items


def written_and_read(value: Any) -> Any:
    """A value after it was written to a file and read again; the file is that of a kubelet."""
    table = release_table("kubelet", "1.20")
    head = {"kind": table.kind, "apiVersion": table.api_version}
    return strictly(render.text(table, ComponentProfile(), {**head, "value": value}))["value"]


class Strict(yaml.SafeLoader):
    """YAML whose mappings must not say a key twice, and in which every plain word is a key, a number or a boolean."""


def _mapping(loader: Strict, node: yaml.MappingNode) -> dict[str, Any]:
    keys = [loader.construct_object(key) for key, _ in node.value]
    assert len(keys) == len(set(keys)), keys
    for key, _ in node.value:
        # sigs.k8s.io/yaml reads plain words as YAML 1.1 does, which has more booleans and numbers than PyYAML.
        assert key.style or not re.fullmatch(r"[yYnN]|[-+.]?[\d.].*", key.value), key.value
    return {
        key: loader.construct_object(value, deep=True)
        for key, (_, value) in zip(keys, node.value, strict=True)
    }


Strict.add_constructor("tag:yaml.org,2002:map", _mapping)


def strictly(text: str) -> dict[str, Any]:
    return yaml.load(text, Loader=Strict)


# -- units -------------------------------------------------------------------------------------------------------------

WORDS = st.text(st.characters(exclude_characters="\0\r", exclude_categories=["Cs"]), min_size=1, max_size=12)
SHELLISH = st.text("ab-=/ \\\"'$%#;{}\t\n,", min_size=1, max_size=12)
LINES = st.sampled_from(
    [
        "[Unit]", "[Service]", "[Install]", " [Service] ", "", "   ", "# comment", "; comment \\", "\t# indented",
        "Description=a b", "After=x.service \\", "  y.service", "ExecStart=", "ExecStart=/usr/bin/k --a=b \\",
        '  "--c=d e" \\', "  --f='g h'", "Environment=A=1 \"B=2 3\"", "EnvironmentFile=-/etc/x", "nonsense", "=",
        "Key =  value  ", "X-Long=a\\", "\\", "ExecStart=-/bin/sh -c 'exec k --a=b'", "K=v\\\\",
    ]
)  # fmt: skip


@FIXED
@given(st.lists(st.tuples(LINES, st.sampled_from(["\n", "\r\n", "\n\n"]))), st.booleans())
def test_a_unit_comes_back_as_it_was(lines: list[tuple[str, str]], closed: bool) -> None:
    text = "".join(line + end for line, end in lines)
    text = text if closed else text.rstrip("\r\n")
    assert Unit.parse(text).text == text


@FIXED
@given(
    words=st.lists(WORDS | SHELLISH, max_size=5),
    before=st.lists(
        LINES.filter(lambda line: "ExecStart" not in line and not line.endswith("\\")), max_size=4
    ),
    drop_in=st.booleans(),
)
def test_a_command_comes_back_from_its_unit(words: list[str], before: list[str], drop_in: bool) -> None:
    argv = ["/usr/bin/kubelet", *words]
    head = "\n".join([*before, "[Service]", *(["ExecStart="] if drop_in else [])])
    unit = with_command(Unit.parse(f"{head}\nExecStart=/old \\\n  --flag\nRestart=always\n"), argv)
    parsed = Unit.parse(unit.text)
    assert parsed.values("Service", "Restart") == ["always"]
    loaded = Service((("/unit", Unit.parse("[Service]\nExecStart=/first\n")), ("/drop-in", parsed)), {})
    [*_, command] = loaded.values("Service", "ExecStart")
    assert split_command(command, {}) == argv
    assert unit.text.startswith(head)


@settings(LINES_FIXED, max_examples=sampling.examples(75))
@given(case=cases())
def test_a_migrated_command_comes_back_from_its_unit(case: tuple[ReleaseTable, list[str]]) -> None:
    table, words = case
    made = moved_to_a_file(table, words, "none")
    if usable(made):
        unit = with_command(Unit.parse("[Service]\nExecStart=/old\n"), made.argv)
        assert split_command(Unit.parse(unit.text).values("Service", "ExecStart")[0], {}) == made.argv
