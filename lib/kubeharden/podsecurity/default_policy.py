"""Private. The policy for everybody else: what an ordinary workload may use once the admission plugin is on.

The article's two policies cover what the article runs. A pod of anybody else may use none, and is refused; so a cluster
needs a third, weaker than nothing and much stronger than ``privileged``, that everybody who is logged in may use.
"""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

from kubeharden.errors import ParameterError
from kubeharden.inputs.parameter_types import NONE, STRENGTHS
from kubeharden.kube.names import AUTHENTICATED, PSP_API_VERSION, RBAC_GROUP
from kubeharden.podsecurity.policies import binding_object, role_object
from kubeharden.releases import FIRST, Release, features_of
from kubeharden.releases.files import read


def default_policies(release: str | Release | None = None) -> dict[str, dict[str, Any]]:
    """Return the PodSecurityPolicy of each strength, the strictest first, as ``default-policies.yaml`` has it.

    The API server tries policies by name, those that fill nothing in first: these names come after most, so that a
    workload with a policy of its own keeps it.

    Args:
        release: of the API server: types of volumes that it does not know are left out, because it would refuse the
            whole policy. None leaves out what any release does not know.

    Raises:
        UnknownReleaseError: the release is not known.
    """
    of_server = FIRST if release is None else Release.parse(release)
    volumes, written = features_of("PodSecurityPolicy.volumes."), _read_policies()
    unknown = {kind for kind, row in volumes.items() if not row.in_release(of_server)}
    return {strength: _policy(strength, written[strength], unknown) for strength in STRENGTHS}


def _policy(strength: str, written: dict[str, Any], unknown: set[str]) -> dict[str, Any]:
    spec = copy.deepcopy(written["spec"])
    spec["volumes"] = [kind for kind in spec["volumes"] if kind not in unknown]
    return {
        "apiVersion": PSP_API_VERSION,
        "kind": "PodSecurityPolicy",
        "metadata": {"name": f"unprivileged-{strength}", **copy.deepcopy(written["metadata"])},
        "spec": spec,
    }


@cache
def _read_policies() -> dict[str, Any]:
    content: dict[str, Any] = read("default-policies", __package__)
    return content


def default_policy_objects(strength: str, release: str | Release | None = None) -> list[dict[str, Any]]:
    """Return a policy of a strength, a ClusterRole that lets it be used, and its binding to everybody; or nothing."""
    if strength == NONE:
        return []
    if strength not in STRENGTHS:
        raise ParameterError(f"default_policy: {strength!r} is not one of {', '.join((*STRENGTHS, NONE))}")
    policy = default_policies(release)[strength]
    name = policy["metadata"]["name"]
    everybody = {"apiGroup": RBAC_GROUP, "kind": "Group", "name": AUTHENTICATED}
    return [policy, role_object(name), binding_object(name, "authenticated", everybody)]
