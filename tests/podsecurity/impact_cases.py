"""The folders of ``fixtures/impact``: API objects in, tables out.

``python tests/podsecurity/impact_cases.py`` writes the tables anew; look at the diff before you commit it.
"""

from __future__ import annotations

from pathlib import Path

import yaml
from tabulate import tabulate

from kubeharden.podsecurity import Authorization, workloads
from kubeharden.resources import RESOURCES

CASES = Path(__file__).parents[1] / "fixtures" / "impact"
FOLDERS = sorted(path for path in CASES.iterdir() if path.is_dir())


def objects_in(path: Path) -> dict[str, list[dict]]:
    """The objects of a file, by resource."""
    result: dict[str, list[dict]] = {}
    for item in yaml.safe_load_all(path.read_text()):
        result.setdefault(RESOURCES[item["kind"]].plural, []).append(item)
    return result


def who_makes_pods(folder: Path) -> str:
    """Every workload, as whom it makes pods, and which policies it may use."""
    objects = objects_in(folder / "objects.yaml")
    authorization = Authorization(objects)
    rows = []
    for w in workloads(objects):
        usable = frozenset().union(*(authorization.usable(asker, w.namespace) for asker in w.askers))
        row = (
            w.namespace,
            w.kind,
            w.name,
            w.identity,
            w.pods,
            "yes" if w.in_use else "no",
            ", ".join(sorted(usable)),
        )
        rows.append(row)
    headings = ("Namespace", "Kind", "Name", "As", "Pods", "In use", "May use")
    return tabulate(rows, headers=headings, disable_numparse=True) + "\n"


if __name__ == "__main__":
    for case in FOLDERS:
        (case / "workloads.txt").write_text(who_makes_pods(case))
