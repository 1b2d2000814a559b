"""Random command lines that a component of a given release accepts, in every spelling that pflag reads.

The names come from the release tables. The values come from what the components check when they start:
types of pflag, and ``ValidateKubeletConfiguration``, ``proxyconfig/validation`` and the scheduler's
``ValidateKubeSchedulerConfiguration`` for what a type does not say (a port, a percentage, what a flag needs
beside it). Only what one process can see is promised: files are named that may not exist.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection
from typing import Any

from kubeharden.releases import Flag, Release, ReleaseTable

# Not on the command line of a service (modes that exit, Windows), or named by whoever has the file.
NEVER = {
    "--cleanup",
    "--cleanup-iptables",
    "--cleanup-ipvs",
    "--config",
    "--config-dir",
    "--dynamic-config-dir",
    "--help",
    "--init-only",
    "--really-crash-for-testing",
    "--runonce",
    "--version",
    "--enable-dsr",
    "--forward-healthcheck-vip",
    "--network-name",
    "--root-hnsendpoint-name",
    "--source-vip",
    "--windows-priorityclass",
    "--windows-service",
    "--write-config-to",
}

PATHS = ("/etc/kubernetes/pki/file.pem", "/var/lib/kube=let/a,b.conf", "/srv/with space/x", "relative/x.conf")
CIDRS = ("10.244.0.0/16", "192.168.7.0/24", "fd00:10:244::/56")
IPS = ("0.0.0.0", "127.0.0.1", "10.1.2.3", "::", "::1", "fd00::12")
PORTS = (1024, 65535)
SUITES = (
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_128_CBC_SHA",
)
# pkg/kubelet/eviction/api/types.go; allocatableMemory is not a signal that a person may set.
SIGNALS = (
    "memory.available",
    "nodefs.available",
    "nodefs.inodesFree",
    "imagefs.available",
    "imagefs.inodesFree",
)
QUANTITIES = ("100Mi", "1Gi", "500M", "1.5Gi", "0.5Gi", "1e3", "2048Ki")

# Gates that every release from the one named on has (pkg/features/kube_features.go, still there in 1.36).
GATES = {
    "RotateKubeletServerCertificate": "1.10",
    "QOSReserved": "1.11",
    "CustomCPUCFSQuotaPeriod": "1.12",
    "GracefulNodeShutdown": "1.20",
}

# Smallest and largest whole number that the components accept, by flag; 0 alone means more than "none" in some.
NUMBERS: dict[str, tuple[int, int]] = {
    "--container-log-max-files": (2, 9),
    "--conntrack-max-per-core": (0, 65536),
    "--event-qps": (0, 100),
    "--hard-pod-affinity-symmetric-weight": (0, 100),
    "--healthz-port": PORTS,
    "--image-gc-high-threshold": (81, 99),
    "--image-gc-low-threshold": (10, 79),
    "--kube-api-qps": (1, 100),
    "--max-open-files": (1000, 2**40),
    "--maximum-dead-containers": (-1, 100),
    "--maximum-dead-containers-per-container": (-1, 5),
    "--network-plugin-mtu": (0, 9000),
    "--node-status-max-images": (-1, 100),
    "--oom-score-adj": (-1000, 1000),
    "--pod-max-pids": (100, 2**22),
    "--registry-burst": (1, 50),
    "--registry-qps": (0, 50),
    "--v": (0, 10),
} | dict.fromkeys(["--port", "--metrics-port", "--secure-port", "--read-only-port", "--cadvisor-port"], PORTS)
ZERO_SWITCHES_OFF = {
    "--read-only-port",
    "--healthz-port",
    "--metrics-port",
    "--cadvisor-port",
    "--secure-port",
}
ZERO_PORT_OF = {"kube-scheduler": {"--port"}}  # the kubelet's must be 1 to 65535

# Ranges that are valid together with one another and with the defaults (leader election: lease > renew > 1.2
# retry; sync period >= minimum sync period).
DURATIONS: dict[str, tuple[str, ...]] = {
    "--cpu-cfs-quota-period": ("100ms", "5ms", "1s", "10000us"),
    "--leader-elect-lease-duration": ("15s", "30s", "1m", "1h"),
    "--leader-elect-renew-deadline": ("5s", "8s", "10s"),
    "--leader-elect-retry-period": ("1s", "2s", "3000ms"),
    "--iptables-sync-period": ("30s", "1m30s", "1h"),
    "--ipvs-sync-period": ("30s", "1m30s", "1h"),
    "--iptables-min-sync-period": ("0s", "0", "500ms", "10s"),
    "--ipvs-min-sync-period": ("0s", "2s", "10s"),
}
SPANS = ("10s", "90s", "1m30s", "250ms", "1h0m0s", "1.5h", "2h45m10s", "300000us", "1000000000ns")
ZERO_SPANS = {
    "--authentication-token-webhook-cache-ttl",
    "--authorization-webhook-cache-authorized-ttl",
    "--authorization-webhook-cache-unauthorized-ttl",
    "--conntrack-tcp-timeout-close-wait",
    "--conntrack-tcp-timeout-established",
    "--conntrack-udp-timeout",
    "--conntrack-udp-timeout-stream",
    "--image-pull-progress-deadline",
    "--ipvs-tcp-timeout",
    "--ipvs-tcpfin-timeout",
    "--ipvs-udp-timeout",
    "--minimum-container-ttl-duration",
    "--minimum-image-ttl-duration",
    "--streaming-connection-idle-timeout",
}

# Values of flags whose type says only "string". A name that is in none of these tables is a path.
STRINGS: dict[str, tuple[str, ...]] = {
    "--algorithm-provider": ("DefaultProvider", "ClusterAutoscalerProvider"),
    "--bind-address": IPS,
    "--cgroup-root": ("", "/", "/kube"),
    "--cloud-provider": ("", "external"),
    "--cluster-cidr": ("", *CIDRS),
    "--cluster-domain": ("", "cluster.local", "k8s.example.org"),
    "--container-log-max-size": ("10Mi", "1Gi", "5M"),
    "--container-runtime": ("remote",),
    "--container-runtime-endpoint": (
        "unix:///run/containerd/containerd.sock",
        "unix:///var/run/crio/crio.sock",
    ),
    "--containerd-namespace": ("k8s.io",),
    "--detect-local-mode": ("ClusterCIDR", "NodeCIDR"),
    "--docker-endpoint": ("unix:///var/run/docker.sock", "tcp://127.0.0.1:2375"),
    "--experimental-mounter-path": ("", "/usr/bin/mounter"),
    "--failure-domains": ("kubernetes.io/hostname", "a.example.org/zone,b.example.org/region"),
    "--hostname-override": ("node-1", "n2.example.org", "10.0.0.7"),
    "--image-service-endpoint": ("unix:///run/containerd/containerd.sock",),
    "--ipvs-scheduler": ("", "rr", "wrr", "lc", "sh"),
    "--kube-api-content-type": ("application/json", "application/vnd.kubernetes.protobuf"),
    "--kube-reserved-cgroup": ("/kube.slice",),
    "--kubelet-cgroups": ("", "/systemd/system.slice"),
    "--leader-elect-resource-lock": ("leases",),
    "--leader-elect-resource-name": ("kube-scheduler", "mine"),
    "--leader-elect-resource-namespace": ("kube-system", "other"),
    "--lock-object-name": ("kube-scheduler", "mine"),
    "--lock-object-namespace": ("kube-system", "other"),
    "--logging-format": ("text",),
    "--manifest-url": ("http://127.0.0.1:8080/pods?a=b,c&d=%20",),
    "--master": ("https://127.0.0.1:6443", ""),
    "--master-service-namespace": ("default", "other"),
    "--network-plugin": ("", "cni", "kubenet"),
    "--node-ip": ("10.0.0.7",),
    "--non-masquerade-cidr": ("10.0.0.0/8", "0.0.0.0/0"),
    "--pod-bridge-interface": ("", "cbr0"),
    "--pod-cidr": ("", "10.244.3.0/24"),
    "--pod-infra-container-image": ("k8s.gcr.io/pause:3.1", "registry.example.org:5000/pause@sha256:00ff"),
    "--pod-interface-name-prefix": ("", "veth"),
    "--policy-configmap": ("policy",),
    "--policy-configmap-namespace": ("kube-system", "other"),
    "--provider-id": ("", "aws:///eu-1a/i-0123=45"),
    "--proxy-mode": ("", "iptables", "ipvs"),
    "--proxy-port-range": ("", "30000-32767", "0-0", "100+50"),
    "--reserved-cpus": ("0", "0-1", "0,1"),
    "--resolv-conf": ("", "/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"),
    "--resource-container": ("", "/kube-proxy"),
    "--runtime-cgroups": ("", "/systemd/system.slice"),
    "--scheduler-name": ("default-scheduler", "mine"),
    "--show-hidden-metrics-for-version": ("",),
    "--storage-driver-db": ("cadvisor",),
    "--storage-driver-host": ("localhost:8086",),
    "--storage-driver-password": ("root",),
    "--storage-driver-table": ("stats",),
    "--storage-driver-user": ("root",),
    "--system-cgroups": ("/system.slice",),
    "--system-reserved-cgroup": ("/system.slice",),
    "--tls-min-version": ("VersionTLS10", "VersionTLS11", "VersionTLS12"),
    "--tls-sni-cert-key": ("/a.crt,/a.key:*.example.org,example.org", "/b.crt,/b.key"),
}
# glog's, klog's and cAdvisor's flags (glog.go, cmd/kubelet/app/options/globalflags_linux.go).
STRINGS |= {
    "--event-storage-age-limit": ("default=0", "default=24h,oom=1h"),
    "--event-storage-event-limit": ("default=0", "default=100,oom=10"),
    "--log-backtrace-at": ("kubelet.go:17",),
    "--stderrthreshold": ("2", "0", "WARNING", "ERROR"),
}

LISTS: dict[str, tuple[str, ...]] = {
    "--allow-metric-labels": ("scheduler_pods=active",),
    "--disabled-metrics": ("scheduler_pod_scheduling_attempts", "rest_client_requests_total"),
    "--emulated-version": ("",),
    "--min-compatibility-version": ("",),
    "--requestheader-uid-headers": ("X-Remote-Uid",),
    "--allowed-unsafe-sysctls": ("net.core.somaxconn", "kernel.msg*", "net.ipv4.route.min_pmtu"),
    "--authorization-always-allow-paths": ("/healthz", "/metrics", "/readyz/*"),
    "--cluster-dns": ("10.0.0.10", "fd00::a", "169.254.20.10"),
    "--enforce-node-allocatable": ("pods",),
    "--host-ipc-sources": ("*", "api", "file", "http"),
    "--host-network-sources": ("*", "api", "file", "http"),
    "--host-pid-sources": ("*", "api", "file", "http"),
    "--ipvs-exclude-cidrs": CIDRS,
    "--nodeport-addresses": CIDRS,
    "--requestheader-allowed-names": ("front-proxy-client", '"with, comma"'),
    "--requestheader-extra-headers-prefix": ("X-Remote-Extra-", "X-Other-"),
    "--requestheader-group-headers": ("X-Remote-Group", "X-Group"),
    "--requestheader-username-headers": ("X-Remote-User", "X-User"),
    "--tls-cipher-suites": SUITES,
}
LISTS["--experimental-allowed-unsafe-sysctls"] = LISTS["--allowed-unsafe-sysctls"]

PAIRS: dict[str, tuple[str, ...]] = {
    "--cpu-manager-policy-options": ("full-pcpus-only=true", "full-pcpus-only=false"),
    "--eviction-hard": tuple(f"{signal}<{value}" for signal in SIGNALS for value in ("100Mi", "5%", "1.5Gi")),
    "--eviction-minimum-reclaim": tuple(
        f"{signal}={v}" for signal in SIGNALS for v in ("0Mi", "500Mi", "5%")
    ),
    "--eviction-soft": tuple(f"{signal}<{value}" for signal in SIGNALS for value in ("300Mi", "12.5%")),
    "--eviction-soft-grace-period": tuple(f"{signal}=1m30s" for signal in SIGNALS),
    "--experimental-qos-reserved": ("memory=0%", "memory=50%", "memory=100%"),
    "--kube-reserved": ("cpu=100m", "cpu=0.5", "memory=1Gi", "ephemeral-storage=500M"),
    "--manifest-url-header": ("Accept: application/json", "Accept:text/x-yaml", "X-Token:a=b:c"),
    "--node-labels": ("zone=a", "example.org/role=edge", "empty="),
    "--qos-reserved": ("memory=0%", "memory=50%", "memory=100%"),
    "--system-reserved": ("cpu=250m", "cpu=1", "memory=512Mi", "ephemeral-storage=1Gi"),
    "--topology-manager-policy-options": ("prefer-closest-numa-nodes=true",),
}
TAINTS = ("dedicated=infra:NoSchedule", "example.org/gpu:NoExecute", "a=b:PreferNoSchedule", "c=:NoSchedule")
RESERVED_MEMORY = ("0:memory=1Gi", "0:memory=1Gi,hugepages-1Gi=2Gi;1:memory=512Mi", "1:memory=1024Mi")
PATTERNS = ("kubelet*=5", "server=2", "gopher*=0")


def flag_set(
    rng: random.Random,
    table: ReleaseTable,
    *,
    leave_out: Collection[str] = (),
    share: float = 0.12,
) -> list[str]:
    """The words of a command line, without the program's name, that the release accepts.

    Args:
        rng: where chance comes from; hypothesis' ``st.randoms(use_true_random=False)`` shrinks.
        table: the component and its release.
        leave_out: names (with dashes) that must not be on it.
        share: about which part of the release's flags is on it, 0 to 1.
    """
    names = sorted(set(table.flags) - NEVER - set(leave_out) - _unusable(table))
    chosen = rng.sample(names, min(len(names), round(2 * share * len(names) * rng.random())))
    given = {
        name: _texts(name, table.flags[name], rng, table)
        for name in dict.fromkeys([*chosen, *_needed(chosen)])
        if name in names
    }
    _agree(given, table, set(leave_out))
    # The others read their command line with cobra, which got WordSepNormalizeFunc with component-base/cli.Run (1.23);
    # kube-proxy and kube-scheduler 1.20.2 say "unknown flag: --iptables_sync_period".
    underscores = table.component == "kubelet" or table.release >= Release(1, 23)
    words: list[list[str]] = [
        _spelt(name, text, table.flags[name].type, rng, underscores=underscores)
        for name, texts in given.items()
        for text in texts
    ]
    return [word for words_of_one in words for word in words_of_one]


def _unusable(table: ReleaseTable) -> set[str]:
    """Flags with which no value lets the component start.

    --metrics-bind-address takes an IP only until 1.17, but the port that it must have comes from --metrics-port, which
    there is from 1.14 on (kubernetes issue 62479, pull request 72682).
    """
    old = table.component == "kube-proxy" and table.release < Release(1, 14)
    return {"--metrics-bind-address"} if old else set()


def values_for(name: str, flag: Flag, rng: random.Random, release: Release | None = None) -> str:
    """One value of one flag as text, which a component accepts; ``release`` widens the choice."""
    kind = flag.type
    if flag.enum:
        return rng.choice(flag.enum)
    if kind == "address" and release is not None and release < Release(1, 18):
        return rng.choice([ip for ip in IPS if ":" not in ip])  # an IPVar, cut at its first colon
    maker = _MAKERS.get(kind)
    if maker is not None:
        return maker(name, rng)
    if kind.startswith(("int", "uint", "float")):
        return _number(name, kind, rng)
    if kind == "map(string,bool)":
        return ",".join(_gates(rng, release))
    if kind.startswith("map("):
        return _some(PAIRS[name], rng, key=_key)
    if kind == "list(int32)":
        return rng.choice(("29", "23,29"))
    if kind == "list(string)":
        return _some(LISTS[name], rng, key=str)
    if kind == "quantity":
        return rng.choice(("0", *QUANTITIES))
    return rng.choice(STRINGS.get(name, PATHS))


def _texts(name: str, flag: Flag, rng: random.Random, table: ReleaseTable) -> list[str]:
    """The values of one flag: lists and maps may be given more than once, and so may anything else."""
    grows = flag.type.startswith(("list(", "map("))
    times = 2 if rng.random() < (0.3 if grows else 0.05) else 1
    zero_ports = ZERO_SWITCHES_OFF | ZERO_PORT_OF.get(table.component, set())
    if name in zero_ports and rng.random() < 0.1:
        return ["0"]
    if flag.type == "list(object)":
        times = 1  # the kubelet refuses two reservations of the same memory
    return [values_for(name, flag, rng, table.release) for _ in range(times)]


def _needed(chosen: Collection[str]) -> list[str]:
    """Flags that others must not be without (ValidateKubeletConfiguration, container_manager_linux.go)."""
    needs = {
        "--cpu-cfs-quota-period": "--feature-gates",
        "--eviction-soft": "--eviction-soft-grace-period",
        "--eviction-soft-grace-period": "--eviction-soft",
        "--qos-reserved": "--feature-gates",
        "--system-cgroups": "--cgroup-root",
    }
    return [needs[name] for name in chosen if name in needs]


def _agree(given: dict[str, list[str]], table: ReleaseTable, leave_out: set[str]) -> None:
    """Make values that are checked against one another agree."""
    if "--eviction-soft" in given:
        signals = {
            text.partition("<")[0]
            for given_text in given["--eviction-soft"]
            for text in given_text.split(",")
        }
        given["--eviction-soft-grace-period"] = [",".join(f"{signal}=1m30s" for signal in sorted(signals))]
    if "--system-cgroups" in given:
        given["--cgroup-root"] = ["/"]
    gates = {"--cpu-cfs-quota-period": "CustomCPUCFSQuotaPeriod", "--qos-reserved": "QOSReserved"}
    for name, gate in gates.items():
        if name in given and "--feature-gates" in given:
            given["--feature-gates"] = [*given["--feature-gates"], f"{gate}=true"]
    if "--cgroups-per-qos" in given and given["--cgroups-per-qos"][-1] == "false":
        given["--enforce-node-allocatable"] = [""]
    if "--reserved-cpus" in given:  # "can't use reservedSystemCPUs with systemReservedCgroup"
        given.pop("--system-reserved-cgroup", None)
        given.pop("--kube-reserved-cgroup", None)
    if "--iptables-drop-bit" in given:  # the two bits must differ
        given["--iptables-drop-bit"] = ["13"]
    for name in set(given) - set(table.flags) | leave_out & set(given):
        del given[name]


def _spelt(name: str, text: str, kind: str, rng: random.Random, *, underscores: bool) -> list[str]:
    if name == "--v" and rng.random() < 0.5:
        return rng.choice(([f"-v{text}"], [f"-v={text}"], ["-v", text]))
    if underscores and rng.random() < 0.1:
        name = "--" + name[2:].replace("-", "_")
    if kind == "bool" and text == "true" and rng.random() < 0.5:
        return [name]
    # A boolean takes no following word: pflag would read it as an argument.
    if kind == "bool" or rng.random() < 0.7:
        return [f"{name}={text}"]
    return [name, text]


def _number(name: str, kind: str, rng: random.Random) -> str:
    if "masquerade-bit" in name:
        return str(rng.choice((14, 16, 31)))
    low, high = NUMBERS.get(name, (1, 200))
    if kind.startswith("float") and rng.random() < 0.5:
        return f"{rng.randint(low, high)}.5"
    return str(rng.randint(low, high))


def _duration(name: str, rng: random.Random) -> str:
    return rng.choice(DURATIONS.get(name) or (*SPANS, *(("0s", "0") if name in ZERO_SPANS else ())))


def _address(_: str, rng: random.Random) -> str:
    host = rng.choice(IPS)
    if rng.random() < 0.3:
        return host
    return f"[{host}]:{rng.randint(*PORTS)}" if ":" in host else f"{host}:{rng.randint(*PORTS)}"


def _gates(rng: random.Random, release: Release | None) -> list[str]:
    known = [gate for gate, since in GATES.items() if release is not None and Release.parse(since) <= release]
    some = rng.sample(known, rng.randint(0, min(2, len(known))))
    return ["AllAlpha=false", *(f"{gate}={rng.choice(('true', 'false', 'True', '0'))}" for gate in some)]


def _some(choices: tuple[str, ...], rng: random.Random, key: Callable[[str], str]) -> str:
    """One to three of the choices, no two with the same key."""
    picked = rng.sample(choices, rng.randint(1, min(3, len(choices))))
    return ",".join({key(item): item for item in picked}.values())


def _key(pair: str) -> str:
    return pair.replace("<", "=").partition("=")[0]


_MAKERS: dict[str, Callable[[str, random.Random], Any]] = {
    "address": _address,
    "bool": lambda _, rng: rng.choice(("true", "false")),
    "duration": _duration,
    "ip": lambda _, rng: rng.choice(IPS),
    "list(object)": lambda _, rng: rng.choice(RESERVED_MEMORY),
    "list(taint)": lambda _, rng: _some(
        TAINTS, rng, key=lambda taint: taint.partition("=")[0].partition(":")[0]
    ),
    "list({filePattern,verbosity})": lambda _, rng: _some(PATTERNS, rng, key=_key),
}
