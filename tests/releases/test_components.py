"""The rows of components.yaml: what they name is there, and they say what the library must know."""

from __future__ import annotations

import pytest

from kubeharden.components.validate import _CHECKS
from kubeharden.errors import UnknownReleaseError
from kubeharden.inputs.parameters import Parameters
from kubeharden.releases import (
    LAST,
    Component,
    api_server,
    feature,
    find_component,
    known_components,
    known_types,
    release_table,
)

ROWS = known_components()
WITH_FILE = [row for row in ROWS if row.config is not None]


def test_the_components_that_are_known_and_those_that_are_judged() -> None:
    names = ["kubelet", "kube-proxy", "kube-scheduler", "kube-apiserver", "kube-controller-manager", "etcd"]
    assert [row.name for row in ROWS] == names
    assert [row.name for row in ROWS if row.is_judged] == names[:4]
    assert [row.name for row in WITH_FILE] == ["kubelet", "kube-proxy", "kube-scheduler"]
    assert [row.name for row in ROWS if row.leader_elected] == ["kube-scheduler", "kube-controller-manager"]
    assert api_server() is find_component("kube-apiserver")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_row_says_where_its_facts_are_from(row: Component) -> None:
    assert row.sources
    assert row.step_order is None or row.config is not None


@pytest.mark.parametrize("row", WITH_FILE, ids=lambda row: row.name)
def test_what_a_row_names_is_there(row: Component) -> None:
    config, table = row.config, release_table(row.name, LAST)
    flags, paths = known_types(row.name)
    named = {flag for each in config.honoured.values() for flag in each if not flag.endswith("*")}
    assert named | {*config.by_hand.flags, *config.flag_parameters} <= flags.keys()
    assert {*config.path_fields, *config.addresses, *config.checks, *config.parameters} <= paths.keys()
    assert set(config.checks.values()) <= _CHECKS.keys()
    asked = [each.parameter for each in config.parameters.values()]
    assert {*asked, *config.flag_parameters.values()} <= Parameters.model_fields.keys()
    for name in filter(None, (*config.honoured, config.port_flags_give_way)):
        assert feature(name).source
    if config.entry:
        assert {*config.entry.closed_by, config.entry.by} <= table.fields.keys()
        assert table.flags[config.entry.by_flag].field == config.entry.by
    assert config.syntax.keys() <= flags.keys()


def test_every_check_is_of_a_component() -> None:
    assert {name for row in WITH_FILE for name in row.config.checks.values()} == _CHECKS.keys()


def test_a_component_that_nobody_knows_is_an_error() -> None:
    with pytest.raises(UnknownReleaseError, match="kube-router"):
        find_component("kube-router")
