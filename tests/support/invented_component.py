"""Look at a node that runs kube-router, plan for it, and print what came of it; see ``test_invented_component``.

It runs with a copy of the library in which a row, a table and a profile say what kube-router is.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

from kubeharden.edges.nodes.session import script_text
from kubeharden.edges.nodes.transaction import archive
from kubeharden.facts import ClusterFacts, Facts, observation_request, parse_observation
from kubeharden.inputs.parameters import Parameters
from kubeharden.plan.decide import make_plan
from kubeharden.plan.steps import names
from kubeharden.podsecurity.policies import read_policies
from kubeharden.releases import LAST
from kubeharden.show.views import facts_view, plan_view, releases_view, step_view

UNIT = """[Service]
ExecStart=/usr/bin/kube-router --cluster-cidr=10.1.0.0/16 --kubeconfig=/etc/kubernetes/router.kubeconfig
"""
SYSTEMCTL = """#!/bin/sh
case $* in
--version) echo systemd 255 ;;
*) for word in "$@"; do
  case $word in
  kube-router.service) printf '%s\\n' LoadState=loaded ActiveState=active SubState=running MainPID=42 \\
    FragmentPath=/etc/systemd/system/kube-router.service '' ;;
  *.service) printf '%s\\n' LoadState=not-found '' ;;
  esac
done ;;
esac
"""
COMMANDS = {
    "systemctl": SYSTEMCTL,
    "journalctl": "#!/bin/sh\n",
    "curl": """#!/bin/sh
case $* in *http://127.0.0.1:20244/configz) echo '{"router": {"clusterCIDR": "10.1.0.0/16", "profiling": true}}' ;; esac
""",
    "id": '#!/bin/sh\n[ "$*" != "-Gn router" ] || echo router\n',
}


def observe(root: Path) -> str:
    """The answer of the observe script on this machine, with a node's files below ``root``."""
    files = {
        "etc/systemd/system/kube-router.service": UNIT,
        "etc/kubernetes/router.kubeconfig": "users: []\n",
        "usr/bin/kube-router": "#!/bin/sh\necho Kubernetes v1.20.2\n",
        "proc/42/cmdline": UNIT.partition("ExecStart=")[2].strip().replace(" ", "\0") + "\0",
        **{f"bin/{name}": text for name, text in COMMANDS.items()},
    }
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    done = subprocess.run(
        ["/bin/sh", "-c", script_text("observe"), "observe", *observation_request()],
        env={**os.environ, "KUBEHARDEN_ROOT": str(root), "PATH": f"{root}/bin:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def main(root: Path, policies: Path) -> None:
    node = parse_observation("k8s-node1", False, observe(root))
    facts = Facts((node,), ClusterFacts("v1.20.2", "admin", {}, "test"))
    parameters = Parameters(steps=("kube-router",), cluster_cidr="10.2.0.0/16")
    plan = make_plan(facts, parameters, read_policies(policies))
    [change] = plan.node_changes
    with tarfile.open(fileobj=io.BytesIO(archive(change, "r1", "me", 1, 2, "#"))) as sent:
        argv = sent.extractfile("argv").read().decode().splitlines()
    views = facts_view(facts), plan_view(plan), step_view(plan, "kube-router"), releases_view(facts, (), LAST)
    result = {
        "request": observation_request(),
        "groups": node.groups,
        "effective": node.effective_config("kube-router"),
        "steps": names(),
        "files": {f.path: f"{f.mode} {f.owner}\n{f.after}" for f in change.files},
        "refused": [str(remark) for remark in plan.refused],
        "remarks": [str(remark) for remark in plan.remarks],
        "argv": argv,
        "shown": [str(view) for view in views],
    }
    sys.stdout.write(json.dumps(result))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
