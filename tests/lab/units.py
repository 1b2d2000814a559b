"""The units of the article's before-state, as far as Kubernetes 1.20 has their flags."""

from __future__ import annotations

from places import MASTER, NETWORK, SERVICES, Node

# What differs from the article's units, and why:
#  kubelet         no --allow-privileged: the flag is gone since 1.15
#  kube-proxy      --conntrack-max-per-core=0: the sysctl cannot be written on the machine the lab runs on
#  kube-apiserver  --service-account-issuer and -signing-key-file: 1.20 does not start without them
#  etcd            no TLS, and on the loopback only: nothing of it is looked at

ADMISSION = (
    "NamespaceLifecycle,LimitRanger,ServiceAccount,DefaultStorageClass,DefaultTolerationSeconds,"
    "MutatingAdmissionWebhook,ValidatingAdmissionWebhook,ResourceQuota,NodeRestriction,DenyEscalatingExec"
)
PAUSE = "k8s.gcr.io/pause-amd64:3.1"
FEATURES = "--feature-gates=RotateKubeletServerCertificate=true"


def unit(description: str, words: list[str], after: str = "After=network.target", service: str = "") -> str:
    """A unit file as the article writes them: one flag on a line."""
    command = " \\\n  ".join(words)
    return (
        f"[Unit]\nDescription={description}\nDocumentation=https://github.com/kubernetes/kubernetes\n{after}\n\n"
        f"[Service]\n{service}ExecStart={command}\nRestart=always\nRestartSec=10s\n\n"
        "[Install]\nWantedBy=multi-user.target\n"
    )


def kubelet(node: Node) -> str:
    words = [
        "/usr/bin/kubelet",
        FEATURES,
        "--address=0.0.0.0",
        "--bootstrap-kubeconfig=/etc/kubernetes/bootstrap.kubeconfig",
        "--kubeconfig=/etc/kubernetes/kubelet.kubeconfig",
        "--pod-manifest-path=/etc/kubernetes/manifests",
        "--network-plugin=cni",
        "--cni-conf-dir=/etc/cni/net.d",
        "--cni-bin-dir=/opt/cni/bin",
        "--cluster-dns=10.0.0.10",
        "--cluster-domain=cluster.local",
        "--authorization-mode=Webhook",
        "--client-ca-file=/etc/kubernetes/pki/ca.crt",
        "--cert-dir=/etc/kubernetes/pki",
        "--rotate-certificates=true",
        "--v=2",
        "--cgroup-driver=cgroupfs",
        f"--pod-infra-container-image={PAUSE}",
        "--tls-min-version=VersionTLS10",
    ]
    if node.number == 1:  # a node that differs from the others, as nodes that were built by hand do
        words.append("--fail-swap-on=false")
    return unit("Kubernetes Kubelet", words, after="After=docker.service\nRequires=docker.service")


def kube_proxy() -> str:
    return unit(
        "Kubernetes Kube Proxy",
        [
            "/usr/bin/kube-proxy",
            FEATURES,
            "--bind-address 0.0.0.0",
            "--kubeconfig=/etc/kubernetes/kube-proxy.kubeconfig",
            "--conntrack-max-per-core=0",
            "--v=2",
        ],
    )


def control_plane() -> dict[str, str]:
    """Unit name → text, for the master."""
    pki = "/etc/kubernetes/pki"
    return {
        "etcd": unit(
            "etcd key-value store",
            [
                "/usr/bin/etcd",
                f"--name={MASTER}",
                "--listen-client-urls=http://127.0.0.1:2379",
                "--advertise-client-urls=http://127.0.0.1:2379",
                "--data-dir=/var/lib/etcd",
            ],
            service="Type=notify\n",
        ),
        "kube-apiserver": unit(
            "Kubernetes API Server",
            [
                "/usr/bin/kube-apiserver",
                FEATURES,
                "--apiserver-count=1",
                "--allow-privileged=true",
                f"--admission-control={ADMISSION}",
                "--authorization-mode=Node,RBAC",
                "--secure-port=6443",
                "--bind-address=0.0.0.0",
                f"--advertise-address={NETWORK}.10",
                "--insecure-port=0",
                f"--service-cluster-ip-range={SERVICES}",
                "--etcd-servers=http://127.0.0.1:2379",
                f"--client-ca-file={pki}/ca.crt",
                f"--tls-cert-file={pki}/kube-apiserver.crt",
                f"--tls-private-key-file={pki}/kube-apiserver.key",
                "--tls-min-version=VersionTLS10",
                f"--kubelet-client-certificate={pki}/apiserver-kubelet-client.crt",
                f"--kubelet-client-key={pki}/apiserver-kubelet-client.key",
                "--kubelet-preferred-address-types=InternalIP,ExternalIP,Hostname",
                "--enable-bootstrap-token-auth=true",
                f"--service-account-key-file={pki}/sa.pub",
                f"--service-account-signing-key-file={pki}/sa.key",
                "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
                f"--requestheader-client-ca-file={pki}/front-proxy-ca.crt",
                "--requestheader-allowed-names=front-proxy-client",
                "--requestheader-username-headers=X-Remote-User",
                "--requestheader-group-headers=X-Remote-Group",
                "--requestheader-extra-headers-prefix=X-Remote-Extra-",
                f"--proxy-client-cert-file={pki}/front-proxy-client.crt",
                f"--proxy-client-key-file={pki}/front-proxy-client.key",
                "--audit-log-path=/var/log/kube-audit.log",
                "--audit-log-maxage=3",
                "--audit-policy-file=/etc/kubernetes/audit-policy.conf",
                "--event-ttl=1h",
                "--v=2",
            ],
        ),
        "kube-controller-manager": unit(
            "Kubernetes Controller Manager",
            [
                "/usr/bin/kube-controller-manager",
                FEATURES,
                "--kubeconfig=/etc/kubernetes/controller-manager.kubeconfig",
                "--address=0.0.0.0",
                "--controllers=*,bootstrapsigner,tokencleaner",
                f"--service-account-private-key-file={pki}/sa.key",
                "--cluster-cidr=10.32.0.0/16",
                f"--cluster-signing-cert-file={pki}/ca.crt",
                f"--cluster-signing-key-file={pki}/ca.key",
                f"--root-ca-file={pki}/ca.crt",
                "--use-service-account-credentials=true",
                "--v=2",
            ],
        ),
        "kube-scheduler": unit(
            "Kubernetes Scheduler",
            [
                "/usr/bin/kube-scheduler",
                FEATURES,
                "--kubeconfig=/etc/kubernetes/scheduler.kubeconfig",
                "--address=0.0.0.0",
                "--v=2",
            ],
        ),
    }
