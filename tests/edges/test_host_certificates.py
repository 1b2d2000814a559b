"""Certificates of hosts, made by ssh-keygen: an authority in known_hosts vouches for a key, or the reason is said."""

from __future__ import annotations

import base64
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import asyncssh
import paramiko
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubeharden.edges.nodes import Nodes
from kubeharden.edges.nodes.host_certificates import SUFFIX, HostCertificate
from kubeharden.edges.nodes.known_hosts import KnownHosts
from kubeharden.errors import HostKeyError, NodeError
from ssh_servers import ssh_server

KINDS = ("ed25519", "ecdsa", "rsa")


@dataclass(frozen=True)
class Keys:
    """Authorities and hosts of each kind, below a folder."""

    folder: Path

    def make(self, name: str, kind: str = "ed25519") -> Path:
        path = self.folder / f"{name}-{kind}"
        if not path.exists():
            words = ["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "", "-f", str(path)]
            subprocess.run(words, check=True)
        return path

    def public(self, name: str, kind: str = "ed25519") -> str:
        return Path(f"{self.make(name, kind)}.pub").read_text().strip()

    def certificate(self, *words: str, names: str = "n1", ca: str = "ed25519", kind: str = "ed25519") -> str:
        """Return the certificate of a host, with other words of ssh-keygen."""
        host, copy = self.make("host", kind), self.folder / "signed.pub"
        shutil.copy(f"{host}.pub", copy)
        principals = ["-n", names] if names else []
        role = [] if "user" in words else ["-h"]
        words = tuple(word for word in words if word != "user")
        command = [
            "ssh-keygen",
            "-q",
            "-s",
            str(self.make("ca", ca)),
            *role,
            "-I",
            "id",
            *principals,
            *words,
            str(copy),
        ]
        subprocess.run(command, check=True, capture_output=True)
        return (self.folder / "signed-cert.pub").read_text().strip()


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return Keys(tmp_path_factory.mktemp("keys"))


def key_of(line: str) -> paramiko.PKey:
    """What paramiko makes of a key, or a certificate, that a host shows."""
    kind, blob, *_ = line.split()
    return paramiko.PKey.from_type_string(kind.removesuffix(SUFFIX), base64.b64decode(blob))


def refused(
    keys: Keys, text: str, line: str, host: str = "n1", port: int = 22, alias: str = "", revoked: str = ""
) -> str:
    path = keys.folder / "known_hosts"
    path.write_text(text)
    try:
        KnownHosts([str(path)]).of(host, port, alias, revoked).check("node1", key_of(line))
    except HostKeyError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("ca", KINDS)
@pytest.mark.parametrize("kind", KINDS)
def test_an_authority_vouches_for_a_host(keys: Keys, ca: str, kind: str) -> None:
    authority = keys.public("ca", ca)
    line = keys.certificate(ca=ca, kind=kind)
    assert refused(keys, f"@cert-authority n1,n2 {authority}\n", line) == ""
    assert refused(keys, f"@cert-authority * {authority}\n", line, port=2222) == ""
    assert refused(keys, f"@cert-authority [n1]:2222 {authority}\n", line, port=2222) == ""
    assert refused(keys, f"@cert-authority n1 {authority}\n", line, host="10.0.0.1", alias="N1") == ""
    assert "no @cert-authority line about the host" in refused(keys, f"n1 {authority}\n", line)
    assert "its signature" in refused(keys, f"@cert-authority n1 {authority}\n", damaged(line))


def damaged(line: str) -> str:
    kind, blob, *rest = line.split()
    data = bytearray(base64.b64decode(blob))
    data[-5] ^= 1
    return " ".join((kind, base64.b64encode(data).decode(), *rest))


@pytest.mark.parametrize(
    ("words", "names", "why"),
    [
        ((), "n2,n3", "it is good for n2, n3, and not for n1"),
        ((), "", "it is good for no host, and not for n1"),
        ((), "*", r"it is good for *, and not for n1"),
        (("-V", "20100101:20110101"), "n1", "it is good from 2010-"),
        (("-V", "20910101:20920101"), "n1", "it is good from 2091-"),
        (("user",), "n1", "it is not one of a host"),
        (("-O", "critical:x=y"), "n1", "it has critical options"),
    ],
)
def test_a_certificate_that_does_not_count_is_named(
    keys: Keys, words: tuple[str, ...], names: str, why: str
) -> None:
    text = f"@cert-authority n1 {keys.public('ca')}\n"
    line = keys.certificate(*words, names=names)
    said = refused(keys, text, line)
    assert f"Its certificate does not count: {why}" in said
    assert refused(keys, f"{text}n1 {keys.public('host')}\n", line) == ""  # its key itself is known


def test_another_authority_does_not_count(keys: Keys) -> None:
    line = keys.certificate()
    for text in (
        f"@cert-authority n1 {keys.public('other')}\n",
        f"@cert-authority n2 {keys.public('ca')}\n",
        f"@cert-authority n1 {keys.public('ca')} \n@cert-authority [n1]:2222 {keys.public('other')}\n",
    ):
        assert "no @cert-authority line about the host" in refused(keys, text, line, port=2222)


def test_what_is_revoked_is_so_by_its_key_and_by_its_authority(keys: Keys) -> None:
    text, line = f"@cert-authority n1 {keys.public('ca')}\n", keys.certificate()
    for key in (keys.public("ca"), keys.public("host")):
        assert "is revoked" in refused(keys, f"{text}@revoked * {key}\n", line)


def test_a_host_without_a_certificate_and_with_sha1(keys: Keys) -> None:
    text = f"@cert-authority n1 {keys.public('ca', 'rsa')}\n"
    assert "It shows no certificate, which @cert-authority" in refused(keys, text, keys.public("host"))
    line = keys.certificate("-t", "ssh-rsa", ca="rsa")
    assert "its signature is wrong, or made with SHA-1" in refused(keys, text, line)


def test_lists_of_revoked_keys_count_as_openssh_reads_them(keys: Keys, tmp_path: Path) -> None:
    text, line, plain = (
        f"@cert-authority n1 {keys.public('ca')}\nn1 {keys.public('host')}\n",
        keys.certificate(),
        keys.public("host"),
    )
    revoked = tmp_path / "revoked"
    revoked.write_text(f"# none\n{keys.public('other')}\n")
    assert refused(keys, text, line, revoked=str(revoked)) == ""
    revoked.write_text(f"  {keys.public('ca')}\n")
    assert "is revoked" in refused(keys, text, line, revoked=str(revoked))
    assert refused(keys, text, plain, revoked=str(revoked)) == ""
    for listed in (keys.public("host"), keys.public("other") + "\nnonsense\n\n" + keys.public("host")):
        revoked.write_text(listed + "\n")
        for shown in (line, plain):
            assert f"is revoked (RevokedHostKeys {revoked})" in refused(
                keys, text, shown, revoked=str(revoked)
            )
    krl = tmp_path / "krl"
    serial = tmp_path / "ids"
    serial.write_text("id: id\n")
    words = ["ssh-keygen", "-q", "-k", "-f", str(krl), "-s", f"{keys.make('ca')}.pub", str(serial)]
    subprocess.run(words, check=True, capture_output=True)
    assert "is revoked" in refused(keys, text, line, revoked=str(krl))
    assert refused(keys, text, plain, revoked=str(krl)) == ""
    said = refused(keys, text, plain, revoked=str(tmp_path / "gone"))
    assert "cannot be looked for in RevokedHostKeys" in said
    assert "No such file" in said


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("authority", ["right", "wrong"])
def test_a_node_is_reached_by_the_certificate_that_it_shows(
    keys: Keys, tmp_path: Path, kind: str, authority: str
) -> None:
    """Its own key is in no list; it has a key of another type, too, which nobody vouches for."""
    line = keys.certificate(names="127.0.0.1", kind=kind)
    signed = tmp_path / "host-cert.pub"
    signed.write_text(f"{line}\n")
    own = asyncssh.read_private_key(keys.make("host", kind))
    other = asyncssh.generate_private_key("ssh-ed25519" if kind != "ed25519" else "ecdsa-sha2-nistp256")
    known = tmp_path / "known"
    trusted = keys.public("ca" if authority == "right" else "other")
    known.write_text(f"@cert-authority 127.0.0.1 {trusted}\n")
    with (
        ssh_server(
            tmp_path / "ssh", server_host_keys=[other, own], server_host_certs=[str(signed)]
        ) as server,
        Nodes(server.inventory(user="root", known_hosts=str(known))) as nodes,
    ):
        if authority == "right":
            nodes.check()
        else:
            with pytest.raises(NodeError, match="certificate does not count"):
                nodes.check()


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_what_is_not_a_certificate_is_an_error_of_its_own(data: st.DataObject) -> None:
    name = b"ssh-ed25519" + SUFFIX.encode()
    good = len(name).to_bytes(4, "big") + name + data.draw(st.binary(max_size=200))
    try:
        HostCertificate.parse(good)
    except ValueError:
        return
