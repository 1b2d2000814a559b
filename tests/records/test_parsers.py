"""Whatever bytes a record or an approval holds: reading it ends in time, with nothing but the library's errors."""

from __future__ import annotations

import copy
import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import sampling
from kubeharden.errors import ApprovalError, RecordError
from kubeharden.plan import FileChange, NodeChange, ObjectChange, Plan
from kubeharden.plan.event import Event
from kubeharden.plan.events import Finished, Planned, RunStarted, Started
from kubeharden.plan.forms import fits
from kubeharden.records import keys, reader
from kubeharden.records.approval import find_approval, parse_plan
from kubeharden.records.archive import parse_record, read_seal
from kubeharden.records.evidence import evidence_of, foreign_parts
from kubeharden.records.folder import Record, json_file, read_run
from kubeharden.records.journal import parse_journal
from kubeharden.records.keys import public_part
from kubeharden.records.register import compare_runs, record_of, register, since_run
from kubeharden.records.seal import seal
from kubeharden.records.signature import Signers, line_in
from kubeharden.records.summary import build_record
from kubeharden.records.verify import verify
from kubeharden.redaction import Redactor
from record_support import approve

SECONDS = 5  # of the processor's time, for one example
little = settings(
    max_examples=sampling.examples(40),
    deadline=None,
    suppress_health_check=list(HealthCheck),
    print_blob=False,
    database=None,
)
TEXT = st.text(st.characters(exclude_categories=[]), max_size=12)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
ROLE = {"apiVersion": "v1", "kind": "Role", "metadata": {"name": "psp", "namespace": "weave"}, "rules": []}


@contextmanager
def in_time() -> Iterator[None]:
    begun = time.process_time()
    yield
    assert time.process_time() - begun < SECONDS


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path to every part of plain data, the whole included."""
    yield path
    for key, item in (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    ):
        yield from places(item, (*path, key))


@st.composite
def changed(draw: st.DrawFn, value: Any) -> Any:
    """Plain data in which one part is another, is gone, or is there under another name too."""
    result = copy.deepcopy(value)
    path = draw(st.sampled_from(list(places(value))))
    if not path:
        return draw(JSON)
    inner = result
    for key in path[:-1]:
        inner = inner[key]
    match draw(st.sampled_from(["other", "gone", "more"])):
        case "other":
            inner[path[-1]] = draw(JSON)
        case "gone":
            del inner[path[-1]]
        case "more" if isinstance(inner, dict):
            inner[draw(TEXT)] = draw(JSON)
        case "more":
            inner.append(draw(JSON))
    return result


@st.composite
def spoilt(draw: st.DrawFn, data: bytes) -> bytes:
    """Bytes in which some are others, are gone, or stand twice; or any bytes at all."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=60))
    start = draw(st.integers(0, len(data)))
    end = min(len(data), start + draw(st.integers(0, 40)))
    between = draw(st.binary(max_size=8) | st.just(data[start:end] * 2))
    return data[:start] + between + data[end:]


def as_bytes(content: Any) -> bytes:
    return json.dumps(content).encode()


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has changed a file and an object."""
    record = Record(tmp_path_factory.mktemp("pristine"), "lab", "CHG-1")
    file = FileChange("/etc/kubernetes/kubelet.conf", None, "kind: K\n", "644", "root", "root")
    changes = (
        NodeChange("kubelet", "n1", "kubelet", (file,), "files change"),
        ObjectChange("pod-security", ROLE),
    )
    record(RunStarted(cluster="lab", mode="apply", nodes=["n1"], who={"login": "ops"}, parameters={"a": [1]}))
    record(Planned.of(Plan(("kubelet", "pod-security"), (changes[0],), (changes[1],), cluster="lab")))
    for change in changes:
        record(Started.of(change, change=change))
    record(Finished("apply", ["kubelet"], ["pod-security"], "x", []))
    record.close()
    past = read_run(record.folder)
    assert (past.problems, foreign_parts(past)) == ((), [])
    return record.folder


@pytest.fixture(scope="module")
def sealed(pristine: Path, tmp_path_factory: pytest.TempPathFactory, key: Path) -> Path:
    folder = shutil.copytree(pristine, tmp_path_factory.mktemp("sealed") / pristine.name)
    seal(folder, None, key)
    return folder


@contextmanager
def holding(folder: Path, name: str, data: bytes) -> Iterator[None]:
    """The folder, while a file in it holds this."""
    path = folder / name
    whole = path.read_bytes()
    path.chmod(0o600)
    path.write_bytes(data)
    try:
        yield
    finally:
        path.write_bytes(whole)


def read_all(folder: Path, signers: Signers) -> None:
    """Everything that reads a run."""
    with in_time():
        [entry] = register(folder.parent)
        assert entry.run == folder.name
        verdict = verify(folder, signers)
        assert all(text.isprintable() for text in (*verdict.wrong, *entry.nodes, *entry.subjects, entry.who))
        past = read_run(folder)
        works: tuple[Callable[[], object], ...] = (
            lambda: build_record(past),
            lambda: foreign_parts(past),
            lambda: evidence_of(past),
            lambda: record_of(folder),
            lambda: compare_runs(folder, folder),
            lambda: since_run(past, "n1", {}, Redactor()),
        )
        for work in works:
            with suppress(RecordError):
                work()


@pytest.mark.parametrize("name", ["plan.json", "files.json", "objects.json", "objects/1-after.json"])
def test_any_document_of_a_run_is_read_or_refused(pristine: Path, signers: Signers, name: str) -> None:
    content = json.loads((pristine / name).read_bytes())

    @little
    @given(changed(content).map(as_bytes) | spoilt((pristine / name).read_bytes()))
    def any_content(data: bytes) -> None:
        with holding(pristine, name, data):
            read_all(pristine, signers)

    any_content()


def test_any_journal_is_read(pristine: Path, signers: Signers) -> None:
    data = (pristine / "journal.jsonl").read_bytes()
    lines = [json.loads(line) for line in data.splitlines()]

    @little
    @given(
        changed(lines).map(lambda made: b"\n".join(map(as_bytes, made if isinstance(made, list) else [made])))
    )
    def any_lines(text: bytes) -> None:
        with holding(pristine, "journal.jsonl", text + b"\n"):
            read_all(pristine, signers)

    @settings(little, max_examples=sampling.examples(150))
    @given(spoilt(data))
    def any_bytes(text: bytes) -> None:
        with in_time():
            journal = parse_journal(text)
        assert all(
            isinstance(event, Event) and fits(type(event), {"time": event.time}) for event in journal.events
        )
        assert all(problem.isprintable() for problem in journal.problems)

    any_lines()
    any_bytes()


def test_any_sealed_record_is_verified_or_wrong(sealed: Path, signers: Signers) -> None:
    data = (sealed / "record.json").read_bytes()
    content = json.loads(data)
    assert verify(sealed, signers).good

    @little
    @given(
        changed(content).map(as_bytes)
        | changed(content["seal"]).map(lambda s: as_bytes({**content, "seal": s}))
    )
    def any_content(made: bytes) -> None:
        with suppress(RecordError):
            read_seal(parse_record(made))
        with holding(sealed, "record.json", made):
            assert not verify(sealed, signers).good
            read_all(sealed, signers)

    @settings(little, max_examples=sampling.examples(150))
    @given(spoilt(data))
    def any_bytes(made: bytes) -> None:
        with in_time(), suppress(RecordError):
            read_seal(parse_record(made))

    any_content()
    any_bytes()


def test_any_signature_is_one_or_refused(sealed: Path, signers: Signers) -> None:
    data = (sealed / "record.json.sig").read_bytes()

    @settings(little, max_examples=sampling.examples(200))
    @given(spoilt(data))
    def any_bytes(made: bytes) -> None:
        with in_time(), suppress(RecordError):
            line_in(made, "record.json.sig")

    @settings(little, max_examples=sampling.examples(20))
    @given(spoilt(data))
    def any_file(made: bytes) -> None:
        with holding(sealed, "record.json.sig", made):
            assert verify(sealed, signers).good == (made == data)

    any_bytes()
    any_file()


def test_any_plan_is_the_one_that_was_written_or_refused(pristine: Path) -> None:
    data = (pristine / "plan.json").read_bytes()
    content = json.loads(data)
    assert parse_plan(data) == content

    @settings(little, max_examples=sampling.examples(200))
    @given(spoilt(data) | changed(content).map(as_bytes) | changed(content).map(json_file))
    def any_bytes(made: bytes) -> None:
        with in_time():
            try:
                found = parse_plan(made)
            except RecordError as error:
                assert str(error).isprintable()  # noqa: PT017 - both ends are fine
            else:
                assert json_file(found) == made == data

    any_bytes()


def test_any_approval_counts_or_is_refused(pristine: Path, key: Path, tmp_path: Path) -> None:
    plan, approvers = tmp_path / "plan.json", tmp_path / "approvers"
    plan.write_bytes((pristine / "plan.json").read_bytes())
    approvers.write_text(f"ann {public_part(key)}\n")
    signature = approve(plan, key)
    whole = plan.read_bytes(), signature.read_bytes(), approvers.read_bytes()

    @settings(little, max_examples=sampling.examples(25))
    @given(st.tuples(*(st.just(data) | spoilt(data) for data in whole)))
    def any_bytes(made: tuple[bytes, bytes, bytes]) -> None:
        for path, data in zip((plan, signature, approvers), made, strict=True):
            path.write_bytes(data)
        with in_time(), suppress(ApprovalError):
            found = find_approval("", signature, required=True, approvers=str(approvers), own_keys=frozenset)
            assert found is not None
            assert made[:2] == whole[:2]

    any_bytes()


def test_any_key_file_has_keys_or_none(key: Path) -> None:
    files = key.read_bytes(), key.with_suffix(".pub").read_bytes()

    @settings(little, max_examples=sampling.examples(60))
    @given(st.sampled_from(files).flatmap(spoilt))
    def any_bytes(data: bytes) -> None:
        with in_time():
            for line in keys._lines_of(data):
                with suppress(RecordError):
                    keys.fingerprint(line)

    any_bytes()


@settings(little, max_examples=sampling.examples(200))
@given(TEXT)
def test_a_name_is_on_one_line(text: str) -> None:
    shown = reader.one_line(text)
    assert shown.isprintable()
    assert (shown == text) == text.isprintable()


def test_a_long_text_is_compared_in_time() -> None:
    """Lines of a hundred and fifty kinds, each too rare to be left out: line by line, this takes half a minute."""
    from kubeharden.plan import unified_diff

    one = "".join(f"{number * number % 149}\n" for number in range(60_000))
    other = "".join(f"{number * 7 % 151}\n" for number in range(60_000))
    with in_time():
        assert unified_diff("x", one, other).startswith(
            "--- x (before)\n+++ x\n@@ -1,60000 +1,60000 @@\n-0\n"
        )
        assert unified_diff("x", one, one) == ""
