"""A plausible value for every flag that there is, so that tests can use all of them."""

from __future__ import annotations

from kubeharden.releases import Flag, ReleaseTable

# By the table's type. None of them is what the flag has without being given, so that a value that gets lost shows.
BY_TYPE = {
    "string": "example",
    "int32": "7",
    "int64": "7",
    "uint32": "3",
    "float": "7",
    "float32": "7",
    "float64": "0.5",
    "duration": "33s",
    "quantity": "64Ki",
    "ip": "192.168.171.201",
    "address": "192.168.171.201:10300",
    "port range": "30000-30100",
    "list(string)": "one,two",
    "list(int32)": "1,2",
    "list(taint)": "dedicated=infra:NoSchedule",
    "list({filePattern,verbosity})": "kubelet*=4",
    "list(object)": "0:memory=1Gi",
    "map(string,string)": "cpu=100m",
    "map(string,bool)": "RotateKubeletServerCertificate=true",
    "map(string,list(string))": "X-Node:one",
}
# Flags whose type allows more than the component does, or whose value must go with that of another flag.
BY_NAME = {
    "--algorithm-provider": "ClusterAutoscalerProvider",
    "--allowed-unsafe-sysctls": "net.core.somaxconn",
    "--authorization-always-allow-paths": "/healthz",
    "--cadvisor-port": "4195",
    "--cgroup-root": "/",
    "--cgroups-per-qos": "true",
    "--cloud-provider": "external",
    "--cluster-cidr": "10.32.0.0/16",
    "--cluster-dns": "10.0.0.10",
    "--cluster-domain": "cluster.local",
    "--container-log-max-size": "20Mi",
    "--container-runtime": "remote",
    "--container-runtime-endpoint": "unix:///run/containerd/containerd.sock",
    "--containerd": "unix:///run/containerd/containerd.sock",
    "--cpu-cfs-quota-period": "50ms",
    "--cpu-manager-policy-options": "full-pcpus-only=true",
    "--detect-local-mode": "ClusterCIDR",
    "--docker": "unix:///run/docker.sock",
    "--docker-endpoint": "unix:///run/docker.sock",
    "--docker-root": "/var/lib/docker",
    "--enforce-node-allocatable": "pods,system-reserved",
    "--event-storage-age-limit": "default=1h",
    "--event-storage-event-limit": "default=100",
    "--eviction-hard": "memory.available<200Mi",
    "--eviction-minimum-reclaim": "memory.available=10Mi",
    "--eviction-soft": "memory.available<300Mi",
    "--eviction-soft-grace-period": "memory.available=1m30s",
    "--experimental-allowed-unsafe-sysctls": "net.core.somaxconn",
    "--experimental-dockershim-root-directory": "/var/lib/dockershim2",
    "--experimental-qos-reserved": "memory=50%",
    "--failure-domains": "kubernetes.io/hostname",
    "--healthz-port": "10348",
    "--host-ipc-sources": "api,file",
    "--host-network-sources": "api,file",
    "--host-pid-sources": "api,file",
    "--hostname-override": "k8s-node1",
    "--image-gc-high-threshold": "90",
    "--image-gc-low-threshold": "70",
    "--image-service-endpoint": "unix:///run/containerd/containerd.sock",
    "--iptables-drop-bit": "13",
    "--ipvs-exclude-cidrs": "192.168.0.0/24,192.168.1.0/24",
    "--ipvs-scheduler": "lc",
    "--kube-api-content-type": "application/json",
    "--kube-reserved-cgroup": "/kube.slice",
    "--kubelet-cgroups": "/kube.slice/kubelet",
    "--leader-elect-lease-duration": "30s",
    "--leader-elect-renew-deadline": "20s",
    "--leader-elect-resource-lock": "leases",
    "--leader-elect-retry-period": "5s",
    "--log-backtrace-at": "kubelet.go:100",
    "--logging-format": "json",
    "--manifest-url": "https://192.168.171.200/manifests",
    "--master": "https://192.168.171.200:6443",
    "--metrics-bind-address": "192.168.171.201:10349",
    "--metrics-port": "10349",
    "--node-ip": "192.168.171.201",
    "--node-labels": "disk=ssd",
    "--nodeport-addresses": "192.168.171.0/24",
    "--non-masquerade-cidr": "10.0.0.0/8",
    "--oom-score-adj": "-998",
    "--pod-cidr": "10.32.1.0/24",
    "--port": "10350",
    "--provider-id": "example://k8s-node1",
    "--proxy-mode": "ipvs",
    "--qos-reserved": "memory=50%",
    "--read-only-port": "10355",
    "--really-crash-for-testing": "false",
    "--register-with-taints": "dedicated=infra:NoSchedule",
    "--reserved-cpus": "0-1",
    "--resolv-conf": "/run/systemd/resolve/resolv.conf",
    "--runtime-cgroups": "/system.slice/containerd.service",
    "--secure-port": "10359",
    "--source-vip": "10.32.1.2",
    "--stderrthreshold": "WARNING",
    "--system-cgroups": "/system.slice",
    "--system-reserved-cgroup": "/system.slice",
    "--tls-cipher-suites": "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "--tls-min-version": "VersionTLS12",
    "--tls-sni-cert-key": "/etc/kubernetes/pki/sni.crt,/etc/kubernetes/pki/sni.key",
    "--topology-manager-policy-options": "prefer-closest-numa-nodes=true",
    "--windows-priorityclass": "HIGH_PRIORITY_CLASS",
}
# What a component does not start without, where the first is given.
BESIDE = {"--eviction-soft": ("--eviction-soft-grace-period",)}


def flag_value(table: ReleaseTable, flag: Flag) -> str:
    """A value that the flag takes in that release, as text."""
    if flag.name == "--show-hidden-metrics-for-version":
        return f"1.{table.release.minor - 1}"  # it takes no other
    if flag.name in BY_NAME:
        return BY_NAME[flag.name]
    if flag.enum:
        return flag.enum[-1]
    if flag.type == "bool":
        field = table.field(flag.field) if flag.field else None
        holds = flag.legacy_default if flag.legacy_default is not None else field and field.default
        return "false" if holds else "true"
    if flag.type == "string" and flag.name.endswith(("-file", "-dir", "-path", "-config", "-kubeconfig")):
        return f"/etc/kubernetes/{flag.name.removeprefix('--')}"
    return BY_TYPE[flag.type]
