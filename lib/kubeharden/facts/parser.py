"""The request to the node script, and its answer, read into facts. Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from kubeharden.components.units import MOST_WORDS
from kubeharden.errors import NodeError
from kubeharden.facts.model import FileFact, NodeFacts, ServiceFacts
from kubeharden.facts.sensitive import with_sensitive_files
from kubeharden.formats import as_json
from kubeharden.redaction import excerpt
from kubeharden.releases import Component, find_component, known_components

LARGEST_FILE = 1 << 20  # characters; systemd reads no longer lines (LONG_LINE_MAX)
# How many words the head of a section has at least, its kind among them.
WORDS = {
    "show": 2,
    "elsewhere": 2,
    "units": 2,
    "file": 5,
    "cmdline": 2,
    "version": 2,
    "warnings": 2,
    "configz": 2,
    "healthz": 2,
    "certificates": 2,
    "modes": 2,
}
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]*)-----END CERTIFICATE-----")
_MODE = re.compile(r"[0-7]{1,5}")
FOLDER = "/etc/kubernetes"  # of which all modes are read
USER = "_user"  # the end of the key under which the groups of a user stand


def observation_request(
    services: Sequence[str] | None = None, units: Mapping[str, str] | None = None
) -> list[str]:
    """Return the arguments of ``observe.sh``, which are words without blanks.

    Args:
        services: which services to read, and nothing else; by default those of all known components, with what a
            plan needs of the node besides: users, modes, systemd's version.
        units: the names of their units, where the inventory says another one.
    """
    if services is not None:
        return [_words_of(row, (units or {}).get(row.name, "")) for row in map(find_component, services)]
    rows = known_components()
    users = dict.fromkeys(f"user={row.own_user}" for row in known_components() if row.own_user)
    return [*users, *(_words_of(row, (units or {}).get(row.name, "")) for row in rows)]


def _words_of(row: Component, unit: str) -> str:
    words = [f"{row.name}={unit}" if unit else row.name]
    if row.config is not None:
        words.append(row.config_path)
    words += [f"{path}={flag.lstrip('-')}" for path, flag in row.files.items()]
    if row.configz is not None and row.configz.url:
        until = f":{row.configz.until.minor}" if row.configz.until else ""
        words.append(f"configz{until}={row.configz.url}")
    if row.own_port is not None:
        place = row.own_port.certificates
        names = (place.file[0].lstrip("-"), place.file[1], place.folder[0].lstrip("-"), place.folder[1])
        words.append(f"certificates={':'.join((*names, *place.names))}")
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
    shows = {words[1]: _show(name, words[1], body) for words, body in sections if words[0] == "show"}
    current = ""
    files: dict[str, dict[str, FileFact]] = {service: {} for service in shows}
    texts: dict[str, dict[str, str]] = {}  # of other sections: by their word and what they are about
    for words, body in sections:
        if words[0] == "show":
            current = words[1]
        elif words[0] == "file" and current:
            fact = _file(name, words, body)
            files[current][fact.path] = fact
        else:
            texts.setdefault(words[0], {})[" ".join(words[1:])] = body
    host = {key: value.strip() for key, value in _properties(texts.get("host", {}).get("", "")).items()}
    specifiers = _specifiers(host)
    return NodeFacts(
        name=name,
        control_plane=control_plane,
        hostname=host.get("hostname", ""),
        os=host.get("os", "").strip('"'),
        systemd=host.get("systemd", ""),
        boot=host.get("boot", ""),
        machine=host.get("machine", ""),
        cgroup=host.get("cgroup", ""),
        elsewhere={service: body.strip() for service, body in texts.get("elsewhere", {}).items()},
        units={service: tuple(body.split()) for service, body in texts.get("units", {}).items()},
        groups={
            key.removesuffix(USER): tuple(groups.split())
            for key, groups in host.items()
            if key.endswith(USER) and groups
        },
        modes=_modes(name, texts.get("modes", {}).get(FOLDER, ""), FOLDER),
        services={
            service: _service(name, service, show, files[service], texts, specifiers)
            for service, show in shows.items()
        },
    )


def _service(
    node: str,
    name: str,
    show: Mapping[str, str],
    files: Mapping[str, FileFact],
    texts: Mapping[str, Mapping[str, str]],
    specifiers: Mapping[str, str],
) -> ServiceFacts:
    def text(word: str) -> str:
        return texts.get(word, {}).get(name, "")

    facts = ServiceFacts(
        name=name,
        show=show,
        files=files,
        cmdline=_command_line(node, name, text("cmdline")),
        version=_version(text("version")),
        warnings=tuple(text("warnings").splitlines()),
        configz=_configz(text("configz")),
        healthz=text("healthz").strip(),
        certificates=_certificates(text("certificates")),
        credentials=tuple(dict.fromkeys(text("credentials").split("\n")[:-1])),
        specifiers=specifiers,
    )
    return with_sensitive_files(facts)


def _specifiers(host: Mapping[str, str]) -> dict[str, str]:
    """Return what specifiers stand for on a node, by their letter, as far as the node says (systemd.unit(5))."""
    known = {
        "H": host.get("hostname", ""),
        "b": host.get("boot", "").replace("-", ""),
        "m": host.get("machine", ""),
    }
    return {letter: value for letter, value in known.items() if value}


def _sections(name: str, answer: str) -> Iterator[tuple[list[str], str]]:
    # What a login shell prints before it is not of the script.
    _, header, rest = answer.partition("@observation ")
    mark, _, text = rest.partition("\n")
    sections = [part.partition("\n") for part in text.split(f"\n{mark} ")[1:]]
    if not header or not sections or sections[-1][0] != "end":
        last = sections[-1][0] if sections else "nothing that the script says"
        raise NodeError(f"{name}: the answer was cut off after {len(answer)} characters, in {last}")
    known = {row.name for row in known_components()}
    for head, _, body in sections[:-1]:
        words = head.split(" ")
        if len(words) < WORDS.get(words[0], 1) or (words[0] == "show" and words[1] not in known):
            raise NodeError(
                f"{name}: the answer has a section that the script does not write: {excerpt(head, 80)!r}"
            )
        yield words, body


def _show(name: str, service: str, text: str) -> dict[str, str]:
    """Return what systemd says of a service.

    Raises:
        NodeError: a number is not one.
    """
    show = _properties(text)
    for key in ("MainPID", "NRestarts"):
        if not re.fullmatch(r"[0-9]{0,10}", show.get(key, "")):
            raise NodeError(
                f"{name}: systemd says of {service} {key}={excerpt(show[key], 80)!r}, which is not a number"
            )
    return show


def _file(name: str, words: Sequence[str], body: str) -> FileFact:
    """Return a file that a service reads.

    Raises:
        NodeError: it is too large, or its mode is not one.
    """
    mode, owner, group, path = words[1], words[2], words[3], " ".join(words[4:])
    if not _MODE.fullmatch(mode):
        raise NodeError(
            f"{name}: {excerpt(path, 200)!r} has the mode {excerpt(mode, 80)!r}, which is not octal"
        )
    if len(body) > LARGEST_FILE:
        raise NodeError(
            f"{name}: {excerpt(path, 200)!r} is too large: {LARGEST_FILE} characters are the most"
        )
    return FileFact(path, mode, owner, group, body)


def _properties(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def _command_line(name: str, service: str, text: str) -> tuple[str, ...]:
    """Return a command line, one word a line; a newline within a word is the character 1.

    Raises:
        NodeError: it is too long.
    """
    words = text.split("\n")[:-1]
    if len(words) > MOST_WORDS or len(text) > LARGEST_FILE:
        raise NodeError(f"{name}: the command line of {service} is too long: {len(words)} words")
    return tuple(word.replace("\1", "\n") for word in words)


def _version(text: str) -> str:
    """Return the last word of the first line: etcd says in others with what it was built."""
    return text.strip().partition("\n")[0].rpartition(" ")[2]


def _configz(text: str) -> dict[str, Any] | None:
    """Return the one object inside ``{"<group>": {...}}``; None where the component served none, or something else."""
    if not text.strip():
        return None
    try:
        content = as_json(text, "configz", NodeError)
    except NodeError:  # another program may listen there
        return None
    config = next(iter(content.values()), None) if isinstance(content, dict) else None
    return config if isinstance(config, dict) else None


def _certificates(text: str) -> tuple[str, ...]:
    """Return the SHA-256 of each certificate of a PEM text, of its DER form; of what is not one, nothing."""
    digests = []
    for body in _PEM.findall(text):
        with suppress(binascii.Error):
            digests.append(hashlib.sha256(base64.b64decode(body)).hexdigest())
    return tuple(dict.fromkeys(digests))


def _modes(name: str, text: str, folder: str) -> dict[str, tuple[int, str, str]]:
    """Return mode, owner and group of each path.

    Raises:
        NodeError: a line is not one: a name has a line break in it.
    """
    result = {}
    for line in text.split("\n"):
        if not line:
            continue
        words = line.split(" ", 3)
        if len(words) < 4 or not _MODE.fullmatch(words[0]) or words[3][:1] != ".":  # noqa: PLR2004
            raise NodeError(
                f"{name}: a name below {folder} has a line break in it, near {excerpt(line, 80)!r}; "
                "rename it and run again"
            )
        mode, owner, group, path = words
        result[folder + path.removeprefix(".")] = (int(mode, 8), owner, group)
    return result
