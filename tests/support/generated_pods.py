"""Pods that nobody thought of: strategies for hypothesis, of fields that the Pod Security Standards look at.

Values are taken from what the rules tell apart and from what they do not, so that every check is met both ways.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from kubeharden.podsecurity.pss.baseline import CAPABILITIES, SYSCTLS_1_37
from kubeharden.podsecurity.pss.restricted import VOLUMES

_FLAG = st.sampled_from([True, False, None])
_OTHER_VOLUMES = ("hostPath", "nfs", "gitRepo", "flexVolume")


def _some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """An object with any of these fields."""
    return st.fixed_dictionaries({}, optional=fields)


def _profiles() -> st.SearchStrategy[Any]:
    kinds = st.sampled_from(["RuntimeDefault", "Localhost", "Unconfined"])
    return st.one_of(st.none(), st.just({}), st.fixed_dictionaries({"type": kinds}))


def _capabilities() -> st.SearchStrategy[Any]:
    names = st.lists(st.sampled_from([*CAPABILITIES, "NET_RAW", "SYS_ADMIN", "ALL"]), max_size=2)
    return st.one_of(st.none(), _some(add=names, drop=st.sampled_from([[], ["ALL"], ["NET_RAW"]])))


def _selinux() -> st.SearchStrategy[Any]:
    types = st.sampled_from(["", "container_t", "container_engine_t", "spc_t"])
    return st.one_of(st.none(), _some(type=types, user=st.sampled_from(["", "u"]), level=st.just("s0:c1")))


_SHARED = {
    "runAsNonRoot": _FLAG,
    "runAsUser": st.sampled_from([0, 1000, None]),
    "seccompProfile": _profiles(),
    "appArmorProfile": _profiles(),
    "seLinuxOptions": _selinux(),
    "windowsOptions": st.one_of(st.none(), _some(hostProcess=_FLAG)),
}
_CONTAINER_SECURITY = _some(
    **_SHARED,
    privileged=_FLAG,
    allowPrivilegeEscalation=_FLAG,
    capabilities=_capabilities(),
    procMount=st.sampled_from(["Default", "Unmasked", None]),
)
_SYSCTL = st.sampled_from([*SYSCTLS_1_37, "kernel.msgmax"]).map(lambda name: {"name": name, "value": "1"})
_POD_SECURITY = _some(**_SHARED, sysctls=st.lists(_SYSCTL, max_size=2))
_ACTION = _some(host=st.sampled_from(["", "example.com"]), port=st.just(80))
_PROBE = _some(httpGet=_ACTION, tcpSocket=_ACTION)
_PORTS = st.lists(_some(hostPort=st.sampled_from([0, 80]), containerPort=st.just(80)), max_size=2)


def _containers(prefix: str, least: int) -> st.SearchStrategy[list[dict[str, Any]]]:
    fields = _some(
        securityContext=_CONTAINER_SECURITY,
        ports=_PORTS,
        livenessProbe=_PROBE,
        lifecycle=_some(preStop=_PROBE),
    )
    return st.lists(fields, min_size=least, max_size=2).map(
        lambda found: [{"name": f"{prefix}{i}", "image": "web"} | fields for i, fields in enumerate(found)]
    )


def _volumes() -> st.SearchStrategy[list[dict[str, Any]]]:
    kinds = st.lists(st.sampled_from([*VOLUMES, *_OTHER_VOLUMES]), max_size=3)
    return kinds.map(lambda found: [{"name": f"v{i}", kind: {}} for i, kind in enumerate(found)])


def pods() -> st.SearchStrategy[dict[str, Any]]:
    """Pod objects with one or two containers, and all that may be right or wrong with them."""
    keys = (
        "container.apparmor.security.beta.kubernetes.io/web0",
        "container.seccomp.security.alpha.kubernetes.io/web0",
        "seccomp.security.alpha.kubernetes.io/pod",
    )
    values = st.sampled_from(["runtime/default", "localhost/web", "unconfined"])
    spec = st.fixed_dictionaries(
        {"containers": _containers("web", 1)},
        optional={
            "initContainers": _containers("setup", 0),
            "ephemeralContainers": _containers("debug", 0),
            "securityContext": st.one_of(st.none(), _POD_SECURITY),
            "volumes": _volumes(),
            "hostNetwork": _FLAG,
            "hostPID": _FLAG,
            "hostUsers": _FLAG,
            "os": st.sampled_from([None, {"name": "linux"}, {"name": "windows"}]),
        },
    )
    metadata = st.fixed_dictionaries(
        {"name": st.just("web"), "namespace": st.just("shop")},
        optional={"annotations": st.dictionaries(st.sampled_from(keys), values, max_size=2)},
    )
    return st.fixed_dictionaries(
        {"apiVersion": st.just("v1"), "kind": st.just("Pod"), "metadata": metadata, "spec": spec}
    )


def near_pods(base: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """The base with a few fields of a generated pod: near enough to be admitted often."""
    return st.tuples(pods(), st.sets(st.sampled_from(range(8)), max_size=2)).map(
        lambda two: _mixed(base, *two)
    )


def _mixed(base: dict[str, Any], other: dict[str, Any], which: set[int]) -> dict[str, Any]:
    spec, [container] = dict(base["spec"]), base["spec"]["containers"]
    metadata = dict(base["metadata"])
    taken = ["volumes", "hostUsers", "hostNetwork", "os", "securityContext"]
    for key in [key for i, key in enumerate(taken) if i in which and key in other["spec"]]:
        spec[key] = other["spec"][key]
    theirs = other["spec"]["containers"][0]
    if 5 in which and theirs.get("securityContext"):
        security = container.get("securityContext", {}) | theirs["securityContext"]
        spec["containers"] = [container | {"securityContext": security}]
    if 6 in which:
        spec["initContainers"] = [container | {"name": "setup", "ports": theirs.get("ports", [])}]
    if 7 in which:
        metadata["annotations"] = other["metadata"].get("annotations", {})
    return {"metadata": metadata, "spec": spec}


def json_like(keys: list[str]) -> st.SearchStrategy[Any]:
    """Anything that JSON can say, with keys that mean something to the rules."""
    leaves = st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=3)
    )
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(keys), inner, max_size=5)
        ),
        max_leaves=25,
    )
