"""Certificates, keys and kubeconfigs, made with openssl as somebody does by hand."""

from __future__ import annotations

import base64
from pathlib import Path

from places import ADMIN, API_SERVER, MASTER, NETWORK, PKI
from steps import run

TOKEN = "07401b.f395accd246ae52d"  # a bootstrap token of the lab alone, known to everybody

API_NAMES = ",".join(
    f"DNS:kubernetes{rest}" for rest in ("", ".default", ".default.svc", ".default.svc.cluster.local")
)
# name → (subject, who signs it, alternative names)
CERTIFICATES = {
    "kube-apiserver": (
        "/CN=kube-apiserver",
        "ca",
        f"{API_NAMES},DNS:{MASTER},IP:10.0.0.1,IP:127.0.0.1,IP:{NETWORK}.10",
    ),
    "apiserver-kubelet-client": ("/O=system:masters/CN=kube-apiserver-kubelet-client", "ca", ""),
    "front-proxy-client": ("/CN=front-proxy-client", "front-proxy-ca", ""),
    "admin": ("/O=system:masters/CN=kubernetes-admin", "ca", ""),
    "controller-manager": ("/CN=system:kube-controller-manager", "ca", ""),
    "scheduler": ("/CN=system:kube-scheduler", "ca", ""),
    "kube-proxy": ("/CN=system:kube-proxy", "ca", ""),
}


def make_all() -> None:
    """The two authorities, the key for service accounts, every certificate, and the admin's kubeconfig."""
    PKI.mkdir(parents=True)
    for name in ("ca", "front-proxy-ca"):
        run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3650", "-subj", f"/CN={name}",
            "-keyout", PKI / f"{name}.key", "-out", PKI / f"{name}.crt")  # fmt: skip
    run("openssl", "genrsa", "-out", PKI / "sa.key", "2048")
    run("openssl", "rsa", "-in", PKI / "sa.key", "-pubout", "-out", PKI / "sa.pub")
    for name, (subject, authority, names) in CERTIFICATES.items():
        sign(name, subject, authority, names)
    ADMIN.parent.mkdir(parents=True, exist_ok=True)
    ADMIN.write_text(kubeconfig("admin", "kubernetes-admin"))
    ADMIN.chmod(0o600)


def sign(name: str, subject: str, authority: str = "ca", names: str = "", days: int = 3650) -> None:
    """A key and a certificate of that subject; with ``days`` below nothing, one that has expired."""
    request, extensions = PKI / f"{name}.csr", PKI / f"{name}.ext"
    usage = "keyUsage=digitalSignature,keyEncipherment\nextendedKeyUsage=serverAuth,clientAuth\n"
    extensions.write_text(usage + (f"subjectAltName={names}\n" if names else ""))
    run("openssl", "req", "-newkey", "rsa:2048", "-nodes", "-subj", subject, "-keyout", PKI / f"{name}.key",
        "-out", request)  # fmt: skip
    run("openssl", "x509", "-req", "-in", request, "-CA", PKI / f"{authority}.crt",
        "-CAkey", PKI / f"{authority}.key", "-CAcreateserial", "-days", str(days), "-extfile", extensions,
        "-out", PKI / f"{name}.crt")  # fmt: skip
    request.unlink()
    extensions.unlink()


def kubeconfig(name: str, user: str, token: str = "") -> str:
    """A kubeconfig with everything in it, for a certificate of ours or for a token."""
    credentials = (
        f"token: {token}"
        if token
        else f"client-certificate-data: {_base64(PKI / f'{name}.crt')}\n"
        f"    client-key-data: {_base64(PKI / f'{name}.key')}"
    )
    return f"""apiVersion: v1
kind: Config
clusters:
- cluster:
    certificate-authority-data: {_base64(PKI / "ca.crt")}
    server: {API_SERVER}
  name: kubernetes
contexts:
- context:
    cluster: kubernetes
    user: {user}
  name: {user}@kubernetes
current-context: {user}@kubernetes
preferences: {{}}
users:
- name: {user}
  user:
    {credentials}
"""


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
