"""``kubeharden clean-nodes`` removes what stays on nodes between runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from kubeharden.cli import main
from kubeharden_rehearsal import Rehearsal
from transactions import Site

NODE = "k8s-node1"


def test_it_removes_and_says_what(article: Rehearsal, capsys: pytest.CaptureFixture[str]) -> None:
    site = Site(article, NODE)
    site.carry_out(site.change(1), "first")
    inventory = ["--inventory", str(article.inventory)]
    assert main(["clean-nodes", *inventory, NODE]) == 0
    assert f"{NODE}: removed " in capsys.readouterr().out
    assert not site.path("/var/lib/kubeharden").exists()
    assert main(["clean-nodes", *inventory]) == 0
    assert f"{NODE}: there was nothing\n" in capsys.readouterr().out
    site.nodes.close()


def test_a_node_that_is_held_is_left_as_it_is(article: Rehearsal, capsys: pytest.CaptureFixture[str]) -> None:
    site = Site(article, NODE)
    site.nodes.begin(site.change(1), "open", 60)
    assert main(["clean-nodes", "--inventory", str(article.inventory)]) == 1
    error = capsys.readouterr().err
    assert f"kubeharden: {NODE}: this node is held by " in error
    assert "sudo sh /var/lib/kubeharden/transaction.sh undo open. Nothing was changed" in error
    assert site.path("/var/lib/kubeharden/open").exists()
    assert site.nodes.confirm(NODE, "open").outcome == "confirmed"
    site.nodes.close()


def test_an_unknown_node_is_a_wrong_parameter(article: Rehearsal, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["clean-nodes", "--inventory", str(article.inventory), "nobody"]) == 2
    assert "has no node nobody" in capsys.readouterr().err
    assert main(["clean-nodes", "--inventory", str(Path("/nowhere.yaml"))]) in (1, 2)
