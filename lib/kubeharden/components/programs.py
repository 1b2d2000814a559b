"""The program in a command line: what starts it, and what is another program altogether."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from kubeharden.components.shells import SHELLS, shell_line, shell_operand, unwrap
from kubeharden.errors import UnitError
from kubeharden.releases import find_component, known_components

# Programs that run the command that follows their options.
STARTERS = frozenset(
    {
        *("env", "nice", "ionice", "taskset", "chrt", "nohup", "setsid", "stdbuf", "numactl", "systemd-cat"),
        *(
            "prlimit",
            "setpriv",
            "chpst",
            "softlimit",
            "tini",
            "dumb-init",
            "catatonit",
            "sudo",
            "gosu",
            "su-exec",
        ),
        *("systemd-inhibit", "timeout", "runuser", "choom", "setarch", "cgexec"),
    }
)
CONTAINERS = frozenset(
    {
        *(
            "docker",
            "podman",
            "rkt",
            "nerdctl",
            "crictl",
            "ctr",
            "runc",
            "crun",
            "systemd-nspawn",
            "machinectl",
        ),
        *(
            "docker-compose",
            "podman-compose",
            "singularity",
            "apptainer",
            "lxc",
            "lxc-start",
            "chroot",
            "nsenter",
        ),
        "unshare",
        *(
            "bwrap",
            "proot",
            "firejail",
            "minijail0",
            "schroot",
            "toolbox",
            "distrobox",
            "flatpak",
            "flatpak-spawn",
        ),
    }
)
# Programs that start a process of their own somewhere else, and what a unit has in their place.
LAUNCHERS = {
    "systemd-run": "this unit is one already",
    **dict.fromkeys(
        ("start-stop-daemon", "daemonize", "daemon", "supervise"),
        "systemd itself does that",
    ),
    **dict.fromkeys(("su", "runuser"), "User= says who runs it"),
}
# Where the flags are said to a distribution that starts the components itself.
DISTRIBUTIONS = {
    "k3s": "in /etc/rancher/k3s/config.yaml (kubelet-arg, kube-proxy-arg …)",
    "rke2": "in /etc/rancher/rke2/config.yaml (kubelet-arg, kube-proxy-arg …)",
    "k0s": "in its configuration (k0s.yaml, --kubelet-extra-args)",
    "k0s-worker": "in its configuration (k0s.yaml, --kubelet-extra-args)",
    "kubelite": "in /var/snap/microk8s/current/args",
    "microk8s": "in /var/snap/microk8s/current/args",
    "snap": "with snap set, or in the args file of the snap",
    "minikube": "with minikube start --extra-config",
    "kind": "in the configuration of kind (kubeadmConfigPatches)",
}
HYPERKUBE = "hyperkube"
_ODD_BLANK = re.compile("[\u00a0\u1680\u2000-\u200b\u2028\u2029\u202f\u205f\u3000]")  # as web pages have them
MOST_BEFORE = 100  # words before the program
_SCRIPT = re.compile(r"\.(?:sh|bash|py|pl|rb)$|wrapper|^(?:run|start|launch)[-_.]|[-_.](?:run|start|launch)$")
_COMMAND = re.compile(r"(?:^|[;&|(])\s*(?:exec\s+|\w+=[^\s;&|()]*\s+)*([^\s;&|()]+)")  # in a shell line
_INTERPRETER = re.compile(r"(?:python|perl|ruby)[0-9.]*")


@dataclass(frozen=True)
class Program:
    """A command line in parts.

    Attributes:
        starters: the words before the program, such as ``nice -n 5``.
        argv: the program and its arguments.
        shell_line: in which they stood, and which is left out; empty for none.
    """

    starters: tuple[str, ...]
    argv: tuple[str, ...]
    shell_line: str = ""


def program_words(component: str, argv: Sequence[str]) -> int:
    """Return how many words at the beginning name the program: two of ``hyperkube kubelet``, none where a flag does."""
    if not argv or argv[0].startswith("-"):
        return 0
    return 2 if _is_hyperkube(component, argv) else 1


def arguments(component: str, argv: Sequence[str]) -> list[str]:
    """Return the arguments of a command line, with or without the program."""
    return list(argv[program_words(component, argv) :])


def _is_hyperkube(component: str, argv: Sequence[str]) -> bool:
    named = (component, component.removeprefix("kube-"))
    return _base(argv[0]).startswith(HYPERKUBE) and len(argv) > 1 and argv[1] in named


def _base(word: str) -> str:
    return word.rpartition("/")[2]


def is_program(component: str, argv: Sequence[str]) -> bool:
    """Return whether a command line begins with the component: its name, that with a version, or hyperkube's."""
    if not argv:
        return False
    versioned = re.fullmatch(rf"{re.escape(component)}(?:[-_.]?v?[0-9][\w.+-]*)?", _base(argv[0]))
    return versioned is not None or _is_hyperkube(component, argv)


def component_of(argv: Sequence[str]) -> str:
    """Return the name of the component that a command line runs; that of its program for another one."""
    names = (row.name for row in known_components() if is_program(row.name, argv))
    return next(names, _base(argv[0]) if argv else "")


def started_program(words: Sequence[str]) -> tuple[str, ...]:
    """Return the command line of the process that a command ends in: that of a component, past a shell or ``env``.

    Raises:
        UnitError: it is a shell line of more than one command.
    """
    for row in known_components():
        with contextlib.suppress(UnitError):
            return find_program(row.name, words).argv
    return tuple(unwrap(list(words)))


def find_program(component: str, words: Sequence[str], running: Sequence[str] = ()) -> Program:
    """Return the parts of a command line of a component.

    Args:
        running: the command line of the process that this one has started, if it is known.

    Raises:
        UnitError: it is a shell line of more than one command, or runs something else; the sentence names it.
    """
    starters, rest, in_shell = list[str](), list(words), ""
    while rest and len(starters) < MOST_BEFORE:
        if is_program(component, rest) or _is_by_what_runs(component, rest, running):
            return Program(tuple(starters), tuple(rest), in_shell)
        if (line := shell_line(rest)) is not None:
            if other := _other_in_shell(component, line):
                raise UnitError(_other_program(component, [other]))
            rest, in_shell = unwrap(rest), line
            continue
        is_known = _base(rest[0]) in STARTERS
        at = (
            _start_of_command(component, rest, running)
            if is_known
            else _end_of_starters(component, rest, running)
        )
        if not at:
            break
        starters += rest[:at]
        rest = rest[at:]
    raise UnitError(_other_program(component, rest))


def _other_in_shell(component: str, line: str) -> str:
    """Return the container engine or distribution that a shell line runs in place of the component; empty otherwise."""
    commands = _COMMAND.findall(line)
    if any(is_program(component, [command]) for command in commands):
        return ""
    return next((command for command in commands if _base(command) in CONTAINERS | DISTRIBUTIONS.keys()), "")


def _is_by_what_runs(component: str, words: Sequence[str], running: Sequence[str]) -> bool:
    """Return whether the first word has the component's name in it and is the process: a script would not be."""
    base = _base(words[0])
    return (
        component in base
        and words[0][0] != "-"
        and base not in CONTAINERS
        and list(running[:1]) == list(words[:1])
    )


def _start_of_command(component: str, words: Sequence[str], running: Sequence[str]) -> int:
    """Return where the command begins that a starter runs; 0 where none is seen.

    A word that is the process that runs is the most certain, then one with a path: ``systemd-cat -t kubelet
    /usr/bin/kubelet``.
    """
    later = [(at, words[at:]) for at in range(1, min(len(words), MOST_BEFORE)) if "=" not in words[at]]
    others = CONTAINERS | DISTRIBUTIONS.keys()
    end = next((at for at, rest in later if _base(rest[0]) in others), len(words))
    own = [(at, rest) for at, rest in later if at < end and _can_begin(component, rest)]
    starts = [
        *(at for at, rest in own if list(rest[:1]) == list(running[:1])),
        *(at for at, rest in own if "/" in rest[0]),
        *(at for at, _ in own),
        *(at for at, rest in later if at == end or re.fullmatch(r"(?=\S*/)\S*", rest[0])),
    ]
    return next(iter(starts), 0)


def _end_of_starters(component: str, words: Sequence[str], running: Sequence[str]) -> int:
    """Return where the command begins that an unknown program has become, by the process that runs; 0 otherwise."""
    if not running or _base(words[0]) in CONTAINERS | DISTRIBUTIONS.keys() | LAUNCHERS.keys():
        return 0
    places = (at for at in range(1, min(len(words), MOST_BEFORE)) if words[at] == running[0])
    return next((at for at in places if is_program(component, words[at:])), 0)


def _can_begin(component: str, words: Sequence[str]) -> bool:
    return is_program(component, words) or shell_line(words) is not None or _base(words[0]) in STARTERS


def _other_program(component: str, words: Sequence[str]) -> str:
    """Return the sentence about a command that is not the component: what it is, and the way out."""
    name = f"the {component}" if find_component(component).runs_pods else component
    first = words[0] if words else "nothing"
    if odd := _ODD_BLANK.search(first):
        return (
            f"the path of its program has the character U+{ord(odd[0]):04X}, which looks like a blank, and is "
            "another character for systemd: write a blank"
        )
    base = _base(first)
    other = "point services: of the inventory at the unit that does, or leave the step out (steps)"
    if base in DISTRIBUTIONS:
        return (
            f"its unit runs {base}, not {name}: {base} starts it with flags that are set {DISTRIBUTIONS[base]}. Set "
            "them there, and leave the step out (steps)"
        )
    if base in LAUNCHERS:
        return (
            f"its unit runs {base}, which starts another process, not {name}: {LAUNCHERS[base]}. Have the unit run the "
            f"binary itself, {other}"
        )
    if base == "kubelet-wrapper":
        return f"its unit runs kubelet-wrapper, which starts rkt, not {name}: have the unit run the binary, {other}"
    if base in CONTAINERS:
        return (
            f"its unit runs {base}, not {name}: the command of a container is not changed here. Have the unit run the "
            f"binary itself, {other}"
        )
    if base.startswith(HYPERKUBE):
        return f"its unit runs hyperkube, and not as {component}: {other}"
    script = shell_operand(words)[0] if _interprets(base) else ""
    if script or _SCRIPT.search(base):
        return (
            f"its unit runs the script {script or first}, not {name}: write the command that the script makes into "
            f"ExecStart=, {other}"
        )
    return f"its unit runs {first}, which is not {name}: have the unit run the binary itself, {other}"


def _interprets(base: str) -> bool:
    return base in SHELLS or _INTERPRETER.fullmatch(base) is not None
