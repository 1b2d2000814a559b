"""The request to the node script, and its answer, read into facts. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import yaml

from kubeharden.errors import NodeError
from kubeharden.facts.model import FileFact, NodeFacts, ServiceFacts
from kubeharden.facts.sensitive import with_sensitive_files
from kubeharden.releases import Component, find_component, known_components

USER = "_user"  # the end of the key under which the groups of a user stand


def observation_request(services: Sequence[str] | None = None) -> list[str]:
    """Return the arguments of ``observe.sh``, which are words without blanks.

    Args:
        services: which services to read; those of all known components by default.
    """
    rows = known_components() if services is None else [find_component(name) for name in services]
    users = dict.fromkeys(f"user={row.own_user}" for row in known_components() if row.own_user)
    return [*users, *map(_words_of, rows)]


def _words_of(row: Component) -> str:
    words = [row.name]
    if row.config is not None:
        words.append(row.config_path)
    words += [f"{path}={flag.lstrip('-')}" for path, flag in row.files.items()]
    if row.configz is not None and row.configz.url:
        words.append(f"configz={row.configz.url}")
    if row.healthz is not None:
        flags = (row.healthz.address_flag.lstrip("-"), row.healthz.port_flag.lstrip("-"))
        words.append(f"healthz={':'.join(flags)}:{row.healthz.port}")
    return ",".join(words)


def parse_observation(name: str, control_plane: bool, answer: str) -> NodeFacts:
    """Read the facts in the answer of ``observe.sh``; what may be secret in a file is known from here on.

    Args:
        name: of the node.
        control_plane: as the inventory says.
        answer: bytes that are not UTF-8 stand in it as ``surrogateescape`` has them.

    Raises:
        NodeError: the answer was cut off or cannot be read.
    """
    sections = list(_sections(name, answer))
    shows = {words[1]: _properties(body) for words, body in sections if words[0] == "show"}
    current = ""
    files: dict[str, dict[str, FileFact]] = {service: {} for service in shows}
    values: dict[tuple[str, str], str] = {}
    for words, body in sections:
        if words[0] == "show":
            current = words[1]
        elif words[0] == "file":
            mode, owner, group, path = words[1], words[2], words[3], " ".join(words[4:])
            files[current][path] = FileFact(path, mode, owner, group, body)
        else:
            values[words[0], " ".join(words[1:])] = body
    host = _properties(values.get(("host", ""), ""))
    return NodeFacts(
        name=name,
        control_plane=control_plane,
        hostname=host.get("hostname", ""),
        os=host.get("os", ""),
        systemd=host.get("systemd", ""),
        boot=host.get("boot", ""),
        cgroup=host.get("cgroup", ""),
        groups={
            key.removesuffix(USER): tuple(groups.split())
            for key, groups in host.items()
            if key.endswith(USER) and groups
        },
        modes=_modes(values.get(("modes", "/etc/kubernetes"), ""), "/etc/kubernetes"),
        services={
            service: with_sensitive_files(
                ServiceFacts(
                    name=service,
                    show=show,
                    files=files[service],
                    cmdline=_words(values.get(("cmdline", service), "")),
                    version=_version(values.get(("version", service), "")),
                    warnings=tuple(values.get(("warnings", service), "").splitlines()),
                    configz=_configz(values.get(("configz", service), "")),
                    healthz=values.get(("healthz", service), "").strip(),
                    credentials=tuple(
                        dict.fromkeys(values.get(("credentials", service), "").split("\n")[:-1])
                    ),
                )
            )
            for service, show in shows.items()
        },
    )


def _sections(name: str, answer: str) -> Iterator[tuple[list[str], str]]:
    # What a login shell prints before it is not of the script.
    _, found, rest = answer.partition("@observation ")
    mark, _, text = rest.partition("\n")
    sections = [part.partition("\n") for part in text.split(f"\n{mark} ")[1:]]
    if not found or not sections or sections[-1][0] != "end":
        last = sections[-1][0] if sections else "nothing that the script says"
        raise NodeError(f"{name}: the answer was cut off after {len(answer)} characters, in {last}")
    for head, _, body in sections[:-1]:
        yield head.split(" "), body


def _properties(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def _words(text: str) -> tuple[str, ...]:
    """Return a command line, one word a line; a newline within a word is the character 1."""
    return tuple(word.replace("\1", "\n") for word in text.split("\n")[:-1])


def _version(text: str) -> str:
    """Return the last word of the first line: etcd says in others with what it was built."""
    return text.strip().partition("\n")[0].rpartition(" ")[2]


def _configz(text: str) -> dict[str, Any] | None:
    """Return the one object inside ``{"<group>": {...}}``, or None where the component served none."""
    if not text.strip():
        return None
    content = yaml.safe_load(text)
    return next(iter(content.values()), None) if isinstance(content, dict) else None


def _modes(text: str, folder: str) -> dict[str, tuple[int, str, str]]:
    result = {}
    for line in text.splitlines():
        mode, owner, group, path = line.split(" ", 3)
        result[folder + path.removeprefix(".")] = (int(mode, 8), owner, group)
    return result
