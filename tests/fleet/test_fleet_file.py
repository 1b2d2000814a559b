"""``fleet.yaml`` is read strictly: each mistake is named with its place and what is expected."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from fleet_support import content, fleet, write_fleet
from kubeharden.errors import ParameterError
from kubeharden_fleet import __main__ as command
from kubeharden_fleet.fleet import OWN, Cluster, Fleet, read_fleet

ROOT = Path(__file__).parents[2]
CANARY = {"name": "canary", "inventory": "canary.yaml"}


def clusters(**first: Any) -> list[dict[str, Any]]:
    return [{**CANARY, **first}, *content()["clusters"][1:]]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"notebook": None}, "notebook: is missing"),
        ({"wavse": []}, "wavse: there is no such key; did you mean waves?"),
        ({"waves": []}, "waves: List should have at least 1 item"),
        ({"max_failures": "1"}, "max_failures: Input should be a valid integer"),
        ({"max_failures": -1}, "max_failures: Input should be greater than or equal to 0"),
        ({"soak_minutes": 1e9}, "soak_minutes: Input should be less than"),
        ({"timezone": "Mars/Olympus"}, "timezone: is not a time zone of this machine"),
        (
            {"windows": [{"days": ["mon"], "opens": "25:00", "closes": "05:00"}]},
            "windows.0.opens: expected a time of day in quotes",
        ),
        (
            {"windows": [{"days": ["mon"], "opens": 1320, "closes": "05:00"}]},
            "windows.0.opens: Input should be",
        ),
        (
            {"windows": [{"days": [], "opens": "22:00", "closes": "05:00"}]},
            "windows.0.days: List should have",
        ),
        ({"windows": [{"days": ["Monday"], "opens": "22:00", "closes": "05:00"}]}, "windows.0.days.0: Input"),
        ({"fleet": "a/b"}, "fleet: String should match"),
        ({"waves": [{"name": "a.b", "clusters": ["canary"]}]}, "waves.0.name: String should match"),
        ({"waves": [{"name": "w", "clusters": ["canary", "a", "b"]}]}, "c is in no wave"),
        ({"waves": [{"name": "w", "clusters": ["canary", "a", "b", "c", "d"]}]}, "there is no cluster d"),
        (
            {"waves": [{"name": "w", "clusters": ["canary", "a", "b", "c", "a"]}]},
            "clusters in waves: named twice: a",
        ),
        ({"clusters": [*content()["clusters"], CANARY]}, "clusters: named twice: canary"),
        ({"clusters": clusters(inventory="")}, "clusters.0.inventory: is empty"),
        ({"clusters": clusters(inventory="missing.yaml")}, "there is no such file"),
        ({"clusters": clusters(inventory="a.yaml")}, "canary, a are one cluster"),
        ({"clusters": clusters(inventory="./a.yaml")}, "canary, a are one cluster"),
        (
            {"windows": [{"days": ["mon"], "opens": "22:00+02:00", "closes": "05:00"}]},
            "windows.0.opens: expected a time of day in quotes",
        ),
        (
            {"waves": [*content()["waves"][:2], {"name": "some-judged", "clusters": ["c"]}]},
            "some-judged is the name of",
        ),
        ({"fleet": ""}, "fleet: String should match"),
        ({"clusters": [], "waves": []}, "clusters: List should have at least 1 item"),
        ({"clusters": clusters(name="../a")}, "clusters.0.name: String should match"),
        ({"clusters": clusters(parameters=["drain"])}, "clusters.0.parameters: Input should be"),
        ({"parameters": {"dns_ip": 10}}, "canary: dns_ip: "),
        ({"soak_minutes": float("nan")}, "a number is not one that JSON has"),
        ({"clusters": clusters(inventory="rehearsal:article-1.10")}, "canary: has no rehearsal_dir"),
        ({"clusters": clusters(parameters={"dns_ipp": "10.0.0.10"})}, "no such parameter of harden.ipynb"),
        (
            {"clusters": clusters(parameters={"dns_ip": "10.0.0"})},
            "canary: dns_ip: '10.0.0' is not an IP address",
        ),
        ({"parameters": {"batch_size": "none"}}, "clusters.c: batch_size: 'none'"),
        *(({"parameters": {name: "x"}}, f"{name} is given to each run by the fleet") for name in OWN),
    ],
)
def test_what_is_wrong_is_refused_with_its_place(tmp_path: Path, changes: dict, words: str) -> None:
    path = write_fleet(tmp_path, **changes)
    with pytest.raises(ParameterError) as error:
        read_fleet(path)
    assert words in str(error.value)
    assert str(path) in str(error.value) or "there is no such file" in words


@pytest.mark.parametrize("name", ["notebook", "python", "signers"])
def test_a_file_that_is_not_there_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(ParameterError, match=rf"{name} names \S+missing, but there is no such file"):
        read_fleet(write_fleet(tmp_path, **{name: "missing"}))


def test_a_link_to_an_inventory_is_that_inventory(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "link.yaml").symlink_to(tmp_path / "a.yaml")
    (tmp_path / "a.yaml").touch()
    with pytest.raises(ParameterError, match="canary, a are one cluster"):
        read_fleet(write_fleet(tmp_path, clusters=clusters(inventory="other/link.yaml")))


def test_what_is_there_and_of_another_kind_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ParameterError, match=r"python names \S+file, which cannot be executed"):
        read_fleet(write_fleet(tmp_path, python="file"))
    with pytest.raises(ParameterError, match=r"records names \S+file, which is not a folder"):
        read_fleet(write_fleet(tmp_path, records="file"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "holds no mapping"),
        ("- fleet: europe", "holds no mapping"),
        ("fleet: [", "is not YAML"),
        ("fleet: a\nfleet: b", "twice"),
        ("fleet: \xff", "UTF-8"),
    ],
)
def test_what_is_not_a_document_is_refused_in_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, words: str
) -> None:
    path = tmp_path / "fleet.yaml"
    path.write_bytes(text.encode("latin-1"))
    assert command.main(["check", str(path)]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert "Traceback" not in said


def test_two_rehearsals_in_one_folder_are_one_cluster(tmp_path: Path) -> None:
    rehearsals = [
        {"name": name, "inventory": "rehearsal:article-1.10", "parameters": {"rehearsal_dir": "here"}}
        for name in ("canary", "a", "b", "c")
    ]
    with pytest.raises(ParameterError, match="canary, a, b, c are one cluster"):
        read_fleet(write_fleet(tmp_path, clusters=rehearsals))
    rehearsals[0]["parameters"]["rehearsal_dir"] = "./here/../here"
    rehearsals[1]["parameters"] = {}
    rehearsals[2]["parameters"]["rehearsal_dir"] = "there"
    rehearsals[3]["parameters"]["rehearsal_dir"] = "everywhere"
    with pytest.raises(ParameterError, match="canary, a are one cluster"):
        read_fleet(write_fleet(tmp_path, clusters=rehearsals, parameters={"rehearsal_dir": "here"}))


def test_paths_are_relative_to_the_file_and_those_of_python_keep_their_links(tmp_path: Path) -> None:
    (tmp_path / "python").symlink_to("/bin/sh")
    made = fleet(tmp_path, python="python")
    assert made.folder == tmp_path
    assert made.notebook == str(tmp_path / "harden.ipynb")
    assert made.cluster("a").inventory == str(tmp_path / "a.yaml")
    assert made.runs_of("a") == tmp_path / "records" / "a"
    assert made.python == str(tmp_path / "python")


def test_a_cluster_has_the_parameters_of_the_fleet_and_its_own(tmp_path: Path) -> None:
    made = fleet(
        tmp_path,
        parameters={"dns_domain": "cluster.local", "drain": True},
        clusters=clusters(parameters={"drain": False}),
    )
    assert made.parameters_of("canary") == {
        "dns_domain": "cluster.local",
        "drain": False,
        "inventory": str(tmp_path / "canary.yaml"),
    }
    assert made.parameters_of("a")["drain"] is True


def test_waves_are_in_their_order_and_soak_as_they_say(tmp_path: Path) -> None:
    waves = content()["waves"]
    made = fleet(tmp_path, soak_minutes=5, waves=[{**waves[0], "soak_minutes": 0.5}, *waves[1:]])
    assert made.up_to("some") == ["canary", "a", "b"]
    assert (made.soak_of("canary"), made.soak_of("some")) == (0.5, 5)
    with pytest.raises(ParameterError, match="has no wave 'other'; expected one of canary, some, rest"):
        made.up_to("other")
    with pytest.raises(ParameterError, match="has no cluster 'other'"):
        made.cluster("other")


def test_the_example_says_every_key_and_is_right(tmp_path: Path) -> None:
    example = yaml.safe_load((ROOT / "parameters/fleet.example.yaml").read_text())
    assert set(example) == set(Fleet.model_fields)
    for name in ("eu-canary.yaml", "eu-1.yaml", "eu-2.yaml", "harden.ipynb", "python", "allowed_signers"):
        (tmp_path / name).write_text("{}")
    (tmp_path / "python").chmod(0o755)
    example |= {"notebook": "harden.ipynb", "python": "python"}
    path = tmp_path / "fleet.yaml"
    path.write_text(yaml.safe_dump(example))
    assert isinstance(read_fleet(path).clusters[0], Cluster)


def test_check_says_what_a_fleet_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["check", str(write_fleet(tmp_path, soak_minutes=2))]) == 0
    assert capsys.readouterr().out == (
        "europe: 4 clusters\nwave 1, canary: canary; then 2 minutes\n"
        "wave 2, some: a, b; then 2 minutes\nwave 3, rest: c; then 2 minutes\n"
    )
    assert command.main(["check", str(tmp_path / "nothing.yaml")]) == 2
