"""Facts in, result out: for every folder of ``fixtures/migration``, the very file and the very command line.

In a folder ``<component>/<name>-<release>`` are the unit with its drop-ins (``unit/``) and, by their absolute paths,
the environment files and config files that there are (``root/``); ``migrate.yaml`` has arguments of ``migrate`` that
are not the usual ones. ``expected.yaml`` and ``expected.conf`` are what comes of it.

``python tests/components/test_fixtures.py`` writes the expected side anew, and the units that use every flag there
is. Read the diff against the facts before you commit it: a wrong expectation is worse than none.
"""

from __future__ import annotations

import dataclasses
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))  # as a script, too

from flag_values import flag_value
from kubeharden import migrate
from kubeharden.components.settings import Migration, Setting
from kubeharden.components.units import Unit
from kubeharden.errors import KubehardenError
from kubeharden.facts import FileFact, ServiceFacts
from kubeharden.plan.service_files import config_target
from kubeharden.releases import release_table
from written_units import with_command

MIGRATION = Path(__file__).parents[1] / "fixtures" / "migration"
FOLDERS = sorted(path.parent for path in MIGRATION.glob("*/*/unit"))
SYSTEM = "/etc/systemd/system"
VERDICTS = ("moved", "kept", "dropped", "hardened", "refused", "defaults")

EVERY_FLAG = "every-flag"
EVERY_FLAG_RELEASES = ("1.10", "1.20", "1.28", "1.36")
# What cannot stand on one command line with all the others, and why.
LEFT_OUT = {
    "kubelet": {
        "--config": "there is no config file yet",
        "--config-dir": "is refused: what lies there is not read",
        "--dynamic-config-dir": "is refused: what lies there is not read",
        "--experimental-fail-swap-on": "another name of --fail-swap-on: the last of the two would win",
        "--experimental-kernel-memcg-notification": "another name of --kernel-memcg-notification",
        "--help": "shows the flags and exits",
        "--version": "shows the version and exits",
    },
    "kube-proxy": {
        "--cleanup": "is refused: a mode that cleans up and exits",
        "--config": "there is no config file yet",
        "--healthz-port": "says again what --healthz-bind-address says",
        "--help": "shows the flags and exits",
        "--init-only": "is refused: a mode that sets up and exits",
        "--metrics-port": "says again what --metrics-bind-address says",
        "--version": "shows the version and exits",
        "--write-config-to": "is refused: a mode that writes a file and exits",
    },
    "kube-scheduler": {
        "--algorithm-provider": "is refused: must be rewritten as profiles by hand",
        "--config": "there is no config file yet",
        "--hard-pod-affinity-symmetric-weight": "is refused: must be rewritten as profiles by hand",
        "--help": "shows the flags and exits",
        "--lock-object-name": "another name of --leader-elect-resource-name",
        "--lock-object-namespace": "another name of --leader-elect-resource-namespace",
        "--policy-config-file": "contradicts --algorithm-provider",
        "--policy-configmap": "contradicts --algorithm-provider",
        "--policy-configmap-namespace": "contradicts --algorithm-provider",
        "--use-legacy-policy-config": "contradicts --algorithm-provider",
        "--version": "shows the version and exits",
        "--write-config-to": "is refused: a mode that writes a file and exits",
    },
}
# Before these releases they can stand there: v1alpha1 has fields for them, and there is no other name.
LEFT_OUT_SINCE = {
    "--algorithm-provider": "1.18",
    "--hard-pod-affinity-symmetric-weight": "1.18",
    "--lock-object-name": "1.20",
    "--lock-object-namespace": "1.20",
}


def left_out(component: str, release: str) -> dict[str, str]:
    """Flags of the release that its every-flag folder does not use, and why."""
    table = release_table(component, release)
    return {
        name: why
        for name, why in LEFT_OUT[component].items()
        if table.flag(name) and not table.release.older_than(LEFT_OUT_SINCE.get(name, "1.10"))
    }


def label(folder: Path) -> str:
    return f"{folder.parent.name}/{folder.name}"


def service_of(folder: Path) -> ServiceFacts:
    """The folder as the observe script would have answered."""
    component, release = folder.parent.name, folder.name.rpartition("-")[2]
    units = {
        f"{SYSTEM}/{path.relative_to(folder / 'unit')}": path
        for path in sorted((folder / "unit").rglob("*"))
        if path.is_file()
    }
    fragment = f"{SYSTEM}/{component}.service"
    others = {f"/{path.relative_to(folder / 'root')}": path for path in (folder / "root").rglob("*")}
    files = {path: file.read_text() for path, file in {**units, **others}.items() if file.is_file()}
    return ServiceFacts(
        name=component,
        show={"FragmentPath": fragment, "DropInPaths": " ".join(sorted(units.keys() - {fragment}))},
        files={path: FileFact(path, "644", "root", "root", text) for path, text in files.items()},
        version=f"v{release}.0",
    )


def migrated(folder: Path) -> Migration:
    """What ``decide`` does with a service, without the rest of the cluster."""
    service = service_of(folder)
    argv = service.unit_argv()
    named, config = service.config(argv)
    path = named or config_target(service)
    return migrate(service.name, service.release, argv, config, config_path=path, **arguments(folder))


def arguments(folder: Path) -> dict[str, Any]:
    """What the folder wants of ``migrate`` besides: a profile, fields, a target release."""
    given = folder / "migrate.yaml"
    return yaml.safe_load(given.read_text()) if given.exists() else {}


def row(setting: Setting) -> dict[str, Any]:
    """A setting without what it has not."""
    known = dataclasses.asdict(setting)
    return {key: value for key, value in known.items() if key == "value" or value not in ("", None)}


def result_of(folder: Path) -> tuple[dict[str, Any], str | None]:
    """The two expected files: verdicts and command line, and the config file's text; no text if it is refused."""
    try:
        made = migrated(folder)
    except KubehardenError as error:
        return {"error": str(error)}, None
    verdicts = {verdict: [row(s) for s in getattr(made, verdict)] for verdict in VERDICTS}
    result = {verdict: found for verdict, found in verdicts.items() if found}
    return (result, None) if made.refused else ({"argv": made.argv, **result}, made.yaml)


@pytest.mark.parametrize("folder", FOLDERS, ids=label)
def test_the_result_is_the_expected_one(folder: Path) -> None:
    result, text = result_of(folder)
    conf = folder / "expected.conf"
    assert result == yaml.safe_load((folder / "expected.yaml").read_text())
    assert text == (conf.read_text() if conf.exists() else None)


@pytest.mark.parametrize("folder", [f for f in FOLDERS if (f / "expected.conf").exists()], ids=label)
def test_the_result_has_nothing_left_to_migrate(folder: Path) -> None:
    """What a run leaves behind is what the next run wants: the same file, the same command."""
    before = migrated(folder)
    config = yaml.safe_load((folder / "expected.conf").read_text())
    again = migrate(before.component, before.release, before.argv, config, **arguments(folder))
    assert not again.refused
    assert (again.yaml, again.argv) == (before.yaml, before.argv)


@pytest.mark.parametrize("component", LEFT_OUT)
@pytest.mark.parametrize("release", EVERY_FLAG_RELEASES)
def test_a_unit_uses_every_flag_that_there_is(component: str, release: str) -> None:
    folder = MIGRATION / component / f"{EVERY_FLAG}-{release}"
    assert (folder / "unit" / f"{component}.service").read_text() == every_flag_unit(component, release)
    result, text = result_of(folder)
    used = {name for verdict in VERDICTS for s in result.get(verdict, []) if (name := s.get("flag"))}
    known = release_table(component, release).flags.keys()
    assert used == known - left_out(component, release).keys()
    assert text


def every_flag_unit(component: str, release: str) -> str:
    table = release_table(component, release)
    flags = [f for name, f in sorted(table.flags.items()) if name not in left_out(component, release)]
    unit = Unit.parse(
        f"[Unit]\nDescription={component} with every flag of {release}\n\n[Service]\nExecStart=/bin/true\n"
    )
    return with_command(
        unit, [f"/usr/bin/{component}", *(f"{f.name}={flag_value(table, f)}" for f in flags)]
    ).text


def every_flag_readme(component: str, release: str) -> str:
    reasons = "".join(f"- `{name}`: {why}\n" for name, why in left_out(component, release).items())
    return (
        f"Every flag that {component} {release} has, each with a plausible value\n"
        f"(`tests/support/flag_values.py`). Made by `python tests/components/test_fixtures.py`. Left out:\n\n{reasons}"
    )


def write_every_flag(component: str, release: str) -> None:
    folder = MIGRATION / component / f"{EVERY_FLAG}-{release}"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "unit").mkdir(parents=True)
    (folder / "unit" / f"{component}.service").write_text(every_flag_unit(component, release))
    (folder / "README.md").write_text(every_flag_readme(component, release))
    (folder / "migrate.yaml").write_text("profile: none\n")


def write_expected(folder: Path) -> None:
    result, text = result_of(folder)
    dumped = yaml.safe_dump(result, sort_keys=False, allow_unicode=True, width=110)
    (folder / "expected.yaml").write_text(dumped)
    (folder / "expected.conf").unlink(missing_ok=True)
    if text is not None:
        (folder / "expected.conf").write_text(text)


if __name__ == "__main__":
    for each in LEFT_OUT:
        for covered in EVERY_FLAG_RELEASES:
            write_every_flag(each, covered)
    for path in sorted(path.parent for path in MIGRATION.glob("*/*/unit")):
        write_expected(path)
