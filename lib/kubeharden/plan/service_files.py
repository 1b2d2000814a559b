"""Changes to the files of one service, and whether the service has read the files that it has. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kubeharden.components import Migration, paths, units
from kubeharden.components.edit import is_json
from kubeharden.components.flags import free_path, split_flags
from kubeharden.components.mismatches import mismatches
from kubeharden.components.programs import arguments
from kubeharden.errors import UnitError
from kubeharden.facts import NodeFacts, ServiceFacts, read_config
from kubeharden.formats import end_of_document
from kubeharden.plan.model import FileChange
from kubeharden.podsecurity.admission_config import PATH as ADMISSION_CONFIG
from kubeharden.releases import features_of, release_table
from kubeharden.releases.components import ROOT
from kubeharden.releases.tables import config_file

DROP_IN = "50-kubeharden.conf"
LAST_DROP_IN = "zz-kubeharden.conf"  # where the command stands in a drop-in that is read after the other name
# The values of Restart= that bring back a component that ends when its config file changes, with this exit status.
BRINGS_BACK, EXIT_STATUS = ("always", "on-failure"), "1"
# Directives that say otherwise of an exit status, in the order in which systemd asks them (service_shall_restart).
PREVENT, FORCE, SUCCESS = "RestartPreventExitStatus", "RestartForceExitStatus", "SuccessExitStatus"
# The values that there are (systemd.service(5)); another one is not read.
RESTARTS = (*BRINGS_BACK, "no", "on-success", "on-abnormal", "on-watchdog", "on-abort")
# Places that nobody edits by hand, and what makes the files in them.
MADE_ELSEWHERE = {
    "/nix/store/": "NixOS makes it from its configuration: set it there (services.kubernetes), and leave the step out",
    "/gnu/store/": "Guix makes it from its configuration: set it there, and leave the step out",
    "/snap/": "it belongs to a snap, which is read-only: set it with snap set, and leave the step out",
    "/run/": "it goes with the next boot: have what makes it say it, or name a file in /etc (--config)",
    "/tmp/": "it may go with the next boot: name a file in /etc (--config)",  # noqa: S108 - a place that others use
    "/usr/": "it belongs to a package: name a file in /etc (--config)",
    "/lib/": "it belongs to a package: name a file in /etc (--config)",
}
LOCAL = "/usr/local/"
TRANSIENT = (
    "/run/systemd/transient/"  # of units without a file: systemd-run, and others that ask systemd by D-Bus
)
# Directives that show a service other files than those of its node.
ROOTS, COVERS = (
    ("RootDirectory", "RootImage"),
    (
        "BindPaths",
        "BindReadOnlyPaths",
        "InaccessiblePaths",
        "TemporaryFileSystem",
    ),
)
# Directives of commands that run before the service, programs of theirs that copy, and such as write no content.
BEFORE = ("ExecCondition", "ExecStartPre")
COPIERS = ("cp", "mv", "install", "rsync", "tar")
READERS = ("test", "[", "ls", "cat", "stat", "grep", "chmod", "chown", "chcon", "restorecon")
# kubeadm's, and what says that it is there (cmd/krel/templates/latest/kubeadm/10-kubeadm.conf).
KUBEADM_CONFIG, KUBEADM_FLAGS = "/var/lib/kubelet/config.yaml", "/var/lib/kubelet/kubeadm-flags.env"
# A line of YAML that says something: neither blank, nor a comment, nor the mark of a document.
_CONTENT = re.compile(r"(?m)^(?!(?:---|\.\.\.)?[ \t]*(?:#.*)?\r?$).")
# Units here belong to packages or to nobody: an update or a reboot takes an edit away again.
FOREIGN_UNITS = ("/lib/", "/usr/lib/", "/run/")


def own_places(service: ServiceFacts) -> frozenset[str]:
    """Return the paths of the files that kubeharden adds to a service, and so the only ones that it may remove."""
    component = service.component
    admission = {ADMISSION_CONFIG} if component.serves_api else set()
    drop_ins = {f"{_drop_ins(service)}/{name}" for name in (DROP_IN, LAST_DROP_IN)}
    return frozenset({component.config_path, component.other_config_path, *drop_ins, *admission})


def config_target(service: ServiceFacts) -> str:
    """Return where to put the config file: the article's place, unless something else lives there, or is to.

    kubeadm keeps the kubelet's kubeconfig at /etc/kubernetes/kubelet.conf.

    Raises:
        UnitError: its command line cannot be read.
    """
    table = release_table(service.name, service.release)
    path = free_path(service.component, split_flags(arguments(service.name, service.unit_argv()), table))
    file = service.files.get(path)
    if file is not None:
        try:
            kind = read_config(file).get("kind")
        except UnitError:
            kind = None
        if kind != table.kind:
            return service.component.other_config_path
    return path


def unit_changes(
    service: ServiceFacts, argv: list[str], wanted: list[str], settings: Mapping[str, str]
) -> Iterable[FileChange]:
    """Yield the change of the unit file that holds the command, if there is one to make.

    Args:
        argv: the command that its unit files say now.
        wanted: the command that they must say.
        settings: directives of ``[Service]`` to set besides.
    """
    path = service.service.command_file()
    if wanted == argv and set(settings.values()) <= {ROOT}:
        return  # systemd runs a service as root anyway
    if path.startswith(FOREIGN_UNITS):
        yield _drop_in(service, wanted if wanted != argv else None, settings)
        return
    fact = service.files[path]
    unit = units.Unit.parse(fact.content)
    if wanted != argv:
        unit = unit.with_line(service.exec_start(wanted))
    for key in reversed(list(settings)):  # each goes first in its section, so the last one set stands first
        unit = unit.with_service_setting(key, settings[key])
    if unit.text != fact.content:
        yield FileChange(path, fact, unit.text, fact.mode, fact.owner, fact.group)


def _drop_in(service: ServiceFacts, wanted: list[str] | None, settings: Mapping[str, str]) -> FileChange:
    """Return a drop-in of our own for a unit that is not the operator's; without a command where that stays."""
    path = _drop_in_path(service)
    unit = units.Unit.parse("[Service]\n" + "".join(f"{key}={value}\n" for key, value in settings.items()))
    if wanted is not None:
        text = f"{unit.text}ExecStart=\nExecStart=/bin/true\n"
        unit = units.Unit.parse(text).with_line(service.exec_start(wanted))
    return FileChange(path, service.files.get(path), unit.text, "644", "root", "root")


def _drop_in_path(service: ServiceFacts) -> str:
    folder, _, name = service.service.command_file().rpartition("/")
    is_later = folder.endswith(".service.d") and name > DROP_IN
    return f"{_drop_ins(service)}/{LAST_DROP_IN if is_later else DROP_IN}"


def _drop_ins(service: ServiceFacts) -> str:
    return f"/etc/systemd/system/{service.unit}.service.d"


def config_changes(
    service: ServiceFacts, path: str, config: Mapping[str, Any] | None, migration: Migration
) -> Iterable[FileChange]:
    """Yield the change of the config file, if there is one to make."""
    fields = release_table(service.name, service.release).fields
    if config is not None and _content(config, fields) == _content(migration.config, fields):
        return  # the file says all that it should, in whatever words
    fact = service.files.get(path)
    if fact is not None and fact.content == migration.yaml:
        return
    mode = config_file(service.name).mode
    mode, owner, group = (fact.mode, fact.owner, fact.group) if fact else (mode, "root", "root")
    yield FileChange(path, fact, migration.yaml, mode, owner, group)


def _content(config: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    return dict(paths.leaves(paths.without_nulls(config), fields))


def ends_by_itself(service: ServiceFacts) -> str:
    """Return what a service may do once the config file that it runs with is another one; empty for nothing."""
    watches = features_of("watches its config file: ").get(service.name)
    if watches is None or not watches.in_release(service.release):
        return ""
    values = service.service.values
    restart = next((each for each in reversed(values("Service", "Restart")) if each in RESTARTS), "no")
    starts, exception = restart in BRINGS_BACK, _exception(service)
    if exception:
        starts = exception == FORCE or (exception == SUCCESS and restart in ("always", "on-success"))
        restart = f"{restart} and {exception}={EXIT_STATUS}"
    then = "systemd starts it" if starts else "it stays down until this run has restarted it"
    return (
        "it watches its config file and may end by itself once that is exchanged, before any restart; with "
        f"Restart={restart}, {then}"
    )


def _exception(service: ServiceFacts) -> str:
    """Return the directive that says something of its exit status; empty without one. The first of them counts."""
    values = service.service.values
    named = (
        each for each in (PREVENT, FORCE, SUCCESS) if EXIT_STATUS in " ".join(values("Service", each)).split()
    )
    return next(named, "")


def transience(service: ServiceFacts) -> str:
    """Return why a service that was started without a unit file cannot be restarted; empty for another one."""
    if not service.show.get("FragmentPath", "").startswith(TRANSIENT):
        return ""
    return (
        "its unit is transient (systemd-run): it is gone once the service stops, and at the next boot. Write it as a "
        f"file, /etc/systemd/system/{service.unit}.service, start that in its place, and look again"
    )


def hindrance(service: ServiceFacts, files: Iterable[FileChange]) -> str:
    """Return why files cannot be changed here: something else makes them, or the service does not see them."""
    paths = [file.path for file in files]
    if not paths:
        return ""
    program = service.unit_argv()[0]
    for place, why in MADE_ELSEWHERE.items():
        stores = [program] if "store" in place or "snap" in place else []
        fixed = [path for path in (*paths, *stores) if path.startswith(place) and not path.startswith(LOCAL)]
        if fixed:
            return f"{fixed[0]} cannot be changed: {why}"
    values = service.service.values
    if root := next((each for each in ROOTS if any(v not in ("", "/") for v in values("Service", each))), ""):
        return f"its unit has {root}=: it sees other files than those of the node. Take it out, or set it by hand"
    read = [path for path in paths if not path.startswith("/etc/systemd/")]
    for directive in COVERS:
        for place in (place for value in values("Service", directive) for place in value.split()):
            first, _, second = place.lstrip("-+").partition(":")
            covered = second.partition(":")[0] if directive.startswith("Bind") else first
            hidden = [path for path in read if covered and path.startswith(f"{covered.rstrip('/')}/")]
            if hidden:
                return (
                    f"its unit has {directive}={place}: it sees another file than {hidden[0]}. Set it by hand"
                )
    return ""


def environment_files(service: ServiceFacts) -> list[str]:
    """Return the paths of the environment files that its unit names."""
    return [value.removeprefix("-") for value in service.service.values("Service", "EnvironmentFile")]


def made_at_start(service: ServiceFacts, path: str) -> str:
    """Return the directive with a command that may write a file each time that the service starts; empty for none."""
    named = re.compile(rf"{re.escape(path)}(?![\w./-])")
    for directive, value in ((each, v) for each in BEFORE for v in service.service.values("Service", each)):
        words = value.lstrip("-+!@:|").split()
        program = words[0].rpartition("/")[2] if words else ""
        is_copied = program in COPIERS and path.rpartition("/")[0] in (word.rstrip("/") for word in words)
        if is_copied or (named.search(value) and program not in READERS):
            return directive
    return ""


def written_anew(service: ServiceFacts, path: str) -> str:
    """Return who writes a config file anew later, as it was before; empty where nobody is known to."""
    if directive := made_at_start(service, path):
        return (
            f"its unit has {directive}= with {path} in it: a command that writes the file does so at each start, as it "
            "was before. Change what it writes as well"
        )
    if path != KUBEADM_CONFIG or KUBEADM_FLAGS not in environment_files(service):
        return ""
    return (
        f"kubeadm upgrade writes {path} anew, by the ConfigMap kubelet-config in kube-system "
        "(kubelet-config-RELEASE before 1.24): change that as well"
    )


def comments_go(path: str, lines: Iterable[int]) -> str:
    """Return the sentence about comments of people that a file does not have once it is written; empty for none."""
    where = ", ".join(map(str, lines))
    return where and f"comments in {path} go with what they stand in or beside, in line {where}: see the diff"


def other_documents(service: ServiceFacts, path: str) -> str:
    """Return what is to be said of a config file that goes on after its first document; empty for another file."""
    fact = service.files.get(path)
    if fact is None or is_json(fact.content):
        return ""
    text = str(fact.content)
    end = end_of_document(text, path, UnitError)
    if not _CONTENT.search(text, end):
        return ""
    line = text.count("\n", 0, end) + 1
    return (
        f"{path} has more than one document: {service.name} reads the first one alone, and what stands from line "
        f"{line} on is not in effect"
    )


def pending_restart(node: NodeFacts, service: ServiceFacts, argv: Sequence[str]) -> str:
    """Return why a service whose files are as they should be must still be restarted; empty where it need not.

    Derived from what runs, never from what this run has changed: a run that was cut off between the files
    and the restart is finished by the next one.
    """
    if not service.running:
        return "it is not running"
    if service.needs_reload:
        return "systemd has not read its unit since it was changed"
    if service.running_argv != list(argv):
        return "it runs with another command line than its unit says"
    pending = pending_fields(node, service)
    return f"it has not read its config file: {', '.join(pending)}" if pending else ""


def pending_fields(node: NodeFacts, service: ServiceFacts) -> tuple[str, ...]:
    """Return the fields of the config file that a service runs with, but has not read since they were changed."""
    effective = node.effective_config(service.name)
    if effective is None or service.component.config is None:
        return ()
    _, config = service.config(list(service.cmdline))
    if config is None:
        return ()
    table = release_table(service.name, service.release)
    return tuple(path for path, _, _ in mismatches(table, config, effective, service.cmdline))


def unreadable(node: NodeFacts, service: ServiceFacts, migration: Migration) -> str:
    """Return why a service cannot run as its own user on this node; empty when it can."""
    user = service.component.own_user
    if user not in node.groups:
        return f"the node has no user {user}"
    if user not in node.groups[user]:
        return f"the node has no group {user} that the user is in"
    if not service.credentials:
        return "which files it needs cannot be told from here"
    flag_files = [
        word.partition("=")[2] for word in migration.argv if "=/" in word and "--config=" not in word
    ]
    # A config file that is made new can be read by everybody; one that is there keeps its mode.
    config_files = [path for path in (service.config(service.unit_argv())[0],) if path]
    for path in dict.fromkeys([*service.credentials, *flag_files, *config_files]):
        problem = _cannot_read(node, user, path)
        if problem:
            return problem
    return ""


def _cannot_read(node: NodeFacts, user: str, path: str) -> str:
    known = node.modes.get(path)
    if known is None:
        return f"whether {user} can read {path} cannot be told from here"
    folders = [folder for folder in node.modes if path.startswith(f"{folder}/")]
    for place, need in [*((folder, 0o1) for folder in folders), (path, 0o4)]:
        mode, owner, group = node.modes[place]
        shift = 6 if owner == user else 3 if group in node.groups[user] else 0
        if not mode >> shift & need:
            return f"{user} cannot read {path} ({owner}:{group} {mode:o} on {place})"
    return ""
