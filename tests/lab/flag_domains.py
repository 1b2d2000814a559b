"""Which flags of 1.20 the random command lines have, and which they cannot have here, with the reason.

``flag_sets`` knows what a component accepts; what its node has (files, addresses, a container runtime) it does
not. ``CHOICES`` are the values of such flags that the lab's nodes can run with.
"""

from __future__ import annotations

import os
import random
from functools import cache
from pathlib import Path

from lab_releases import find_release

import sampling
from flag_sets import NEVER, flag_set
from kubeharden.releases import ReleaseTable, release_table

RELEASE = "1.20"
# How many random command lines of each component; those of the first 40 seeds are always the same.
COUNT, ALWAYS = "KUBEHARDEN_FLAG_SETS", 40
KUBELETS = 14  # of those, where nobody says how many: each is started twice on a node
# This seed alone, to see a failure again.
ONE = "KUBEHARDEN_FLAG_SEED"
SHARE = 0.3  # of a component's flags that are on a command line

# What every kubelet has: how it reaches the cluster, and what pods need on the lab's nodes.
KUBELET_BASE = [
    "--bootstrap-kubeconfig=/etc/kubernetes/bootstrap.kubeconfig",
    "--kubeconfig=/etc/kubernetes/kubelet.kubeconfig",
    "--client-ca-file=/etc/kubernetes/pki/ca.crt",
    "--cert-dir=/etc/kubernetes/pki",
    "--network-plugin=cni",
    "--cni-conf-dir=/etc/cni/net.d",
    "--cni-bin-dir=/opt/cni/bin",
    f"--pod-infra-container-image={find_release(RELEASE).pause}",
]
# Flag → why no random kubelet has it.
KUBELET_LEFT_OUT = {
    "--chaos-chance": "makes calls to the API server fail, which is what it is for",
    "--container-runtime": "the nodes have docker and no other runtime",
    "--container-runtime-endpoint": "the nodes have docker and no other runtime",
    **dict.fromkeys(
        [
            "--docker",
            "--docker-endpoint",
            "--docker-tls",
            "--docker-tls-ca",
            "--docker-tls-cert",
            "--docker-tls-key",
        ],
        "docker listens where it listens, without TLS, and a kubelet that does not find it ends",
    ),
    "--dynamic-config-dir": "never migrated: what lies there is not read",
    "--enable-server": "without the server there is no /configz to look at",
    "--hostname-override": "the API server lets a kubelet write its own node only, so another name cuts it off",
    "--image-service-endpoint": "the nodes have docker and no other runtime",
    "--log-dir": "the log that is looked at would go elsewhere",
    "--log-file": "the log that is looked at would go elsewhere",
    "--logtostderr": "the log that is looked at would go elsewhere",
    "--root-dir": "a kubelet with another folder starts the node's pods a second time",
    "--stderrthreshold": "the log that is looked at would go elsewhere",
    "--system-cgroups": "moves every process of the node to another cgroup, systemd's own included",
}
KEY = "/etc/kubernetes/pki/kubelet"
# Flags whose values depend on the node: one of the lines is taken, or none of them.
KUBELET_CHOICES: list[list[list[str]]] = [
    [["--address=127.0.0.1"], ["--address", "0.0.0.0"], ["--address=::"]],
    [["--port=10250"], ["--port", "20250"]],
    [["--healthz-port=20248"], ["--healthz-port=0"], ["--healthz_port", "0"]],
    [["--read-only-port=20255"], ["--read-only-port=0"], ["--read-only-port", "10255"]],
    [["--cgroup-driver=cgroupfs"]],
    [["--cgroup-root="], ["--cgroup-root=/"]],
    [["--tls-cert-file", f"{KEY}.crt", f"--tls-private-key-file={KEY}.key"]],
    # A certificate that nobody approves is never served: only "no" can be asked for here.
    [["--rotate-server-certificates=false"]],
    [["--cpu-manager-policy=none"], ["--cpu-manager-policy=static", "--kube-reserved=cpu=500m"]],
    [["--lock-file=/run/kubelet of the test.lock"],
     ["--lock-file", "/run/kubelet.lock", "--exit-on-lock-contention"]],
    # /configz is a debugging handler.
    [["--enable-debugging-handlers"], ["--enable-debugging-handlers=true"]],
    # A server of HTTP/2 ends without one of the AES_128_GCM suites.
    [["--tls-cipher-suites=TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,TLS_RSA_WITH_AES_128_CBC_SHA"],
     ["--tls-cipher-suites", "TLS_RSA_WITH_AES_128_CBC_SHA", "--tls_cipher_suites",
      "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"],
     ["--tls-cipher-suites=TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"]],
    # The kubelet ends where these name a folder, as other flags make them.
    [["--azure-container-registry-config=/etc/no registry"]],
    [["--boot-id-file=/etc/no boot id"]],
    [["--container-hints", "/etc/no hints,yet"]],
    [["--machine-id-file=/etc/machine-id,/none"]],
    # The other one, json, is refused beside klog's flags.
    [["--logging-format=text"]],
    [["--volume-plugin-dir=/var/lib/kubelet/volume=plugins,a b"]],
    [["--v=0"], ["--v", "2"], ["--v=4"]],
]  # fmt: skip

# kube-proxy and kube-scheduler are asked with --write-config-to, on this machine.
LOGS_LEFT_OUT = dict.fromkeys(["--log-dir", "--log-file", "--logtostderr"], "writes logs on this machine")
# Registered on Windows only, where nothing of ours runs.
WINDOWS = {
    "kubelet": {"--windows-priorityclass", "--windows-service"},
    "kube-proxy": {"--enable-dsr", "--network-name", "--source-vip", "--windows-service"},
    "kube-scheduler": set(),
}
PROXY_LEFT_OUT = (
    LOGS_LEFT_OUT
    | dict.fromkeys(WINDOWS["kube-proxy"], "of Windows only")
    | dict.fromkeys(
        ["--healthz-bind-address", "--healthz-port", "--metrics-bind-address", "--metrics-port"],
        "--write-config-to does not complete these (Options.Complete): a running kube-proxy is asked, on a node",
    )
)
SCHEDULER_LEFT_OUT = (
    LOGS_LEFT_OUT
    | dict.fromkeys(
        ["--authentication-kubeconfig", "--authorization-kubeconfig"],
        "asks an API server when it starts",
    )
    | dict.fromkeys(
        ["--cert-dir", "--client-ca-file", "--requestheader-client-ca-file", "--tls-cert-file",
         "--tls-private-key-file", "--tls-sni-cert-key"],
        "names files that must be there; has no field",
    )
    | dict.fromkeys(
        ["--algorithm-provider", "--hard-pod-affinity-symmetric-weight", "--policy-config-file",
         "--policy-configmap", "--policy-configmap-namespace", "--use-legacy-policy-config"],
        "refused by migrate: rewritten by hand",
    )
    | {"--secure-port": "given with every set: without it each start makes a key of its own, for a second"}
)  # fmt: skip
# A kubeconfig that can be read and leads nowhere.
NOWHERE = """apiVersion: v1
kind: Config
current-context: nowhere
contexts: [{name: nowhere, context: {cluster: nowhere, user: nobody}}]
clusters: [{name: nowhere, cluster: {server: "https://127.0.0.1:1"}}]
users: [{name: nobody, user: {token: none}}]
"""
LEFT_OUT = {"kubelet": KUBELET_LEFT_OUT, "kube-proxy": PROXY_LEFT_OUT, "kube-scheduler": SCHEDULER_LEFT_OUT}


@cache
def seeds() -> list[int]:
    """The seeds of this run: one that is asked for, or the first 40 and fresh ones beyond."""
    if os.environ.get(ONE):
        return [int(os.environ[ONE])]
    count = int(os.environ.get(COUNT) or ALWAYS)
    fresh = random.SystemRandom()
    return [*range(min(count, ALWAYS)), *(fresh.randrange(ALWAYS, 10**9) for _ in range(ALWAYS, count))]


def seeds_of_kubelets() -> list[int]:
    """Those of them that kubelets are tried with: a sample, where nobody says how many or which."""
    if os.environ.get(ONE) or os.environ.get(COUNT):
        return seeds()
    return [seeds()[at] for at in sampling.chosen(len(seeds()), KUBELETS)]


def table_of(component: str) -> ReleaseTable:
    return release_table(component, RELEASE)


def profile_of(seed: int) -> str:
    return ("none", "article")[seed % 2]


def kubelet_command(seed: int) -> list[str]:
    """A kubelet's command line that the lab's nodes can run."""
    rng = random.Random(seed)
    chosen = [rng.choice(lines) for lines in KUBELET_CHOICES if rng.random() < SHARE]
    words = flag_set(
        rng, table_of("kubelet"), leave_out={*KUBELET_LEFT_OUT, *own_flags("kubelet")}, share=SHARE
    )
    return ["/usr/bin/kubelet", *KUBELET_BASE, *[word for line in chosen for word in line], *words]


def own_flags(component: str) -> set[str]:
    """The flags that ``flag_sets`` must leave to this module."""
    if component == "kube-scheduler":
        return {"--kubeconfig", "--secure-port"}
    if component == "kube-proxy":
        return set()
    words = [*KUBELET_BASE, *(word for lines in KUBELET_CHOICES for line in lines for word in line)]
    return {word.partition("=")[0].replace("_", "-") for word in words if word.startswith("--")} - {
        "--kube-reserved"  # a map, so that one more of it only adds to it
    }


def command(component: str, seed: int, folder: Path) -> list[str]:
    """A command line of kube-proxy or kube-scheduler that this machine can run."""
    rng = random.Random(seed)
    own = []
    if component == "kube-scheduler":
        path = rng.choice((folder / "kube=let" / "a,b.kubeconfig", folder / "with space" / "x"))
        path.parent.mkdir(exist_ok=True)
        path.write_text(NOWHERE)
        own = [f"--kubeconfig={path}", "--secure-port=0"]
    leave_out = {*LEFT_OUT[component], *own_flags(component)}
    words = flag_set(rng, table_of(component), leave_out=leave_out, share=SHARE)
    return [component, *own, *map(_with_dashes, words)]


def _with_dashes(word: str) -> str:
    """These two know no underscores: main.go normalises the names of pflag.CommandLine, not of the command's own."""
    name, equals, value = word.partition("=")
    return f"{name.replace('_', '-')}{equals}{value}" if word.startswith("--") else word


def never_tried(component: str, tried: set[str]) -> set[str]:
    """Flags of the release that were on no command line, although nothing speaks against them."""
    return set(table_of(component).flags) - tried - set(LEFT_OUT[component]) - NEVER - WINDOWS[component]
