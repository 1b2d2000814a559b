"""What the programs of each release say of their flags, as they said it: tests/releases/usage, a file for each release.

usage_records.py FOLDER ...    asks the programs in FOLDER/usr/bin, a folder such as kubernetes-1.37.2
"""

from __future__ import annotations

import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import yaml

from help_text import DEPRECATED, Help, ask
from release_facts.experiment import COMPONENTS
from usage_text import Shown

RECORDS = Path(__file__).parents[1] / "releases" / "usage"


def write(folder: Path) -> None:
    """Ask the programs of a release, and keep the answers with the digests of the programs."""
    release = folder.name.removeprefix("kubernetes-")
    content: dict[str, Any] = {"release": release, "programs": {}}
    for name in COMPONENTS:
        program = folder / "usr" / "bin" / name
        said = ask(program, release)
        content["programs"][name] = {
            "sha256": sha256(program.read_bytes()).hexdigest(),
            "shown": {flag: _row(shown) for flag, shown in sorted(said.shown.items())},
            "hidden": said.hidden,
        }
    text = yaml.safe_dump(content, sort_keys=False, width=120, default_flow_style=None)
    (RECORDS / f"{release.rpartition('.')[0]}.yaml").write_text(text)


def read(path: Path) -> list[Help]:
    """What was kept of a release, a program each."""
    content = yaml.load(path.read_text(), yaml.CSafeLoader)
    return [
        Help(
            name,
            content["release"],
            {flag: _shown(*row) for flag, row in said["shown"].items()},
            said["hidden"],
        )
        for name, said in content["programs"].items()
    ]


def _row(shown: Shown) -> list[str]:
    row = [shown.type, shown.default or "", DEPRECATED if shown.deprecated else ""]
    while row and not row[-1]:
        row.pop()
    return row


def _shown(kind: str, default: str = "", deprecated: str = "") -> Shown:
    return Shown(kind, default or None, deprecated or None)


if __name__ == "__main__":
    for word in sys.argv[1:]:
        write(Path(word))
