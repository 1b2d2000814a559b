"""What a person sees of results, plans and diffs."""

from __future__ import annotations

import html
import re

from kubeharden.plan import NodeChange, ObjectChange, Plan, Remark
from kubeharden.plan.events import Result
from kubeharden.show.amounts import amount_words, order_words
from kubeharden.show.display import Diff, Message, Table, View
from kubeharden.show.views import plan_view, results_view

DIFF = "--- /x (before)\n+++ /x\n@@ -1,2 +1,3 @@\n same\n-old\n+new\n+more\n"
CAUSE = "F1126 1 a.go:1] no ca.crt"
RESTART = NodeChange("kubelet", "n1", "kubelet", restart="its files change")


def test_outcomes_have_a_colour_a_sign_and_a_word() -> None:
    results = [
        Result("kubelet on n1", "completed", "runs", 3.2),
        Result("kubelet on n2", "reverted", f"did not come up\n{CAUSE}", 9, CAUSE),
        Result("kubelet on n3", "as it should be", "nothing to do"),
    ]  # fmt: skip
    page, text = results_view(results)._repr_html_(), str(results_view(results))
    for kind, words in (("good", "✔ completed"), ("bad", "✘ reverted"), ("note", "• as it should be")):
        assert f'<td class="{kind}">{words}</td>' in page
        assert words in text
    # The journal is folded, and there once beside the line that says why.
    assert "<summary>kubelet on n2: its journal since the restart</summary>" in page
    assert page.count("F1126") == 2
    assert "journal" not in str(results_view(results[:1]))


def test_a_long_word_may_go_on_in_the_next_line_where_a_reader_would_break_it() -> None:
    words = (
        "authentication.|x509.|client|CAFile", "TLS_ECDHE_|RSA_|WITH", "/etc/|kubernetes/|kubelet.|conf", "10.0.0.10",
        "k8s-node1", "Deployment shop/|web", "Role weave/|psp:|privileged", "container|Runtime|Endpoint", "<b>&",
    )  # fmt: skip
    page = View([Table("", ("",), [[word.replace("|", "")] for word in words])])._repr_html_()
    cells = [html.unescape(cell).replace("<wbr>", "|") for cell in re.findall("<td>(.*?)</td>", page)]
    assert cells == list(words)


def test_a_line_does_not_end_within_the_dashes_of_a_flag() -> None:
    text = "remote and --container-runtime-endpoint, -v or <--x>: a-b --, 1--2"
    whole = (
        'remote and <span class="flag">--container</span>-runtime-endpoint, <span class="flag">-v</span> or '
        '&lt;<span class="flag">--x</span>&gt;: a-b --, 1--2'
    )
    page = View([Message(text), Table("", ("",), [[text]])])._repr_html_()
    assert page.replace("<wbr>", "").count(whole) == 2


def test_a_diff_counts_its_lines_and_is_open_where_a_person_watches() -> None:
    view = View([Diff("n1: /x", DIFF)])
    assert "<details><summary>n1: /x (+2 –1)</summary>" in view._repr_html_()
    assert str(view).startswith("n1: /x (+2 –1)\n--- /x")
    view.watched = True
    assert "<details open><summary>n1: /x (+2 –1)</summary>" in view._repr_html_()


def test_more_diffs_than_a_person_reads_stay_folded() -> None:
    view = View([Diff(f"n{number}: /x", DIFF * 20) for number in range(20)], watched=True)
    page = view._repr_html_()
    assert 1 < page.count("<details open>") < 20
    assert page.index("<details open>") < page.index("<details><")


def test_the_verdict_on_a_plan_comes_last() -> None:
    refused = Plan(("kubelet",), (RESTART,), refused=(Remark("n1", "why"),))
    assert str(plan_view(refused)).splitlines()[-1].startswith("✘ REFUSED, 1 reason: nothing is carried out")
    good = Plan(("kubelet",), (RESTART,))
    assert str(plan_view(good)).endswith("✔ 1 restart on 1 node, in the order of the table above.")
    part = Plan(("kubelet",), (RESTART,), refused=(Remark("kubelet on n2", "why", "kubelet"),))
    assert "1 service left as it is; 1 restart on 1 node" in str(plan_view(part)).splitlines()[-1]
    assert "Digest of this plan" in str(plan_view(Plan(("kubelet",)))).splitlines()[-1]


def test_amounts_and_order_in_words() -> None:
    assert amount_words(Plan(())) == ""
    many = [[f"n{number}"] for number in range(11)]
    assert order_words([(Plan(()), [["n1"], ["n2", "n3"], ["m1"]])]) == "n1, then n2 with n3, then m1"
    assert order_words([(Plan(()), many)]).endswith(", then n7, then 3 more nodes")
    objects = Plan((), object_changes=(ObjectChange("pod-security", {}),))
    assert order_words([(objects, [["n1"]])]) == "the objects, then n1"
    assert order_words([(Plan(()), [["n1"]]), (objects, [])]) == "n1, then the objects"
    assert order_words([(Plan(()), many[:9]), (objects, [])]).endswith(
        ", then n7, then 1 more node, then the objects"
    )


def test_words_of_a_table_are_not_cut_in_two() -> None:
    """``anywhere`` lets a column be as narrow as a letter; only paths and digests may be cut."""
    page = View([Table("", ("A",), [("completed",)])])._repr_html_()
    rules = dict(re.findall(r"\.kh (td[.\w]*) \{([^}]*)\}", page))
    assert "overflow-wrap: break-word" in rules["td"]
    assert "overflow-wrap: anywhere" in rules["td.mono"]
