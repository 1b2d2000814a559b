"""The folders of ``fixtures/impact``: API objects in, tables out.

``python tests/support/impact_cases.py`` writes the tables anew; look at the diff before you commit it.
"""

from __future__ import annotations

from pathlib import Path

import yaml
from tabulate import tabulate

from kubeharden.kube.rbac import Authorization
from kubeharden.kube.resources import RESOURCES
from kubeharden.kube.workloads import workloads
from kubeharden.podsecurity.default_policy import default_policies
from kubeharden.podsecurity.impact import WorkloadVerdict, psp_impact, pss_impact
from kubeharden.releases import Release
from kubeharden.releases.files import LOADER

CASES = Path(__file__).parents[1] / "fixtures" / "impact"
FOLDERS = sorted(path for path in CASES.iterdir() if path.is_dir())


def objects_in(path: Path) -> dict[str, list[dict]]:
    """The objects of a file, by resource."""
    result: dict[str, list[dict]] = {}
    for item in yaml.load_all(path.read_text(), Loader=LOADER):
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


def what_would_become_of_them(folder: Path) -> str:
    """Every workload under the folder's policies, or under its levels where it has some."""
    objects = objects_in(folder / "objects.yaml")
    if (folder / "levels.yaml").exists():
        levels = yaml.safe_load((folder / "levels.yaml").read_text())
        judged = pss_impact(objects, levels["levels"], levels["version"])
    else:
        judged = psp_impact(objects, Release.parse("1.20"), default_policies("1.20"))
    rows = [(str(j), _fate(j), "\n".join(j.reasons or j.filled_in), j.smallest_change) for j in judged]
    headings = ("Workload", "", "Why refused, or what is filled in", "Smallest change")
    return tabulate(rows, headers=headings, disable_numparse=True) + "\n"


def _fate(judged: WorkloadVerdict) -> str:
    return f"by {judged.policy}" if judged.admitted else "BREAKS" if judged.breaks else "refused"


if __name__ == "__main__":
    for case in FOLDERS:
        (case / "workloads.txt").write_text(who_makes_pods(case))
        (case / "impact.txt").write_text(what_would_become_of_them(case))
