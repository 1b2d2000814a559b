"""Facts: the state of nodes and API as it was read, as plain data."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from kubeharden.components import units
from kubeharden.components.admission_plugins import flag_value
from kubeharden.components.commands import MARK, MARKED, Command, in_order, specifiers_of, with_values
from kubeharden.components.programs import Program, find_program
from kubeharden.components.shells import expansion_in, unwrap
from kubeharden.errors import UnitError
from kubeharden.formats import as_document, as_json
from kubeharden.releases import Component, Release, find_component, is_covered

ANYTHING = "\ufdd1"  # where a variable has a value that is not known; not a character
MOST_COMPARED = 1000  # words


@dataclass(frozen=True)
class FileFact:
    """A file on a node; ``mode`` is octal text such as ``644``."""

    path: str
    mode: str
    owner: str
    group: str
    content: str


@dataclass(frozen=True)
class ServiceFacts:
    """One systemd service on one node.

    Attributes:
        name: without ``.service``.
        show: the properties that ``systemctl show`` printed.
        files: fragment, drop-ins, environment files and config files, by path.
        cmdline: the command line of the running process; empty when none runs.
        version: ``v1.10.0``; empty when the binary did not say.
        warnings: the deprecation warnings of the running process.
        configz: the effective configuration that it serves, if it does.
        healthz: the HTTP status of its ``/healthz``, asked on its own node: ``200``; ``000`` where it did not answer
            (curl's ``%{http_code}``); empty where nobody could ask, or for a component that is not asked.
        unread: why it could not be read what it serves; empty where that is not known.
        certificates: the SHA-256 of each certificate that it may show, as its own node has them.
        credentials: its kubeconfig's path, then the paths that the kubeconfig names.
        specifiers: what is known of specifiers on its node, by their letter.
    """

    name: str
    show: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, FileFact] = field(default_factory=dict)
    cmdline: tuple[str, ...] = ()
    version: str = ""
    warnings: tuple[str, ...] = ()
    configz: Mapping[str, Any] | None = None
    healthz: str = ""
    unread: str = ""
    certificates: tuple[str, ...] = ()
    credentials: tuple[str, ...] = ()
    specifiers: Mapping[str, str] = field(default_factory=dict)

    @property
    def component(self) -> Component:
        """The component that it runs."""
        return find_component(self.name)

    @property
    def unit(self) -> str:
        """The name of its unit, without ``.service``."""
        return self.show.get("Id", "").removesuffix(".service") or self.name

    @property
    def other_unit(self) -> str:
        """The name of its unit where that is not the service's own; empty otherwise."""
        return "" if self.unit == self.name else self.unit

    @property
    def loaded(self) -> bool:
        """True if systemd has such a unit."""
        return self.show.get("LoadState") == "loaded"

    @property
    def running(self) -> bool:
        """True if it is active with a main process."""
        return self.show.get("ActiveState") == "active" and self.main_pid != 0

    @property
    def needs_reload(self) -> bool:
        """True if its unit files changed since systemd read them."""
        return self.show.get("NeedDaemonReload") == "yes"

    @property
    def main_pid(self) -> int:
        """The process id of its main process; 0 without one."""
        return int(self.show.get("MainPID") or 0)

    @property
    def started(self) -> str:
        """When its main process started, as systemd prints it."""
        return self.show.get("ExecMainStartTimestamp", "")

    @property
    def release(self) -> Release:
        """The minor release it runs.

        Raises:
            UnknownReleaseError: the binary said no version, or one that no table covers.
        """
        return Release.parse(self.version)

    @cached_property
    def service(self) -> units.Service:
        """Its unit files, in the order in which systemd reads them."""
        unit_paths = [self.show.get("FragmentPath", ""), *self.show.get("DropInPaths", "").split()]
        return units.Service(
            files=tuple(
                (path, units.Unit.parse(self.files[path].content))
                for path in unit_paths
                if path in self.files
            ),
            environment_files={
                path: fact.content for path, fact in self.files.items() if path not in unit_paths
            },
            specifiers=units.unit_specifiers(f"{self.unit}.service"),
        )

    @property
    def running_argv(self) -> list[str]:
        """The command line of the process, without what started the program."""
        try:
            return list(self._program(self.cmdline).argv)
        except UnitError:
            return list(self.cmdline)

    def unit_argv(self) -> list[str]:
        """Return the command that the unit files say: the program and its arguments, without what starts it.

        Raises:
            UnitError: they cannot be read, or run another program.
        """
        command = self.service.command()
        program = self._program(command.words)
        argv = self._with_specifiers(program.argv)
        if self.cmdline and argv != self.running_argv:
            if command.unset:
                self._check_unset(command)
            if odd := expansion_in(program.shell_line):
                raise UnitError(
                    f"the shell line in ExecStart= has {odd}, which a shell replaces, and the service runs with other "
                    "words: write out what it stands for, restart the service, and look again"
                )
        return argv

    def exec_start(self, argv: Sequence[str]) -> list[str]:
        """Return the words of an ``ExecStart=`` that runs ``argv``, quoted, with the present one's specifiers.

        Raises:
            UnitError: the present command cannot be read, or runs another program.
        """
        command = self.service.command()
        program = self._program(command.words)
        if program.shell_line:
            command = replace(command, prefix=command.prefix.replace("@", ""))
        sources = _sources(program.argv, self._with_specifiers(program.argv))
        words = [*program.starters, *(sources.get(word, word) for word in argv)]
        if program.shell_line and "/" not in words[0]:  # which systemd before 239 does not look for
            words.insert(0, "/usr/bin/env")
        return command.line(words)

    def lost_specifiers(self, argv: Sequence[str]) -> list[str]:
        """Return the specifiers of the present command, such as ``%H``, that one which runs ``argv`` would not have."""
        specifiers = dict.fromkeys(
            f"%{match[1]}" for word in self.service.command().words for match in MARKED.finditer(word)
        )
        written = " ".join(self.exec_start(argv)).replace("%%", "")
        return [specifier for specifier in specifiers if specifier not in written]

    def _program(self, words: Sequence[str]) -> Program:
        if is_covered(self.name):
            return find_program(self.name, words, self.cmdline)
        return Program((), tuple(unwrap(list(words))))

    def _with_specifiers(self, argv: Sequence[str]) -> list[str]:
        """Return words with the values of their specifiers: as the process shows them, else as far as they are known.

        Raises:
            UnitError: they cannot be told.
        """
        letters = [letter for word in argv for letter in MARKED.findall(word)]
        if not letters:
            return list(argv)
        known = specifiers_of(argv, self.running_argv)
        if known is None:
            known = {**units.unit_specifiers(f"{self.unit}.service"), **self.specifiers}
        if not known.keys() >= set(letters):
            names = dict.fromkeys(f"%{letter}" for letter in letters if letter not in known)
            why = "runs with another command line" if self.cmdline else "does not run"
            raise UnitError(
                f"ExecStart= has {', '.join(names)}, which systemd replaces: what it is cannot be told, because the "
                f"service {why}. Restart it, or write the value out, and look again"
            )
        return [with_values(word, known) for word in argv]

    def _check_unset(self, command: Command) -> None:
        """Refuse a command that runs with variables that its unit does not set.

        Raises:
            UnitError: the process has a value where a variable is that nothing sets.
        """
        assumed = dict.fromkeys(command.unset, ANYTHING)
        words = self._program(self.service.command(assumed).words).argv
        if _fits(words, self.running_argv):
            names = ", ".join(f"${name}" for name in command.unset)
            raise UnitError(
                f"its command has {names}, which the process got from systemd itself: neither Environment= nor "
                "EnvironmentFile= sets it (systemctl set-environment, PassEnvironment=, User=, StateDirectory= and the "
                "like). Set it there, or write it out, restart the service, and look again"
            )

    def config(self, argv: list[str]) -> tuple[str, dict[str, Any] | None]:
        """Return path and content of the file that ``--config`` names on ``argv``; an empty path without one.

        Raises:
            UnitError: the file is not there, or is not a YAML mapping.
        """
        path = flag_value(argv, "--config")
        if not path:
            return "", None
        fact = self.files.get(path)
        if not path.startswith("/"):
            raise UnitError(
                f"{self.name} names --config={path}, which counts from the folder that it runs in: write the whole path"
            )
        if fact is None:
            raise UnitError(f"{self.name} names --config={path}, but there is no such file")
        return path, read_config(fact)


@dataclass(frozen=True)
class NodeFacts:
    """One node: who it is, its services, and what is needed to judge them."""

    name: str
    control_plane: bool
    hostname: str = ""
    os: str = ""
    systemd: str = ""
    boot: str = ""
    machine: str = ""  # its machine-id(5)
    cgroup: str = ""  # v1 or v2; empty where the node did not say
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # of the users that components run as
    modes: Mapping[str, tuple[int, str, str]] = field(default_factory=dict)  # path: mode, owner, group
    services: Mapping[str, ServiceFacts] = field(default_factory=dict)
    # The control groups of components outside of services.
    elsewhere: Mapping[str, str] = field(default_factory=dict)
    # The units in whose control groups a component runs, its own among them.
    units: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def other_units(self, name: str) -> tuple[str, ...]:
        """Return the units that run a component, too: beside the one that is its service here, if there is one."""
        service = self.service(name)
        own = service.unit if service is not None else ""
        return tuple(unit for unit in self.units.get(name, ()) if unit != own)

    def service(self, name: str) -> ServiceFacts | None:
        """Return the service of that name, or None where the node has no such unit."""
        service = self.services.get(name)
        return service if service is not None and service.loaded else None

    @property
    def present(self) -> tuple[ServiceFacts, ...]:
        """The services that the node has."""
        return tuple(service for service in self.services.values() if service.loaded)

    @property
    def api_server(self) -> ServiceFacts | None:
        """The service that serves the Kubernetes API, or None."""
        return next((service for service in self.present if service.component.serves_api), None)

    @property
    def runs_pods(self) -> bool:
        """True if the node has the service that registers the Node object and runs its pods."""
        return any(service.component.runs_pods for service in self.present)

    def effective_config(self, name: str) -> Mapping[str, Any] | None:
        """Return what a service says it runs with; None where it says nothing, or the node has no such service."""
        service = self.service(name)
        return None if service is None else service.configz

    def with_configz(self, configz: Mapping[str, Any] | None, unread: str = "") -> NodeFacts:
        """Return the same facts with the effective configuration that was read of it, or why it could not be."""
        read = {
            name: replace(service, configz=configz, unread=unread)
            for name, service in self.services.items()
            if service.component.read_through_api
        }
        return replace(self, services={**self.services, **read})

    @property
    def read_through_api(self) -> tuple[ServiceFacts, ...]:
        """The services whose effective configuration is read through the API server, or at their own port."""
        return tuple(service for service in self.present if service.component.read_through_api)


@dataclass(frozen=True)
class ConfigMapPorts:
    """The ports of kubelets that ConfigMaps of workloads name; nothing else of what they hold is kept.

    Attributes:
        named: the ports, by namespace and name.
        unread: why others were not read; empty where all were that matter.
    """

    named: Mapping[tuple[str, str], frozenset[int]] = field(default_factory=dict)
    unread: str = ""


@dataclass(frozen=True)
class ClusterFacts:
    """The API objects that matter here, as plain dicts keyed by resource name (``pods``, ``roles`` …).

    Attributes:
        name: what the inventory calls the cluster.
        config_maps: which ports of kubelets the ConfigMaps of workloads name.
    """

    version: str
    user: str
    objects: Mapping[str, tuple[Mapping[str, Any], ...]]
    name: str = ""
    config_maps: ConfigMapPorts = field(default_factory=ConfigMapPorts)

    @property
    def uid(self) -> str:
        """The UID of the namespace kube-system, by which clusters are told apart; empty where it was not seen.

        A cluster has no UID of its own; that namespace lives as long as the cluster does, whatever becomes of its
        address and its certificates (semantic conventions of OpenTelemetry, ``k8s.cluster.uid``).
        """
        metadata = (namespace["metadata"] for namespace in self.of("namespaces"))
        return next((str(meta.get("uid", "")) for meta in metadata if meta["name"] == "kube-system"), "")

    def of(self, resource: str) -> tuple[Mapping[str, Any], ...]:
        """Return all objects of one resource, such as ``rolebindings``."""
        return self.objects.get(resource, ())


@dataclass(frozen=True)
class OpenChange:
    """A change of a service on a node that a run began, and that is neither confirmed nor put back.

    Attributes:
        run, state, since, until: as in ``edges.ports.Transaction``.
    """

    node: str
    service: str
    run: str
    state: str
    since: str
    until: str
    holder: str


@dataclass(frozen=True)
class Facts:
    """Everything that a plan is made from.

    Attributes:
        left_out: the nodes of the inventory that the run leaves alone.
        open_changes: those that were open while the nodes were read, so that what was seen there may not last.
    """

    nodes: tuple[NodeFacts, ...]
    cluster: ClusterFacts
    left_out: tuple[str, ...] = ()
    open_changes: tuple[OpenChange, ...] = ()

    def node(self, name: str) -> NodeFacts:
        """Return the node of that name."""
        return next(node for node in self.nodes if node.name == name)

    @property
    def unlisted(self) -> tuple[str, ...]:
        """The nodes that the API has and the inventory does not."""
        names_here = {*(node.name for node in self.nodes), *self.left_out}
        names = (item["metadata"]["name"] for item in self.cluster.of("nodes"))
        return tuple(sorted(name for name in names if name not in names_here))


def _sources(templates: Sequence[str], argv: Sequence[str]) -> dict[str, str]:
    """Return words with specifiers by what they are, also as ``--name=value`` where the value is the next word."""
    result = {}
    for index, (template, word) in enumerate(zip(templates, argv, strict=True)):
        if MARK not in template:
            continue
        name, equals, value = word.partition("=")
        flag = name.replace("_", "-") if name.startswith("--") else name
        result[word] = template
        if equals:
            result[f"{flag}={value}"] = f"{flag}={template.partition('=')[2]}"
        elif index and argv[index - 1].startswith("-") and "=" not in argv[index - 1]:
            before = argv[index - 1].replace("_", "-")
            result[f"{before}={word}"] = f"{before}={template}"
    return result


def _fits(templates: Sequence[str], running: Sequence[str]) -> bool:
    """Return whether words are those of a process, with ``ANYTHING`` for any text, or any number of words."""
    if len(templates) > MOST_COMPARED:
        return False
    rows = [""]  # words that follow each other
    for word in templates:
        if word == ANYTHING:
            rows.append("")
        else:
            rows[-1] += in_order([re.escape(part) for part in word.split(ANYTHING)], r"[^\0]") + r"\0"
    pattern = in_order(rows, r"(?:[^\0]*\0)")
    return re.fullmatch(pattern, "".join(f"{word}\0" for word in running)) is not None


def read_config(fact: FileFact) -> dict[str, Any]:
    """Return the content of a component's config file.

    Raises:
        UnitError: it is neither a YAML mapping nor an object of JSON.
    """
    try:
        content = as_document(fact.content, fact.path, UnitError)
    except UnitError:
        if not fact.content.lstrip().startswith("{"):
            raise
        # JSON may have tabs and escapes that YAML has not.
        content = as_json(fact.content, fact.path, UnitError)
    if not isinstance(content, dict):
        raise UnitError(
            f"{fact.path} holds no configuration in its first document, the only one that is read"
        )
    return content
