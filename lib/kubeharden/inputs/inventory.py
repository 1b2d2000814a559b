"""Inventories: which nodes there are and how to reach them. Strict: an unknown key is an error."""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from kubeharden.errors import ParameterError
from kubeharden.inputs.documents import mistakes, read_document
from kubeharden.inputs.project import wrong_path
from kubeharden.releases import known_components

Network = IPv4Network | IPv6Network


def networks(value: object, *, exact: bool = True) -> tuple[Network, ...]:
    """Return the networks of a ``--service-cluster-ip-range``: one, or one of each family with a comma between.

    Args:
        value: a text, or a list of texts.
        exact: whether a network with host bits is a mistake; the API server forgives it.

    Raises:
        ValueError: it is something else.
    """
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
        raise ValueError("expected a network such as 10.0.0.0/16")
    ranges = tuple(ip_network(part, strict=exact) for part in parts)
    # cmd/kube-apiserver/app/options/validation.go: validateClusterIPFlags
    if len({network.version for network in ranges}) != len(ranges) or not ranges:
        raise ValueError("expected one network, or one of each family: 10.0.0.0/16,fd00:10::/112")
    return ranges


SEVERAL_KUBECONFIGS = (
    ". Are these several, as in $KUBECONFIG? Make one of them, and name that: "
    "KUBECONFIG=… kubectl config view --flatten > one.kubeconfig"
)
VARIABLE = ". Variables are not filled in: write the whole path, or begin it with ~"
SSH_PORT = 22
MOST_PORTS = 65535
# A user of a directory may have a domain: DOMAIN\\user, or user@domain.
USER = r"^[A-Za-z_][A-Za-z0-9_.@+\\-]*$"
_NAME_OF_HOST = re.compile(r"\w[\w.-]*")
# [user@]host[:port]
GATEWAY = r"^([A-Za-z_][A-Za-z0-9_.-]*@)?[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?$"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, arbitrary_types_allowed=True)


def split_host(text: str) -> tuple[str, str, int | None]:
    """Return user, host and port of ``[user@]host[:port]``; an IPv6 address with a port stands in brackets."""
    user, _, place = text.rpartition("@")
    if match := re.fullmatch(r"\[([^\]]+)\](?::([0-9]{1,5}))?|([^:]*):([0-9]{1,5})", place):
        port = match[2] or match[4]
        return user, match[1] or match[3], int(port) if port else None
    return user, place, None


class Ssh(_Strict):
    """SSH logins. A setting that is left out is taken from the client configuration, as OpenSSH resolves it."""

    user: Annotated[str, Field(pattern=USER)] | None = None
    port: Annotated[int, Field(ge=1, le=MOST_PORTS)] | None = None
    identity_file: str | None = None
    known_hosts: str | None = None
    gateway: Annotated[str, Field(pattern=GATEWAY)] | None = None
    sudo: str = "nopasswd"
    connect_timeout: Annotated[int, Field(ge=1, le=600)] = 15

    @field_validator("sudo")
    @classmethod
    def _check_known(cls, value: str) -> str:
        if value not in {"nopasswd", "password"}:
            raise ValueError("expected nopasswd, or password to be asked for it once")
        return value


# The other types of units (systemd.unit(5)).
_OTHER_UNIT = re.compile(r".*\.(socket|device|mount|automount|swap|target|path|timer|slice|scope)", re.DOTALL)


def _unit(value: str) -> str:
    if match := _OTHER_UNIT.fullmatch(value):
        raise ValueError(f"is the name of a {match[1]}; expected that of the service itself")
    name = value.removesuffix(".service")
    if name.endswith("@"):
        raise ValueError(
            "is the name of a template; expected that of an instance, with something behind the @"
        )
    return name


Unit = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9:_.\\][A-Za-z0-9:_.@\\-]*$", max_length=247), AfterValidator(_unit)
]


def _check_components(services: dict[str, str]) -> dict[str, str]:
    names = [row.name for row in known_components()]
    if unknown := sorted(services.keys() - set(names)):
        raise ValueError(f"{', '.join(unknown)} is not known; expected some of {', '.join(names)}")
    units = list(services.values())
    if twice := sorted({unit for unit in units if units.count(unit) > 1}):
        raise ValueError(f"one unit for two components: {', '.join(twice)}")
    return services


Services = Annotated[dict[str, Unit], AfterValidator(_check_components)]


# What a text must be, by its key, for messages.
EXPECTED = {
    "cluster": "letters, digits, dots, dashes and underscores",
    "name": "the name of its Node object: small letters, digits, dots and dashes (kubectl get nodes)",
    "host": "a name or an address, with user@ before it and :port behind it where they are needed",
    "user": "the name of a user",
    "gateway": "one host, with user@ before it and :port behind it where they are needed",
    "sudo": "nopasswd, or password to be asked for it once",
}


class Node(_Strict):
    """A node: the name of its Node object, and the way to it.

    Attributes:
        host: the address that SSH goes to.
        services: the names of its units, by component, where they are others than on the other nodes.
        connection: ``local`` for the machine that this process runs on, which needs no ``host``.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$")]
    host: Annotated[str, Field(pattern=r"^([^-\s][^\s]*)?$")] = ""
    port: Annotated[int, Field(ge=1, le=MOST_PORTS)] | None = None
    control_plane: bool = False
    services: Services = {}
    connection: Literal["ssh", "local"] = "ssh"

    @model_validator(mode="after")
    def _has_place(self) -> Node:
        if self.connection == "ssh" and not self.host:
            raise ValueError(f"{self.name} has no host, the address that SSH goes to")
        user, place, _ = split_host(self.host)
        if self.host and not (_is_host(place) and (not user or re.match(USER, user))):
            raise ValueError(
                f"{self.name}: its host is not {EXPECTED['host']}; an IPv6 address has its port as [::1]:22"
            )
        if (port := split_host(self.host)[2]) is not None and not 1 <= port <= MOST_PORTS:
            raise ValueError(f"{self.name}: {self.host} names the port {port}; there are 1 to {MOST_PORTS}")
        if self.connection == "local" and (self.host or self.port):
            raise ValueError(f"{self.name} is this machine (connection: local): it has no host and no port")
        return self


def _is_host(text: str) -> bool:
    """Return whether a text is the name or the address of a host."""
    if ":" not in text:
        return _NAME_OF_HOST.fullmatch(text) is not None
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


class Inventory(_Strict):
    """A cluster: its nodes, and the kubeconfig to talk to its API server with.

    Attributes:
        services: the names of units, by component, where they are not those of the components.
        settle_seconds: how long a service must run without a break after a restart.
        require_approval: whether a plan must be approved before it is carried out.
        approvers: a file of allowed signers (ssh-keygen(1)); with it, an approval must be signed by one of them.
        service_cluster_ip_range: the API server's: one network, or one of each family with a comma between; read from
            its unit where it is not given here.
    """

    cluster: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    kubeconfig: str
    context: str | None = None
    ssh: Ssh = Ssh()
    nodes: Annotated[list[Node], Field(min_length=1)]
    service_cluster_ip_range: Annotated[tuple[Network, ...], BeforeValidator(networks)] | None = None
    services: Services = {}
    settle_seconds: Annotated[float, Field(ge=0, le=600, strict=False)] = 3
    require_approval: bool = False
    approvers: str | None = None

    def units_of(self, node: Node) -> dict[str, str]:
        """Return the names of units on a node, by component, as far as they are given."""
        return {**self.services, **node.services}

    @field_validator("nodes")
    @classmethod
    def _distinct(cls, nodes: list[Node], info: ValidationInfo) -> list[Node]:
        names = [node.name for node in nodes]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"named twice: {', '.join(twice)}")
        usual = getattr(info.data.get("ssh"), "port", None) or SSH_PORT
        places = [_place(node, usual) for node in nodes]
        same = [node.name for node, place in zip(nodes, places, strict=True) if places.count(place) > 1]
        if same:
            raise ValueError(
                f"two of them are one machine: the same host and port, or both are this one ({', '.join(same)})"
            )
        if not any(node.control_plane for node in nodes):
            raise ValueError("none has control_plane: true")
        return nodes


def _place(node: Node, usual: int) -> tuple[str, int]:
    """Return host and port, the same for each way to write them; that one machine has several names is found later."""
    _, host, port = split_host(node.host)
    return host.lower().rstrip("."), node.port or port or usual


def read_inventory(path: Path) -> Inventory:
    """Read an inventory file; relative paths in it are relative to the file, and ``~`` works.

    Raises:
        ParameterError: there is no such file, or it is wrong; every mistake is named.
    """
    raw = read_document(path, "inventory", "parameters/inventory.example.yaml (or 'rehearsal')")
    try:
        inventory = Inventory.model_validate(raw)
    except ValidationError as error:
        raise ParameterError(f"inventory: {path} is wrong:\n{mistakes(error, Inventory, EXPECTED)}") from None
    return _with_absolute_paths(inventory, path.resolve().parent)


def _with_absolute_paths(inventory: Inventory, folder: Path) -> Inventory:
    def absolute(text: str | None) -> str | None:
        if text is None:
            return None
        if why := wrong_path(text):
            raise ParameterError(f"inventory: {text[:80]!r} {why}")
        return str(folder / Path(text).expanduser())

    ssh = inventory.ssh.model_copy(
        update={
            "identity_file": absolute(inventory.ssh.identity_file),
            "known_hosts": absolute(inventory.ssh.known_hosts),
        }
    )
    approvers = absolute(inventory.approvers)
    result = inventory.model_copy(
        update={"kubeconfig": absolute(inventory.kubeconfig), "ssh": ssh, "approvers": approvers}
    )
    for what, text in (
        ("kubeconfig", result.kubeconfig),
        ("ssh.identity_file", ssh.identity_file),
        ("ssh.known_hosts", ssh.known_hosts),
        ("approvers", approvers),
    ):
        if text is not None and not Path(text).is_file():
            hint = (
                SEVERAL_KUBECONFIGS
                if what == "kubeconfig" and ":" in text
                else VARIABLE
                if "$" in text
                else ""
            )
            raise ParameterError(f"inventory: {what} names {text}, but there is no such file{hint}")
    return result
