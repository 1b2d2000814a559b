"""Take the facts about a release of Kubernetes and make the tables anew.

    python -m release_facts.release v1.38.0 [--work FOLDER] [--components NAME ...]

Builds what it needs below the folder (a gigabyte and a quarter of an hour on two cores for a release that was never
built here; seconds when it was). Needs Go.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import yaml

from release_facts import tables
from release_facts.condense import condense
from release_facts.experiment import COMPONENTS, facts
from release_facts.files import FACTS, minor_of, read, write

CACHE = Path.home() / ".cache" / "kubeharden-releases"


def main() -> None:
    """Write the facts about one release."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("release", help="such as v1.38.0")
    parser.add_argument(
        "--work", type=Path, default=CACHE, help="where it is built, a folder for each release"
    )
    parser.add_argument("--components", nargs="+", choices=COMPONENTS, default=COMPONENTS)
    options = parser.parse_args()
    release: str = options.release
    found = facts(release, options.work / release, options.components)
    record(release, found)
    tables.main()


def record(release: str, found: dict[str, Any], folder: Path = FACTS) -> None:
    """Write what an experiment found about a release, beside what the release's file says of other components."""
    minor = minor_of(release)
    path = folder / f"1.{minor}.yaml"
    own = read(path)["components"] if path.exists() else {}
    before = own or read(folder / f"1.{minor - 1}.yaml")["components"]
    standards = _standards()
    made = {name: condense(found[name], before[name], standards.get(name, "")) for name in found}
    components = {name: {**own.get(name, {}), **made.get(name, {})} for name in COMPONENTS}
    missing = [name for name, each in components.items() if not each]
    if missing:
        sys.exit(f"there are no facts yet about {', '.join(missing)} in {release}: leave --components out")
    parts = "" if len(found) == len(COMPONENTS) else f" on {', '.join(found)}; sources"
    write(path, {"release": release, "source": f"experiment{parts}", "components": components})


def _standards() -> dict[str, str]:
    rows = yaml.safe_load((tables.TABLES / "components.yaml").read_text())
    return {row["name"]: row.get("config", {}).get("deprecation", "") for row in rows}


if __name__ == "__main__":
    main()
