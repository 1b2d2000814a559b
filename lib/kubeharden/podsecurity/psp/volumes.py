"""Volumes: volumes, allowedHostPaths, allowedFlexVolumes and allowedCSIDrivers.

Sources: pkg/security/podsecuritypolicy/provider.go (``validatePodVolumes``) and
pkg/security/podsecuritypolicy/util/util.go (``GetVolumeFSType``, ``AllowsHostVolumePath``, ``hasPathPrefix``,
``IsOnlyServiceAccountTokenSources``).
"""

from __future__ import annotations

from kubeharden.kube.pods import containers
from kubeharden.podsecurity.psp.pod import Object
from kubeharden.podsecurity.psp.policy import VOLUME_TYPES, PolicySpec
from kubeharden.podsecurity.psp.wording import invalid

ANY = "*"


def volume_type(volume: Object) -> str:
    """Return what a policy calls the type of a volume; one without a source is an emptyDir (``SetDefaults_Volume``)."""
    return next((kind for field, kind in VOLUME_TYPES.items() if volume.get(field) is not None), "emptyDir")


def covers(prefix: str, path: str) -> bool:
    """Return whether a path is that one or below it: /foo covers /foo/bar and /foo/, but not /foobar."""
    path, prefix = path.removesuffix("/"), prefix.removesuffix("/")
    return path == prefix or path.startswith(f"{prefix}/")


def volume_refusals(spec: PolicySpec, pod: Object) -> list[str]:
    """Return why a pod may not have its volumes; an empty list of paths or drivers in the policy means any."""
    reasons = []
    for index, volume in enumerate(pod["spec"].get("volumes") or ()):
        path, kind = f"spec.volumes[{index}]", volume_type(volume)
        if not _allows(spec, kind, volume):
            reasons.append(invalid(path, kind, f"{kind} volumes are not allowed to be used"))
        elif kind == "hostPath":
            reasons += _host_path_refusals(spec, pod, path, volume)
        elif kind == "flexVolume":
            drivers = [allowed.driver for allowed in spec.flex_volumes]
            words = "Flexvolume driver is not allowed to be used"
            reasons += _driver_refusals(f"{path}.driver", volume[kind], drivers, words)
        elif kind == "csi":
            drivers = [allowed.name for allowed in spec.csi_drivers]
            words = "Inline CSI driver is not allowed to be used"
            reasons += _driver_refusals(f"{path}.csi.driver", volume[kind], drivers, words)
    return reasons


def _allows(spec: PolicySpec, kind: str, volume: Object) -> bool:
    """Return whether a volume is allowed; a policy that allows secrets allows projected service account tokens."""
    return not {ANY, kind}.isdisjoint(spec.volumes) or (
        "secret" in spec.volumes and kind == "projected" and only_token(volume["projected"])
    )


def _host_path_refusals(spec: PolicySpec, pod: Object, path: str, volume: Object) -> list[str]:
    host_path = volume["hostPath"].get("path") or ""
    covering = [allowed for allowed in spec.host_paths if covers(allowed.path_prefix, host_path)]
    if spec.host_paths and not covering:
        return [invalid(f"{path}.hostPath.pathPrefix", host_path, "is not allowed to be used")]
    if not covering or not all(allowed.read_only for allowed in covering):
        return []
    return [
        invalid(f"{where}.volumeMounts[{index}].readOnly", value=False, detail="must be read-only")
        for where, container in containers(pod)
        for index, mount in enumerate(container.get("volumeMounts") or ())
        if mount.get("name") == volume.get("name") and not mount.get("readOnly")
    ]


def _driver_refusals(path: str, source: Object, allowed: list[str], words: str) -> list[str]:
    driver = source.get("driver") or ""
    return [invalid(path, driver, words)] if allowed and driver not in allowed else []


def only_token(projected: Object) -> bool:
    """Return whether a projected volume holds nothing but what the ServiceAccount plugin puts into one."""
    return all(map(_of_token, projected.get("sources") or ()))


def _of_token(source: Object) -> bool:
    token, config_map, downward = (
        source.get(key) for key in ("serviceAccountToken", "configMap", "downwardAPI")
    )
    if token is None and config_map is None and downward is None:
        return False
    if token is not None and (token.get("path") != "token" or token.get("audience")):
        return False
    if config_map is not None and config_map.get("name") != "kube-root-ca.crt":
        return False
    return downward is None or all(map(_of_namespace, downward.get("items") or ()))


def _of_namespace(item: Object) -> bool:
    ref = item.get("fieldRef")
    return (
        item.get("path") == "namespace"
        and ref is not None
        and (ref.get("apiVersion") or "v1") == "v1"
        and ref.get("fieldPath") == "metadata.namespace"
    )
