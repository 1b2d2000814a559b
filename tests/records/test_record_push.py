"""Runs in S3: papermill's own output scheme, and the run's folder beside it. The server is moto's, on loopback."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import boto3
import pytest
from moto.server import ThreadedMotoServer

from kubeharden.cli import main
from kubeharden.errors import ParameterError, RecordError
from kubeharden.records.keys import public_part
from kubeharden.records.push import _Bucket, push
from kubeharden.records.seal import seal
from kubeharden.records.signature import only_signer
from kubeharden.records.verify import verify
from record_support import make_key, make_notebook, make_run
from support import ROOT, Papermill, environment


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    urlopen(Request(f"http://{host}:{port}/moto-api/reset", method="POST"))  # its state is the process's
    client = boto3.client("s3")
    client.create_bucket(Bucket="records")
    yield client
    server.stop()


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return make_key(tmp_path)


@pytest.fixture
def run(tmp_path: Path, key: Path) -> Path:
    folder = make_run(tmp_path / "outputs")
    seal(folder, make_notebook(tmp_path / "out.ipynb", folder), key)
    return folder


def keys(s3: Any) -> list[str]:
    return [item["Key"] for item in s3.list_objects_v2(Bucket="records").get("Contents", ())]


def test_a_copy_is_whole_and_verifies_where_it_is_taken_back(
    s3: Any, run: Path, key: Path, tmp_path: Path
) -> None:
    done = push(run, "s3://records/team/a")
    names = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}
    assert (done.place, done.files, done.earlier) == (f"s3://records/team/a/{run.name}/", len(names), 0)
    assert set(keys(s3)) == {f"team/a/{run.name}/{name}" for name in names}
    back = tmp_path / "back" / run.name
    for name in names:
        (back / name).parent.mkdir(parents=True, exist_ok=True)
        s3.download_file("records", f"team/a/{run.name}/{name}", str(back / name))
    with only_signer(public_part(key)) as signers:
        assert verify(back, signers).good
    again = push(run, "s3://records/team/a/")
    assert again.earlier == again.files == done.files


def test_the_command_says_what_it_did(s3: Any, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["push", str(run), "s3://records"]) == 0
    assert f"s3://records/{run.name}/ has all " in capsys.readouterr().out
    assert f"{run.name}/record.json.sig" in keys(s3)
    assert main(["push", str(run), "records"]) == 2
    assert main(["push", str(run), "s3://no-such-bucket"]) == 1
    assert "NoSuchBucket" in capsys.readouterr().err


def test_nothing_that_is_there_is_written_over(s3: Any, run: Path) -> None:
    other = f"{run.name}/journal.jsonl"
    s3.put_object(Bucket="records", Key=other, Body=b"another")
    with pytest.raises(RecordError, match=r"something else than this run in journal\.jsonl"):
        push(run, "s3://records")
    assert keys(s3) == [other]
    assert s3.get_object(Bucket="records", Key=other)["Body"].read() == b"another"
    s3.delete_object(Bucket="records", Key=other)
    s3.put_object(Bucket="records", Key=f"{run.name}/more", Body=b"")
    with pytest.raises(RecordError, match="something else than this run in more"):
        push(run, "s3://records")


def test_a_copy_that_did_not_arrive_as_it_was_sent_is_noticed(
    s3: Any, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = _Bucket.put
    other = lambda bucket, name, content: real(bucket, name, content.replace(b"Kubelet", b"kubelet"))  # noqa: E731
    monkeypatch.setattr(_Bucket, "put", other)
    with pytest.raises(RecordError, match=f"something else than this run in files/n1/{'a' * 64}"):
        push(run, "s3://records")


def test_what_is_not_sealed_or_was_altered_is_not_pushed(s3: Any, run: Path, tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="is not sealed; seal it first"):
        push(make_run(tmp_path / "others"), "s3://records")
    (run / "more").write_text("")
    with pytest.raises(RecordError, match="was altered since it was sealed: more: was added"):
        push(run, "s3://records")
    for url in ("records", "https://records", "s3://", "s3://UPPER/x"):
        with pytest.raises(ParameterError, match="is not a place in S3"):
            push(run, url)
    assert keys(s3) == []


def test_papermill_writes_the_executed_notebook_beside_it(
    s3: Any, tmp_path: Path, key: Path, monkeypatch: pytest.MonkeyPatch, papermill: Papermill
) -> None:
    monkeypatch.setenv("KUBEHARDEN_SIGNING_KEY", str(key))
    outputs = tmp_path / "outputs"
    words = [
        "notebooks/upgrade-readiness.ipynb", "s3://records/team/out.ipynb", "--engine", "kubeharden",
        "-r", "output_dir", str(outputs), "--no-progress-bar",
    ]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "papermill", *words],
        cwd=ROOT,
        env=environment(s3=True),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    [run] = outputs.iterdir()
    assert main(["push", str(run), "s3://records/team"]) == 0
    assert {"team/out.ipynb", f"team/{run.name}/record.json.sig"} <= set(keys(s3))
