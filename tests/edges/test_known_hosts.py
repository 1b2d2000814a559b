"""known_hosts is read as OpenSSH reads it: what cannot match is passed over, what matches counts."""

from __future__ import annotations

import base64
import re
import struct
import subprocess
import time
from pathlib import Path

import paramiko
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kubeharden.edges.nodes.known_hosts import KnownHosts
from kubeharden.errors import HostKeyError


def key(number: int, kind: str = "ssh-ed25519") -> str:
    """Type and key of a host, as known_hosts has them; always the same ones."""
    parts = (kind.encode(), bytes([number]) * 32)
    return f"{kind} {base64.b64encode(b''.join(struct.pack('>I', len(p)) + p for p in parts)).decode()}"


ED, OTHER, ECDSA = key(1), key(2), key(3, "ecdsa-sha2-nistp256")


def shown(text: str) -> paramiko.PKey:
    kind, blob = text.split()
    return paramiko.PKey.from_type_string(kind, base64.b64decode(blob))


def hashed(name: str, folder: Path) -> str:
    """A line with a hashed name, as OpenSSH makes it."""
    path = folder / "to-hash"
    path.write_text(f"{name} {ED}\n")
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(path)], check=True, capture_output=True)
    return path.read_text().strip()


def refused(folder: Path, text: str, host: str = "n1", port: int = 22, alias: str = "", of: str = ED) -> str:
    """Why a host with this key is refused; nothing where it is not."""
    path = folder / "known_hosts"
    path.write_bytes(text.encode("latin-1"))
    try:
        KnownHosts([str(folder / "gone"), str(path)]).of(host, port, alias).check("node1", shown(of))
    except HostKeyError as error:
        return str(error)
    return ""


JUNK = [
    "# a comment",
    "",
    "   ",
    "n1",
    "n1 ssh-ed25519",
    f"n1 ssh-dss {base64.b64encode(b'xxxx').decode()}",
    "n1 sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAA",
    "n1 1024 35 1577777777777777777 root@old",
    "n1 ssh-ed25519 not-base64!",
    "n1 ssh-ed25519 AAAA",
    "n1 ecdsa-sha2-nistp256 " + ED.split()[1],
    f"@unheard-of n1 {OTHER}",
    f"@cert-authority *.example {OTHER}",
    "|1|not-base64|either ssh-ed25519 AAAA",
    "|2|QUJD|QUJD ssh-ed25519 AAAA",
    f"||| {OTHER}",
    "\xe4\xf6\xfc n1 ssh-rsa AAAA",
    "<<<<<<< HEAD",
]


@pytest.mark.parametrize("line", JUNK)
def test_a_line_that_cannot_match_is_passed_over(tmp_path: Path, line: str) -> None:
    for text in (f"{line}\nn1 {ED}\n", f"n1 {ED}\n{line}\n", f"n1 {ED}\r\n{line}"):
        assert refused(tmp_path, text) == ""


@pytest.mark.parametrize(
    ("line", "host", "port", "alias"),
    [
        (f"n1 {ED} J\xfcrgen's", "n1", 22, ""),
        (f"  \t n1\t{ED}", "n1", 22, ""),
        (f"N1 {ED}", "n1", 22, ""),
        (f"n1 {ED}", "N1", 22, ""),
        (f"a,n1,10.0.0.1 {ED}", "10.0.0.1", 22, ""),
        (f"n? {ED}", "n1", 22, ""),
        (f"*.example,!b.example {ED}", "a.example", 22, ""),
        (f"* {ED}", "n1", 2222, ""),
        (f"[n1]:2222 {ED}", "n1", 2222, ""),
        (f"[n1]:* {ED}", "n1", 2222, ""),
        (f"[fe80::1]:2222 {ED}", "fe80::1", 2222, ""),
        (f"n1 {ED}", "n1", 2222, ""),  # a key that is known without a port is good for all of them
        (f"kept {ED}", "n1", 2222, "kept"),
        (f"n1 {OTHER}\nn1 {ED}", "n1", 22, ""),
        (f"@revoked n1 {OTHER}\nn1 {ED}", "n1", 22, ""),
        (f"@revoked n2 {ED}\nn1 {ED}", "n1", 22, ""),
    ],
)
def test_a_line_that_matches_counts(tmp_path: Path, line: str, host: str, port: int, alias: str) -> None:
    assert refused(tmp_path, line, host, port, alias) == ""


def test_a_hashed_name_counts(tmp_path: Path) -> None:
    assert refused(tmp_path, hashed("n1", tmp_path)) == ""
    assert refused(tmp_path, hashed("[n1]:2222", tmp_path), port=2222) == ""
    assert "not in known_hosts" in refused(tmp_path, hashed("n2", tmp_path))


@pytest.mark.parametrize(
    ("line", "host", "port", "words"),
    [
        (
            f"n2 {ED}",
            "n1",
            22,
            r"host key of n1 is not in known_hosts \(.*known_hosts\).*shows ssh-ed25519 SHA256:",
        ),
        (f"n1 {OTHER}", "n1", 22, "has CHANGED: known_hosts has SHA256:.*line 1"),
        (f"*.example,!b.example {ED}", "b.example", 22, "not in known_hosts"),
        (f"[n1]:2222 {ED}", "n1", 22, "not in known_hosts"),
        (f"n1 {OTHER}", "n1", 2222, r"host key of \[n1\]:2222 is not in known_hosts"),
        (f"n1 {ECDSA}", "n1", 22, r"Only keys of other types are known of it \(ecdsa-sha2-nistp256\)"),
        (f"n1 {ED}\n@revoked n1 {ED}", "n1", 22, r"is revoked \(.*line 2\)"),
        (f"n1 {ED}\n@revoked * {ED}", "n1", 22, "is revoked"),
        (
            f"@cert-authority n1 {OTHER}",
            "n1",
            22,
            r"It shows no certificate, which @cert-authority \(.*line 1\) is for",
        ),
        ("n1 ssh-dss AAAAB3NzaC1kc3M=", "n1", 22, "Only keys of other types are known of it .ssh-dss."),
        ("n1 ssh-ed25519 !!!", "n1", 22, r"A line about it cannot be read \(.*line 1\)"),
        ("", "n1", 22, "not in known_hosts"),
    ],
)
def test_what_is_not_known_is_refused(tmp_path: Path, line: str, host: str, port: int, words: str) -> None:
    assert re.search(f"(?s)node1: .*{words}", refused(tmp_path, line, host, port))


def test_a_host_is_asked_for_a_key_of_a_type_that_is_known(tmp_path: Path) -> None:
    path = tmp_path / "known_hosts"
    path.write_text(
        f"n1 {ECDSA}\nn2 ssh-rsa {base64.b64encode(b'xxxxssh-rsa').decode()}\nn3 {ED}\n@revoked n3 {ECDSA}\n"
    )
    supported = ("ssh-ed25519", "ecdsa-sha2-nistp256", "rsa-sha2-512", "rsa-sha2-256")
    known = KnownHosts([str(path)])
    assert known.of("n1", 22, "").order(supported)[0] == "ecdsa-sha2-nistp256"
    assert known.of("n2", 22, "").order(supported)[:2] == ("rsa-sha2-512", "rsa-sha2-256")
    assert known.of("n3", 22, "").order(supported) == supported


NAMES = st.sampled_from(
    [
        "n1",
        "N1",
        "n2",
        "n*",
        "*n*1*",
        "?1",
        "!n1",
        "!n2",
        "*",
        "[n1]:22",
        "[n1]:2222",
        "[n*]:2222",
        "1",
        "n1.",
    ]
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.lists(NAMES, min_size=1, max_size=3), st.sampled_from(["", "@revoked ", " \t"])),
        min_size=1,
    ),
    st.sampled_from(["n1", "n2", "[n1]:2222", "n1."]),
)
def test_lines_match_as_openssh_finds_them(
    tmp_path: Path, lines: list[tuple[list[str], str]], name: str
) -> None:
    path = tmp_path / "compared"
    path.write_text("".join(f"{before}{','.join(names)} {ED}\n" for names, before in lines))
    done = subprocess.run(
        ["ssh-keygen", "-F", name, "-f", str(path)], capture_output=True, text=True, check=False
    )
    theirs = {int(line) for line in re.findall(r"found: line (\d+)", done.stdout)}
    host, port = ("n1", 2222) if name.startswith("[") else (name, 22)
    ours = {
        int(entry.place.rpartition(" ")[2]) for entry in KnownHosts([str(path)]).of(host, port, "").entries
    }
    assert ours == theirs


@pytest.mark.parametrize("pattern", ["*?" * 20 + "!", "*1" * 30 + "x", "*" * 60 + "x", "?*" * 15 + "x"])
def test_a_pattern_of_many_stars_is_compared_in_time(tmp_path: Path, pattern: str) -> None:
    start = time.process_time()
    assert "not in known_hosts" in refused(tmp_path, f"{pattern} {ED}", host=f"n{'1' * 60}")
    assert refused(tmp_path, f"{pattern[:-1]} {ED}", host=f"n{'1' * 60}") == ""
    assert time.process_time() - start < 5


def test_a_key_without_port_counts_only_where_none_is_known_of_the_port(tmp_path: Path) -> None:
    """Tried with OpenSSH: with a key of the port, it says REMOTE HOST IDENTIFICATION HAS CHANGED."""
    assert refused(tmp_path, f"n1 {ED}\n", port=2222) == ""
    assert "has CHANGED" in refused(tmp_path, f"[n1]:2222 {OTHER}\nn1 {ED}\n", port=2222)
    assert refused(tmp_path, f"[n1]:2222 {ECDSA}\nn1 {ED}\n", port=2222)
    assert refused(tmp_path, f"@cert-authority [n1]:2222 {OTHER}\nn1 {ED}\n", port=2222) == ""


def test_a_list_of_hashed_names_is_about_nobody(tmp_path: Path) -> None:
    line = hashed("n1", tmp_path)
    name, rest = line.split(" ", 1)
    assert refused(tmp_path, f"{line}\n") == ""
    assert "not in known_hosts" in refused(tmp_path, f"{name},{name} {rest}\n")
