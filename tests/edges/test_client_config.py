"""OpenSSH decides what its client configuration means; what cannot be followed is refused by name."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncssh
import pytest

from fakes import World
from kubeharden.edges.nodes import Nodes, login_keys
from kubeharden.edges.nodes.client_answers import ClientAnswers
from kubeharden.edges.nodes.client_config import Target, resolve, target_of
from kubeharden.edges.nodes.known_command import NAME, split_arguments
from kubeharden.errors import HostKeyError, NodeError
from kubeharden.inputs.inventory import Inventory
from kubeharden.inputs.parameters import Parameters
from kubeharden.runs.kinds.harden import Harden
from kubeharden.runs.preflight import preflight
from ssh_servers import Server, forced, ssh_server

SSH = shutil.which("ssh") or ""
pytestmark = pytest.mark.skipif(not SSH, reason="there is no ssh on this machine")


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Writes the client configuration of this test, which is the only one that ``ssh`` reads then."""
    folder = tmp_path / "client"
    folder.mkdir()
    (folder / "ssh").write_text(f'#!/bin/sh\nexec {SSH} -F {folder}/config "$@"\n')
    (folder / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)

    def write(text: str) -> Path:
        (folder / "config").write_text(text)
        return folder

    write("")
    return write


def target(
    host: str = "n1", user: str | None = None, port: int | None = None, known: str | None = None
) -> Target:
    return resolve(host, user, port, None, known, 5)


def test_include_match_and_the_first_value_count_as_openssh_has_it(config: Callable[[str], Path]) -> None:
    folder = config("Include included\nHost n1\n  User second\n  Port 2201\nHost *\n  Port 99\n")
    (folder / "included").write_text(
        "Match originalhost n1 exec true\n  User first\nMatch exec false\n  HostName wrong\n"
        "Match originalhost n2\n  HostName wrong\nMatch user first\n  HostName 10.0.0.1\n"
    )
    (folder / "config").write_text(
        (folder / "config").read_text().replace("included", str(folder / "included"))
    )
    found = target()
    assert (found.user, found.host, found.port) == ("first", "10.0.0.1", 2201)
    given = target(user="given", port=22)
    assert (given.user, given.host, given.port) == ("given", "n1", 22)


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ("ProxyJump none", "jumps", ()),
        ("ProxyJump none\nHost *\nProxyJump bastion", "jumps", ()),
        ("ProxyJump a@b:2222,c", "jumps", ("a@b:2222", "c")),
        ("ProxyCommand none", "proxy_command", ""),
        ("HostName 10.0.0.1\nUser u\nProxyCommand nc %h %p %r %n %%", "proxy_command", "nc 10.0.0.1 22 u n1 %"),
        ("HostKeyAlias kept", "alias", "kept"),
        ("AddressFamily inet", "family", socket.AF_INET),
        ("BindAddress 127.0.0.1", "bind_address", "127.0.0.1"),
        ("IdentitiesOnly yes", "identities_only", True),
        ("HostName 10.0.0.1\nIdentityFile /keys/%h-%n", "identities", ("/keys/10.0.0.1-n1",)),
        ("IdentityFile none", "identities", ()),
        ("UserKnownHostsFile /a /b\nGlobalKnownHostsFile /c", "known_hosts", ("/a", "/b", "/c")),
        ("UserKnownHostsFile none\nGlobalKnownHostsFile /c", "known_hosts", ("/c",)),
        ("UserKnownHostsFile /k/%n\nGlobalKnownHostsFile none", "known_hosts", ("/k/n1",)),
        ("KnownHostsCommand none", "known_command", ()),
        ("KnownHostsCommand /bin/keys '%H of' %n:%p %I %%H", "known_command",
         ("/bin/keys", f"{NAME} of", "n1:22", "HOSTNAME", "%H")),
        ("KnownHostsCommand /a%H ${AGENT}", "known_command", ("/a%H", "/run/mine")),
        ("IdentityAgent none", "agent", ""),
        ("IdentityAgent /run/agent", "agent", "/run/agent"),
        ("IdentityAgent $AGENT", "agent", "/run/mine"),
        ("IdentityAgent ${AGENT}.2", "agent", "/run/mine.2"),
        ("IdentityAgent SSH_AUTH_SOCK", "agent", "/run/usual"),
        ("", "agent", "/run/usual"),
    ],
)  # fmt: skip
def test_what_is_honoured(
    config: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, text: str, field: str, value: object
) -> None:
    monkeypatch.setenv("AGENT", "/run/mine")
    monkeypatch.setenv("SSH_AUTH_SOCK", "/run/usual")
    config(f"Host n1\n{text}\n")
    assert getattr(target(), field) == value


def asked(folder: Path) -> list[str]:
    """The hosts that OpenSSH was asked for since the last time."""
    log = folder / "asked"
    hosts = log.read_text().split() if log.exists() else []
    log.unlink(missing_ok=True)
    return hosts


@pytest.fixture
def counted(config: Callable[[str], Path]) -> Callable[[str], Path]:
    """The same, and each call is noted."""

    def write(text: str) -> Path:
        folder = config(text)
        line = f'#!/bin/sh\nfor host; do :; done\necho $host >>{folder}/asked\nexec {SSH} -F {folder}/config "$@"\n'
        (folder / "ssh").write_text(line)
        return folder

    return write


HOSTS = [
    ("n1", 22),
    ("n2", 2202),
    ("10.0.0.3", 22),
    ("node.example", None),
    ("N4", 22),
    ("n5", None),
    ("::1", 22),
]


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ("", 4),  # without and with a port, and the two names that OpenSSH may write otherwise
        (
            "User u\nHost *\nIdentityFile /keys/k\nUserKnownHostsFile /a /b\nPort=99\n# Match of a comment\n",
            4,
        ),
        ("Include included\n", 4),
        ("Host *\nIdentityFile /keys/%h\n", 7),
        ("IdentityFile ${AGENT}\n", 7),
        ("Host n2\nUser second\n", 7),
        ("Host * !n2\nUser second\n", 7),
        ("host=n2\nUser second\n", 7),
        ("  MATCH host n2\n  User second\n", 7),
        ("HostName 10.0.0.1\n", 7),
        ("ProxyJump bastion\n", 7),
        ("CanonicalizeHostname yes\n", 7),
        ("Include included\nHost n9\nUser ninth\n", 7),
        ("Include depends\n", 7),
    ],
)
def test_one_answer_serves_all_hosts_of_which_the_configuration_says_the_same(
    counted: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, text: str, calls: int
) -> None:
    monkeypatch.setenv("AGENT", "/run/mine")
    folder = counted("")
    (folder / "included").write_text("User included\n")
    (folder / "depends").write_text("Host n2 n3\nUser included\n")
    counted(text.replace("Include ", f"Include {folder}/"))
    alone = [resolve(host, None, port, None, None, 5) for host, port in HOSTS]
    assert asked(folder) == [host for host, _ in HOSTS]
    answers = ClientAnswers()
    assert [resolve(host, None, port, None, None, 5, answers) for host, port in HOSTS] == alone
    assert len(asked(folder)) == calls


def test_an_answer_that_failed_serves_nobody(counted: Callable[[str], Path]) -> None:
    folder, answers = counted("Port many\n"), ClientAnswers()
    for host in ("n1", "n2"):
        with pytest.raises(NodeError, match=rf"for {host} .*[Bb]ad (port|number) .*many") as caught:
            resolve(host, None, None, None, None, 5, answers)
        assert "debug1" not in str(caught.value)
    assert asked(folder) == ["n1", "n1", "n2"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "KnownHostsCommand /bin/echo %H %K",
            "says knownhostscommand /bin/echo %H %K for n1.*%K is .*ssh.known_hosts",
        ),
        ("KnownHostsCommand /bin/echo %%%t", "knownhostscommand .*%t is about a key that is shown"),
        ("KnownHostsCommand /bin/echo %C", "write out what %C stands for"),
        ("KnownHostsCommand echo %H", "write the whole path of the program"),
        ("KnownHostsCommand '/bin/echo %H", "a quote is not closed|cannot resolve"),
        ("PKCS11Provider /usr/lib/token.so", "says pkcs11provider .*ssh-add -s"),
        ("BindInterface eth7", "says bindinterface eth7.*BindAddress"),
        ("ProxyUseFdpass yes\nProxyCommand nc %h", "says proxyusefdpass yes"),
        ("PubkeyAuthentication no", "says pubkeyauthentication (no|false) .*needs a key"),
        ("CertificateFile /keys/other-cert.pub", "says certificatefile /keys/other-cert.pub.*KEY-cert.pub"),
        ("IdentityFile /keys/%T", "says identityfile /keys/%T.*|cannot resolve"),
        (
            "Frobnicate yes",
            "cannot resolve its client configuration for n1 .*[Bb]ad configuration option: frobnicate",
        ),
        ("Match exec", "cannot resolve its client configuration"),
    ],
)
def test_what_cannot_be_followed_is_refused_by_name(
    config: Callable[[str], Path], text: str, words: str
) -> None:
    config(f"Host n1\n{text}\n")
    with pytest.raises(NodeError, match=words):
        target()


def test_a_match_that_hangs_is_ended(config: Callable[[str], Path]) -> None:
    config('Match exec "sleep 20"\n  User x\n')
    start = time.monotonic()
    with pytest.raises(
        NodeError, match=r"did not resolve its client configuration for n1 within 1 s .*Match exec"
    ):
        resolve("n1", None, None, None, None, 0.6)
    assert time.monotonic() - start < 10


def test_host_keys_of_the_inventory_count_alone(config: Callable[[str], Path]) -> None:
    config("Host n1\n  KnownHostsCommand /bin/echo %H\n  RevokedHostKeys ~/r\n  UserKnownHostsFile /a\n")
    assert target(known="/mine").known_hosts == ("/mine",)
    assert target(known="/mine").revoked.endswith("/r")
    assert "~" not in target(known="/mine").revoked


def test_a_certificate_beside_its_key_is_that_of_the_key(config: Callable[[str], Path]) -> None:
    config("Host n1\n  IdentityFile /keys/one\n  CertificateFile /keys/one-cert.pub\n")
    assert target().identities == ("/keys/one",)


def test_a_path_with_blanks_is_one_path(tmp_path: Path) -> None:
    (tmp_path / "known hosts").write_text("")
    text = f"hostname n1\nuserknownhostsfile {tmp_path}/known hosts\n"
    assert target_of("n1", text, {}).known_hosts == (f"{tmp_path}/known hosts",)


def nodes_of(server: Server, host: str, **ssh: object) -> Nodes:
    """Nodes that are reached as the configuration says."""
    inventory = server.inventory(host, known_hosts=None, **{"user": None, "identity_file": None, **ssh})
    node = inventory.nodes[0].model_copy(update={"port": None})
    return Nodes(Inventory.model_validate(inventory.model_copy(update={"nodes": [node]})))


def usual(server: Server, host: str = "n1", known: str = "known_hosts") -> str:
    """A configuration that leads to a server."""
    return (
        f"Host {host}\n  HostName 127.0.0.1\n  Port {server.port}\n  User root\n  IdentityFile {server.folder}/key\n"
        f"  UserKnownHostsFile {server.folder}/{known}\n  GlobalKnownHostsFile none\n"
    )


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with ssh_server(tmp_path / "server") as made:
        yield made


def test_a_node_is_reached_as_the_configuration_says(config: Callable[[str], Path], server: Server) -> None:
    config(usual(server))
    with nodes_of(server, "n1") as nodes:
        nodes.check()
        assert nodes.logins()["node1"]["user"] == "root"


def test_an_alias_is_the_name_of_its_host_key(config: Callable[[str], Path], server: Server) -> None:
    config(f"{usual(server, known='aliases')}  HostKeyAlias kept\n")
    (server.folder / "aliases").write_text(f"kept {server.public_key} J\u00fcrgen's\n")
    with nodes_of(server, "n1") as nodes:
        nodes.check()
    (server.folder / "aliases").write_text(f"[127.0.0.1]:{server.port} {server.public_key}\n")
    with (
        nodes_of(server, "n1") as nodes,
        pytest.raises(HostKeyError, match="host key of kept is not in known_hosts"),
    ):
        nodes.check()


def test_a_proxy_command_makes_the_connection(
    config: Callable[[str], Path], server: Server, tmp_path: Path
) -> None:
    script = tmp_path / "proxy.py"
    script.write_text(
        "import os, select, socket, sys\n"
        "link = socket.create_connection((sys.argv[1], int(sys.argv[2])))\n"
        "while True:\n"
        "    for ready in select.select([0, link], [], [])[0]:\n"
        "        data = os.read(0, 65536) if ready == 0 else link.recv(65536)\n"
        "        if not data: sys.exit()\n"
        "        link.sendall(data) if ready == 0 else os.write(1, data)\n"
    )
    config(f"{usual(server)}  ProxyCommand {sys.executable} {script} %h %p\n")
    with nodes_of(server, "n1") as nodes:
        nodes.check()
    config(f"{usual(server)}  ProxyCommand exit 7\n")
    with nodes_of(server, "n1") as nodes, pytest.raises(NodeError, match=r"node1: cannot reach 127\.0\.0\.1"):
        nodes.check()


def test_jumps_are_shared_and_each_has_its_own_configuration(
    config: Callable[[str], Path], server: Server, tmp_path: Path
) -> None:
    with ssh_server(tmp_path / "first") as first, ssh_server(tmp_path / "second") as second:
        text = usual(server) + "  ProxyJump hop1,hop2\n"
        text += usual(first, "hop1") + usual(second, "hop2") + "Host *\n  ProxyJump hop1\n"
        config(text)
        with nodes_of(server, "n1") as nodes:
            nodes.check()
            assert set(nodes.logins()) == {"node1", "gateway 127.0.0.1"}
            connection = nodes._connections["ssh"]
            assert list(connection._jumps) == [("hop1",), ("hop1", "hop2")]  # type: ignore[attr-defined]
        (first.folder / "known_hosts").write_text("")
        with (
            nodes_of(server, "n1") as nodes,
            pytest.raises(HostKeyError, match="gateway hop1: the SSH host key"),
        ):
            nodes.check()


def test_jumps_in_a_circle_are_refused(config: Callable[[str], Path], server: Server) -> None:
    config(f"{usual(server)}  ProxyJump a\nHost a\n  ProxyJump b\nHost b\n  ProxyJump a\n")
    with nodes_of(server, "n1") as nodes, pytest.raises(NodeError, match="goes in a circle"):
        nodes.check()


def test_the_gateway_of_the_inventory_counts_before_the_configuration(
    config: Callable[[str], Path], server: Server, tmp_path: Path
) -> None:
    with ssh_server(tmp_path / "first") as first:
        config(f"{usual(server)}  ProxyCommand exit 7\n{usual(first, 'hop')}")
        with nodes_of(server, "n1", gateway="hop") as nodes:
            nodes.check()


def test_every_error_names_the_node(config: Callable[[str], Path], server: Server) -> None:
    config("Host n1\n  KnownHostsCommand /bin/echo %K\n")
    with (
        nodes_of(server, "n1") as nodes,
        pytest.raises(NodeError, match=r"^node1: the SSH client configuration says"),
    ):
        nodes.check()
    config("Host n1\n  ProxyJump hop\nHost hop\n  BindInterface eth7\n")
    with (
        nodes_of(server, "n1") as nodes,
        pytest.raises(NodeError, match=r"^gateway hop: the SSH client configuration"),
    ):
        nodes.check()


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Path]:
    """An agent without keys."""
    path = tmp_path / "agent.sock"
    with subprocess.Popen(["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.DEVNULL) as process:
        while not path.exists():
            assert process.poll() is None
        yield path
        process.terminate()


def add(agent: Path, key: Path) -> None:
    subprocess.run(
        ["ssh-add", "-q", str(key)],
        env={**os.environ, "SSH_AUTH_SOCK": str(agent)},
        check=True,
        capture_output=True,
    )


def test_the_agent_of_the_configuration_is_asked_and_only_for_what_may_be_offered(
    config: Callable[[str], Path], server: Server, agent: Path, tmp_path: Path
) -> None:
    others = [tmp_path / f"other{number}" for number in range(8)]
    for other in others:
        asyncssh.generate_private_key("ssh-ed25519").write_private_key(other)
        other.chmod(0o600)
        add(agent, other)
    key = server.folder / "key"
    key.chmod(0o600)
    add(agent, key)
    moved = server.folder / "moved"
    asyncssh.read_private_key(key).write_public_key(f"{moved}.pub")
    key.unlink()
    text = usual(server).replace(f"IdentityFile {key}", f"IdentityFile {moved}\n  IdentityAgent {agent}")
    config(text)
    with nodes_of(server, "n1") as nodes:  # the ninth of the agent, and the first that is offered
        nodes.check()
    config(f"{text.replace(str(moved), str(others[0]))}  IdentitiesOnly yes\n")
    with (
        nodes_of(server, "n1") as nodes,
        pytest.raises(NodeError, match=r"refuses the login as root \(1 keys offered"),
    ):
        nodes.check()


def test_a_key_with_a_passphrase_is_named(config: Callable[[str], Path], server: Server) -> None:
    key = server.folder / "key"
    asyncssh.read_private_key(key).write_private_key(key, passphrase="hunter2")
    config(usual(server))
    with (
        nodes_of(server, "n1") as nodes,
        pytest.raises(NodeError, match=r"0 keys offered; .*key has a passphrase: ssh-add"),
    ):
        nodes.check()


@pytest.mark.parametrize("place", ["file", "agent"])
def test_the_certificate_of_a_user_is_shown(
    config: Callable[[str], Path], tmp_path: Path, agent: Path, place: str
) -> None:
    authority, key = asyncssh.generate_private_key("ssh-ed25519"), tmp_path / "signed"
    made = asyncssh.generate_private_key("ssh-ed25519")
    made.write_private_key(key)
    made.write_public_key(f"{key}.pub")
    key.chmod(0o600)
    authority.generate_user_certificate(made, "ann", principals=["root"]).write_certificate(f"{key}-cert.pub")
    if place == "agent":
        moved = tmp_path / "moved"
        key.rename(moved)
        add(agent, moved)
    trusted = tmp_path / "trusted"
    trusted.write_text(f"cert-authority {authority.export_public_key().decode()}")
    with ssh_server(tmp_path / "server", authorized_client_keys=str(trusted)) as server:
        text = usual(server).replace(f"{server.folder}/key", str(key))
        config(f"{text}  IdentityAgent {agent}\n  CertificateFile {key}-cert.pub\n")
        with nodes_of(server, "n1") as nodes:
            nodes.check()


def test_a_key_is_read_once_for_all_nodes(
    config: Callable[[str], Path], server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    config(usual(server))
    read: list[Path] = []
    real = login_keys._read_key
    monkeypatch.setattr(login_keys, "_read_key", lambda path: read.append(path) or real(path))
    with nodes_of(server, "n1") as nodes:
        twice = [
            node.model_copy(update={"name": name}) for node in nodes.inventory.nodes for name in ("a", "b")
        ]
        nodes.inventory = nodes.inventory.model_copy(update={"nodes": twice})
        nodes.check()
    assert read == [server.folder / "key"]


def test_the_servers_own_words_to_a_refused_login_are_reported(
    config: Callable[[str], Path], tmp_path: Path
) -> None:
    class Strict(asyncssh.SSHServer):
        def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
            self._connection = conn

        def begin_auth(self, username: str) -> bool:
            self._connection.send_auth_banner("Your account has expired; ask the operations desk.\n")
            return True

        def public_key_auth_supported(self) -> bool:
            return True

        def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
            return False

    with ssh_server(
        tmp_path / "strict", forced("", 0), server_factory=Strict, authorized_client_keys=None
    ) as strict:
        config(usual(strict))
        with (
            nodes_of(strict, "n1") as nodes,
            pytest.raises(NodeError, match="It says: Your account has expired"),
        ):
            nodes.check()


def test_without_ssh_no_configuration_is_read_and_that_is_reported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, server: Server
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    found = target("n1", "u", 2222, "/known")
    assert (found.host, found.user, found.port, found.known_hosts) == ("n1", "u", 2222, ("/known",))
    assert target().known_hosts[-1] == "/etc/ssh/ssh_known_hosts2"
    with Nodes(server.inventory(user="root")) as nodes:
        nodes.check()
    ports = World("article-1.10").ports()
    checks = preflight(Harden(Parameters()), ports.nodes.inventory, ports.nodes, ports.cluster)
    [check] = [check for check in checks if check.what == "SSH client configuration"]
    assert not check.good
    assert "~/.ssh/config and /etc/ssh/ssh_config are not read" in check.found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("/bin/a  b\tc", ["/bin/a", "b", "c"]),
        ("a 'b c' \"d e\"f", ["a", "b c", "d ef"]),
        (r"a\ b c\\d \'e \"f", ["a b", r"c\d", "'e", '"f']),
        (r"a '\ b' '\'' \x", ["a", r"\ b", "'", r"\x"]),
        ("a '' \"\"", ["a", "", ""]),
        ("a \"it's\" '\"'", ["a", "it's", '"']),
        ("", []),
        ("a\\", ["a\\"]),
    ],
)
def test_a_command_line_is_split_as_openssh_does(text: str, words: list[str]) -> None:
    assert split_arguments(text) == words


def keys_of(folder: Path, *lines: str, end: str = "") -> Path:
    """A program that notes its arguments and prints lines."""
    program = folder / "keys"
    program.write_text(
        f'#!/bin/sh\necho "$@" >>{folder}/asked\n' + "".join(f"echo '{line}'\n" for line in lines) + end
    )
    program.chmod(0o755)
    return program


def test_the_keys_that_a_command_prints_count(
    config: Callable[[str], Path], server: Server, tmp_path: Path
) -> None:
    name = f"[127.0.0.1]:{server.port}"
    program = keys_of(tmp_path, f"other {server.public_key}", f"{name} {server.public_key}")
    text = usual(server, known="none-is-there") + f"  KnownHostsCommand {program} %H\n"
    config(text)
    with nodes_of(server, "n1") as nodes:
        nodes.check()
    assert (tmp_path / "asked").read_text().splitlines() == [name]
    keys_of(tmp_path, f"127.0.0.1 {server.public_key}")  # for the bare name, as in a file
    with nodes_of(server, "n1") as nodes:
        nodes.check()
    assert (tmp_path / "asked").read_text().splitlines() == [name, name, "127.0.0.1"]
    keys_of(tmp_path, f"@revoked {name} {server.public_key}")
    with (
        nodes_of(server, "n1") as nodes,
        pytest.raises(HostKeyError, match=r"is revoked \(KnownHostsCommand, line 1\)"),
    ):
        nodes.check()


@pytest.mark.parametrize(
    ("end", "words"),
    [
        ("exit 0\n", r"is not in known_hosts \(.*KnownHostsCommand\)"),
        (
            "echo no directory >&2; exit 3\n",
            r"^node1: KnownHostsCommand .*keys ended with status 3. It says: no directory",
        ),
        ("exec sleep 30\n", r"^node1: KnownHostsCommand .*keys took more than 2 s"),
    ],
)
def test_a_command_that_prints_no_key_lets_nobody_in(
    config: Callable[[str], Path], server: Server, tmp_path: Path, end: str, words: str
) -> None:
    program = keys_of(tmp_path, end=end)
    config(usual(server, known="none-is-there") + f"  KnownHostsCommand {program} %H\n")
    with nodes_of(server, "n1", connect_timeout=2) as nodes, pytest.raises(NodeError, match=words):
        nodes.check()


def test_a_command_that_is_not_there_is_named(config: Callable[[str], Path], server: Server) -> None:
    config(usual(server) + "  KnownHostsCommand /none/of/it %H\n")
    with (
        nodes_of(server, "n1") as nodes,
        pytest.raises(NodeError, match="KnownHostsCommand /none/of/it cannot be run"),
    ):
        nodes.check()
