"""Equal warnings and findings are shown once, and what does not start comes first."""

from __future__ import annotations

from kubeharden.components import Effect, Finding
from kubeharden.facts.warnings import flag_and_message, group, node_words
from kubeharden.releases import Release
from kubeharden.show.views import findings_view

OLD = "has been deprecated, set it in the file"


def test_warnings_are_grouped_by_what_they_say() -> None:
    header = "W1126 14:22:24.316258 {} server.go:191] all flags are deprecated"
    found = group(
        [
            *(("kubelet", node, f"Flag {flag} {OLD}") for node in ("n1", "n2") for flag in ("--a", "--b")),
            ("kubelet", "n2", f"Flag --c {OLD}"),
            ("kube-proxy", "n1", header.format(7)),
            ("kube-proxy", "n2", header.format(4195049)),
        ]
    )
    assert found == [
        ("kubelet", ("n1", "n2"), ["--a", "--b"], OLD),
        ("kubelet", ("n2",), ["--c"], OLD),
        ("kube-proxy", ("n1", "n2"), [""], "all flags are deprecated"),
    ]
    assert flag_and_message("plain") == ("", "plain")
    assert (node_words(["n1", "n2"], 2), node_words(["n1"], 1), node_words(["n1", "n1"], 2)) == (
        "all 2 nodes", "n1", "n1"
    )  # fmt: skip


def test_what_does_not_start_is_the_first_row() -> None:
    effects = [effect for effect in Effect if effect is not Effect.STOPS]
    findings = [
        ("n1", Finding("kubelet", Release(1, 24), effect, "--x", "why", "todo"))
        for effect in (*effects, Effect.STOPS)
    ]
    rows = [line for line in str(findings_view(findings, "1.25")).splitlines() if " kubelet " in line]
    assert f" {Effect.STOPS.value} " in rows[0]
    assert len(rows) == len(effects) + 1
