"""Switching PodSecurityPolicy on and leaving every other admission plugin as it was."""

from __future__ import annotations

import pytest

from kubeharden import Effect, readiness
from kubeharden.components.admission_plugins import enable_admission_plugin, flag_value, switches_on
from kubeharden.errors import MigrationRefusedError

OLD = (
    "NamespaceLifecycle,LimitRanger,ServiceAccount,DefaultStorageClass,DefaultTolerationSeconds,"
    "MutatingAdmissionWebhook,ValidatingAdmissionWebhook,ResourceQuota,NodeRestriction,DenyEscalatingExec"
)


def change(release: str, *words: str) -> list[str]:
    return list(enable_admission_plugin(release, ["kube-apiserver", *words], "PodSecurityPolicy").argv[1:])


def test_the_old_exact_list_is_moved_without_loss() -> None:
    assert change("1.10", "--v=2", f"--admission-control={OLD}", "--bind-address", "0.0.0.0") == [
        "--v=2",
        f"--enable-admission-plugins={OLD},PodSecurityPolicy",
        "--disable-admission-plugins=PersistentVolumeLabel",
        "--bind-address",
        "0.0.0.0",
    ]


def test_a_list_that_has_it_is_left_alone() -> None:
    words = ["--admission-control=PodSecurityPolicy,NodeRestriction"]
    assert change("1.10", *words) == words


def test_the_new_flag_grows() -> None:
    assert change("1.20", "--enable-admission-plugins=NodeRestriction", "--v=2") == [
        "--enable-admission-plugins=NodeRestriction,PodSecurityPolicy",
        "--v=2",
    ]


def test_without_either_flag_the_new_one_is_added() -> None:
    assert change("1.20", "--v=2") == ["--v=2", "--enable-admission-plugins=PodSecurityPolicy"]


def test_the_value_may_stand_alone_and_the_flag_twice() -> None:
    words = ["--enable-admission-plugins", "A", "--v=2", "--enable_admission_plugins=B"]
    assert change("1.20", *words) == ["--enable-admission-plugins=A,B,PodSecurityPolicy", "--v=2"]


def test_twice_is_once() -> None:
    once = change("1.10", f"--admission-control={OLD}")
    assert change("1.10", *once) == once


def test_what_was_switched_off_on_purpose_is_refused() -> None:
    with pytest.raises(MigrationRefusedError, match="on purpose"):
        change("1.20", "--disable-admission-plugins=PodSecurityPolicy")


def test_a_release_without_the_plugin_is_refused() -> None:
    assert change("1.24", "--v=2")
    with pytest.raises(MigrationRefusedError, match="any more"):
        change("1.25", "--v=2")


def test_the_last_value_of_a_flag_counts() -> None:
    assert flag_value(["a", "--x=1", "--x", "2"], "--x") == "2"
    assert flag_value(["a"], "--x") is None


def test_a_value_that_is_missing_has_no_items() -> None:
    assert change("1.20", "--v=2", "--enable-admission-plugins") == [
        "--v=2",
        "--enable-admission-plugins=PodSecurityPolicy",
    ]
    assert not switches_on(["kube-apiserver", "--enable-admission-plugins"], "PodSecurityPolicy")


def test_each_use_of_a_list_of_plugins_is_judged() -> None:
    words = [
        "kube-apiserver",
        "--enable-admission-plugins=DenyEscalatingExec,",
        "--enable_admission_plugins",
        "Own",
    ]
    found = {
        (finding.setting, finding.effect) for finding in readiness("kube-apiserver", "1.20", "1.21", words)
    }
    assert ("--enable-admission-plugins: DenyEscalatingExec", Effect.STOPS) in found
    assert ("--enable-admission-plugins: Own", Effect.NOT_JUDGED) in found
