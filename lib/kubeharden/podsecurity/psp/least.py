"""The least that a PodSecurityPolicy must grant so that it admits given pods and changes nothing about them.

A policy cannot say everything: a host path is granted with all that is below it; where some pods have a seccomp or
AppArmor profile and others have none, every profile has to be allowed; and "no group" is written as the group of
nobody, since a list of groups may not be empty.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from kubeharden.errors import ParameterError
from kubeharden.kube.names import APPARMOR_ALLOWED, PSP_API_VERSION, SECCOMP_ALLOWED
from kubeharden.kube.pods import containers
from kubeharden.podsecurity.psp.capabilities import ANY as ANY_CAPABILITY
from kubeharden.podsecurity.psp.pod import Object, check_pod, context, effective, with_defaults
from kubeharden.podsecurity.psp.policy import read_policy
from kubeharden.podsecurity.psp.profiles import (
    DEFAULT_NAMES,
    app_armor_profile,
    container_profile,
    pod_profile,
)
from kubeharden.podsecurity.psp.selinux import label_refusals
from kubeharden.podsecurity.psp.sysctls import safe_sysctls
from kubeharden.podsecurity.psp.volumes import covers, only_token, volume_type
from kubeharden.releases import Release, feature, features_of

_NOBODY = 65534
_ANY: dict[str, Any] = {"rule": "RunAsAny"}

Placed = tuple[Object, Object]  # a container, and the pod that it is in


def least_privileged_policy(
    pods: Iterable[Object], *, name: str = "least-privileged", release: str | Release = "1.20"
) -> Object:
    """Return the PodSecurityPolicy that admits these pods as they are, and as little else as a policy can say.

    A pod whose seccomp profile is a field alone is admitted too, and gets the annotation that says the same: every
    policy does that.

    Args:
        pods: Pods as the server shows them, or anything with metadata and spec. They stay as they are.
        name: the policy's name.
        release: of the API server; it decides which fields there are.

    Raises:
        ParameterError: there are no pods, or one is malformed.
        UnknownReleaseError: the release is not known.
    """
    server, complete = Release.parse(release), []
    for pod in pods:
        check_pod(pod)
        complete.append(with_defaults(pod))
    if not complete:
        raise ParameterError("pods: there are none; a policy is made from pods that run")
    placed = [(container, pod) for pod in complete for _, container in containers(pod)]
    spec = {**_spec(complete, placed, server), **_volumes(complete, server)}
    annotations = _annotations(complete, placed, server)
    fields = features_of("PodSecurityPolicy.spec.")
    unknown = {key for key, row in fields.items() if not row.in_release(server)}
    policy: Object = {
        "apiVersion": PSP_API_VERSION,
        "kind": "PodSecurityPolicy",
        "metadata": {"name": name, **({"annotations": annotations} if annotations else {})},
        "spec": {key: value for key, value in spec.items() if key not in unknown},
    }
    read_policy(policy)  # a path or a driver without a name is in no pod that a server took
    return policy


def _spec(pods: Sequence[Object], placed: Sequence[Placed], server: Release) -> Object:
    contexts = [context(container) for container, _ in placed]
    pod_contexts = [context(pod["spec"]) for pod in pods]
    spec: Object = {
        "privileged": any(fields.get("privileged") for fields in contexts),
        "allowPrivilegeEscalation": not all(
            fields.get("allowPrivilegeEscalation") is False for fields in contexts
        ),
        **{
            key: True
            for key in ("hostNetwork", "hostPID", "hostIPC")
            if any(pod["spec"].get(key) for pod in pods)
        },
    }
    if all(fields.get("readOnlyRootFilesystem") for fields in contexts):
        spec["readOnlyRootFilesystem"] = True
    if ports := {
        port["hostPort"] for c, _ in placed for port in c.get("ports") or () if port.get("hostPort")
    }:
        spec["hostPorts"] = _ranges(ports)
    spec |= _capabilities(contexts) | _sysctls(pod_contexts, server)
    spec["seLinux"] = _labels(pod_contexts, placed)
    spec["runAsUser"] = _users(placed)
    groups = [_value_of(pair, "runAsGroup") for pair in placed]
    spec["runAsGroup"] = _groups([[] if group is None else [group] for group in groups], server)
    spec["supplementalGroups"] = _groups([c.get("supplementalGroups") or [] for c in pod_contexts], server)
    fs_groups = [fields.get("fsGroup") for fields in pod_contexts]
    spec["fsGroup"] = _groups([[] if group is None else [group] for group in fs_groups], server)
    if (mounts := {fields.get("procMount") or "Default" for fields in contexts}) - {"Default"}:
        spec["allowedProcMountTypes"] = sorted(mounts)
    classes = {
        pod["spec"]["runtimeClassName"] for pod in pods if pod["spec"].get("runtimeClassName") is not None
    }
    spec["runtimeClass"] = {"allowedRuntimeClassNames": sorted(classes)}
    return spec


def _value_of(placed: Placed, key: str) -> Any:
    container, pod = placed
    return effective(context(pod["spec"]), context(container), key)


def _ranges(numbers: Iterable[int]) -> list[Object]:
    """Return the fewest ranges with these numbers and no others."""
    ranges: list[Object] = []
    for number in sorted(set(numbers)):
        if ranges and ranges[-1]["max"] == number - 1:
            ranges[-1]["max"] = number
        else:
            ranges.append({"min": number, "max": number})
    return ranges


def _capabilities(contexts: Sequence[Object]) -> Object:
    """Return what is added; and what every container drops has to be dropped, unless one adds it, too."""
    lists = [fields.get("capabilities") or {} for fields in contexts]
    added = {name for fields in lists for name in fields.get("add") or ()}
    dropped = [set(fields.get("drop") or ()) for fields in lists]
    required = set.intersection(*dropped) - added if dropped and ANY_CAPABILITY not in added else set()
    result = {"allowedCapabilities": sorted(added), "requiredDropCapabilities": sorted(required)}
    return {key: names for key, names in result.items() if names}


def _sysctls(pod_contexts: Sequence[Object], server: Release) -> Object:
    """Return what is set; the safe ones, which need no grant, are forbidden where no pod sets them."""
    used = {
        sysctl["name"]
        for fields in pod_contexts
        for sysctl in fields.get("sysctls") or ()
        if sysctl.get("name")
    }
    if not used:
        return {"forbiddenSysctls": ["*"]}
    safe = safe_sysctls(server)
    result = {"allowedUnsafeSysctls": sorted(used - safe), "forbiddenSysctls": sorted(safe - used)}
    return {key: names for key, names in result.items() if names}


def _labels(pod_contexts: Sequence[Object], placed: Sequence[Placed]) -> Object:
    """Return one label, if all have it: a pod without one would be given it."""
    options = pod_contexts[0].get("seLinuxOptions")
    labels = [fields.get("seLinuxOptions") for fields in pod_contexts]
    if options is None or None in labels:
        return _ANY
    labels += [_value_of(pair, "seLinuxOptions") for pair in placed]
    if any(label_refusals("", options, label) for label in labels):
        return _ANY
    return {"rule": "MustRunAs", "seLinuxOptions": {key: part for key, part in options.items() if part}}


def _users(placed: Sequence[Placed]) -> Object:
    users = [_value_of(pair, "runAsUser") for pair in placed]
    if users and None not in users:
        return {"rule": "MustRunAs", "ranges": _ranges(users)}
    non_root = [_value_of(pair, "runAsNonRoot") for pair in placed]
    if (
        users
        and all(
            flag or (flag is None and user is not None) for flag, user in zip(non_root, users, strict=True)
        )
        and 0 not in users
    ):
        return {"rule": "MustRunAsNonRoot"}
    return _ANY


def _groups(used: Sequence[list[int]], server: Release) -> Object:
    """Return the groups that must be named where each names some, and may be named where one does not."""
    numbers = {number for groups in used for number in groups}
    if used and all(used):
        return {"rule": "MustRunAs", "ranges": _ranges(numbers)}
    if not feature("PodSecurityPolicy MayRunAs").in_release(server):
        return _ANY
    return {"rule": "MayRunAs", "ranges": _ranges(numbers or {_NOBODY})}


def _volumes(pods: Sequence[Object], server: Release) -> Object:
    volumes = [(pod, volume) for pod in pods for volume in pod["spec"].get("volumes") or ()]
    by_type: dict[str, list[Object]] = {}
    for _, volume in volumes:
        by_type.setdefault(volume_type(volume), []).append(volume)
    kinds = set(by_type)
    if "secret" in kinds and all(only_token(volume["projected"]) for volume in by_type.get("projected", ())):
        kinds.discard("projected")  # what the token needs, a policy that allows secrets allows anyway
    spec: Object = {"volumes": sorted(kinds)}
    if "hostPath" in kinds:
        spec["allowedHostPaths"] = _host_paths(volumes, server)
    for kind, key, naming in (
        ("flexVolume", "allowedFlexVolumes", "driver"),
        ("csi", "allowedCSIDrivers", "name"),
    ):
        if kind in kinds:
            drivers = {volume[kind].get("driver") or "" for volume in by_type[kind]}
            spec[key] = [{naming: driver} for driver in sorted(drivers)]
    return spec


def _host_paths(volumes: Iterable[tuple[Object, Object]], server: Release) -> list[Object]:
    """Return the paths, without those that another covers; for reading only where nobody mounts one to write."""
    read_only = feature("PodSecurityPolicy allowedHostPaths.readOnly").in_release(server)
    paths = {
        (_trim(volume["hostPath"].get("path") or ""), read_only and _only_read(pod, volume))
        for pod, volume in volumes
        if volume_type(volume) == "hostPath"
    }
    needed = sorted(
        (path, is_read)
        for path, is_read in paths
        if not any(
            (other, other_read) != (path, is_read) and covers(other, path) and (is_read or not other_read)
            for other, other_read in paths
        )
    )
    return [{"pathPrefix": path, **({"readOnly": True} if is_read else {})} for path, is_read in needed]


def _trim(path: str) -> str:
    return path.removesuffix("/") or path


def _only_read(pod: Object, volume: Object) -> bool:
    return all(
        mount.get("readOnly")
        for _, container in containers(pod)
        for mount in container.get("volumeMounts") or ()
        if mount.get("name") == volume.get("name")
    )


def _annotations(pods: Sequence[Object], placed: Sequence[Placed], server: Release) -> dict[str, str]:
    """Return the profiles. Without a list no seccomp profile may be set, but any AppArmor profile."""
    seccomp = {pod_profile(pod) for pod in pods} | {container_profile(pod, item) for item, pod in placed}
    if feature("seccomp field of pods").in_release(server) and seccomp >= DEFAULT_NAMES:
        seccomp.discard("docker/default")  # either name allows the other
    app_armor = {app_armor_profile(pod, container) for container, pod in placed}
    result = {}
    if seccomp != {""}:
        result[SECCOMP_ALLOWED] = ",".join(sorted(seccomp)) if _can_be_listed(seccomp) else "*"
    if _can_be_listed(app_armor):
        result[APPARMOR_ALLOWED] = ",".join(sorted(app_armor))
    return result


def _can_be_listed(profiles: Iterable[str]) -> bool:
    """Return whether a list with commas can say this: it has no word for "none", and no way to quote a comma."""
    return all(profile and "," not in profile for profile in profiles)
