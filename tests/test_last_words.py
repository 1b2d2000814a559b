"""Who ended itself because a lease was lost is told from who was killed, told to stop, or broke."""

from __future__ import annotations

import json

import pytest

from last_words import end_of, lost_its_lease, processes_since

SCHEDULER = """\
E1129 00:41:07.104512     312 leaderelection.go:325] error retrieving resource lock kube-system/kube-scheduler: \
Get "https://10.88.0.10:6443/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/kube-scheduler?timeout=10s": \
dial tcp 10.88.0.10:6443: connect: connection refused
I1129 00:41:09.104331     312 leaderelection.go:278] failed to renew lease kube-system/kube-scheduler: \
timed out waiting for the condition
F1129 00:41:09.104413     312 server.go:205] leaderelection lost
goroutine 1 [running]:
k8s.io/kubernetes/vendor/k8s.io/klog/v2.stacks(0xc000010001, 0xc0007de000, 0x4c, 0x1ce)
        /usr/src/vendor/k8s.io/klog/v2/klog.go:1026 +0xb9""".splitlines()


def without(word: str) -> list[str]:
    return [line for line in SCHEDULER if word not in line]


def test_a_scheduler_that_lost_its_lease() -> None:
    assert lost_its_lease("kube-scheduler", SCHEDULER)
    assert end_of(SCHEDULER) == SCHEDULER[2]


@pytest.mark.parametrize(
    ("service", "lines"),
    [
        ("kubelet", SCHEDULER),
        ("kube-controller-manager", SCHEDULER),  # another's lease
        ("kube-scheduler", []),
        ("kube-scheduler", without("F1129")),  # it was killed while it tried
        ("kube-scheduler", without("failed to renew")),  # it was told to stop (1.21 and later)
        (
            "kube-scheduler",
            [*SCHEDULER, "F1129 00:41:09.104413     312 server.go:158] open conf: no such file"],
        ),
        ("kube-scheduler", ["panic: leaderelection lost", "goroutine 1 [running]:"]),
        (
            "kube-scheduler",
            [*without("F1129"), "I1129 00:41:09.104413     312 server.go:205] leaderelection lost"],
        ),
    ],
)
def test_every_other_end(service: str, lines: list[str]) -> None:
    assert not lost_its_lease(service, lines)


def entry(invocation: str, message: object) -> str:
    return json.dumps({"_SYSTEMD_INVOCATION_ID": invocation, "MESSAGE": message})


def test_of_every_process_that_has_ended_since_it_is_asked_what_it_said() -> None:
    journal = "\n".join(
        [
            entry("a", "long ago"),
            entry("b", "first"),
            entry("b", "then"),
            entry("c", [255, 104]),
            entry("d", "now"),
        ]
    )
    assert processes_since(journal, "b", "d") == [["first", "then"], ["\ufffdh"]]
    assert processes_since(journal, "b", "") == [["first", "then"], ["\ufffdh"], ["now"]]
    assert processes_since(journal, "d", "d") == []


def test_a_process_of_which_the_journal_knows_nothing_has_no_explanation() -> None:
    [lines] = processes_since(entry("d", "now"), "b", "d")
    assert not lost_its_lease("kube-scheduler", lines)
    assert end_of(lines) == "it said nothing"
