"""A pod as admission sees it when it is made from a template: with what the API server puts in first, and no more.

Sources: plugin/pkg/admission/serviceaccount/admission.go (the account, and its token as a volume; the plugin comes
before PodSecurityPolicy and PodSecurity in the order of pkg/kubeapiserver/options/plugins.go);
the feature gate BoundServiceAccountTokenVolume makes that volume a projected one.
"""

from __future__ import annotations

import re
from typing import Any

from kubeharden.kube.manifests import Object, annotations_of
from kubeharden.kube.names import LIMIT_RANGER_ANNOTATION, PSP_ANNOTATION
from kubeharden.kube.pods import TEMPLATE_LISTS, service_account_of
from kubeharden.releases import Release, feature

TOKEN_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105 - where a token is, not what it is
# The names that the plugin gives to the volume: up to 1.20 that of the account's secret. The ending means nothing.
PROJECTED_NAME = re.compile(r"kube-api-access-[a-z0-9]{5}")
ONE_PROJECTED_NAME = "kube-api-access-00000"
# What admission wrote on a pod that runs: a pod made anew does not have it.
_WRITTEN = (PSP_ANNOTATION, LIMIT_RANGER_ANNOTATION)
_TOKEN_SOURCES: list[dict[str, Any]] = [
    {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
    {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
    {
        "downwardAPI": {
            "items": [
                {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
            ]
        }
    },
]


def as_created(template: Object, namespace: str, account: Object | None, release: Release) -> dict[str, Any]:
    """Return the pod that a template makes, or that a running pod was made from, when the admission plugins look at it.

    Its ServiceAccount, which is None where it is not known, may say that no token is to be mounted.
    """
    pod = without_token(template)
    spec, metadata = dict(pod.get("spec") or {}), dict(pod.get("metadata") or {})
    notes = {k: v for k, v in annotations_of(pod).items() if k not in _WRITTEN}
    name = service_account_of(pod)
    spec["serviceAccountName"] = name
    if _mounts_token(spec, account) and any(map(_lacks_token, _containers(spec))):
        volume, mount = _token(name, release)
        spec["volumes"] = [*(spec.get("volumes") or ()), volume]
        for key in TEMPLATE_LISTS:
            if spec.get(key):
                spec[key] = [_with_mount(container, mount) for container in spec[key]]
    metadata = {"namespace": namespace, "labels": metadata.get("labels") or {}, "annotations": notes}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def without_token(pod: Object) -> Object:
    """Return a pod without the volume that the ServiceAccount plugin put in; the same object if there is none."""
    spec = pod.get("spec") or {}
    secret_name = re.compile(rf"{re.escape(service_account_of(pod))}-token-[a-z0-9]{{5}}")
    names = {v["name"] for v in spec.get("volumes") or () if _is_token(v, secret_name)}
    if not names:
        return pod
    changed = {"volumes": [v for v in spec["volumes"] if v["name"] not in names]}
    changed |= {
        key: [_without_mounts(c, names) for c in spec[key]] for key in TEMPLATE_LISTS if spec.get(key)
    }
    return {**pod, "spec": {**spec, **changed}}


def _is_token(volume: Object, secret_name: re.Pattern[str]) -> bool:
    name = volume.get("name", "")
    if "secret" in volume:
        return bool(secret_name.fullmatch(name)) and volume["secret"].get("secretName") == name
    return "projected" in volume and bool(PROJECTED_NAME.fullmatch(name))


def _without_mounts(container: Object, names: set[str]) -> Object:
    mounts = [mount for mount in container.get("volumeMounts") or () if mount.get("name") not in names]
    rest = {key: value for key, value in container.items() if key != "volumeMounts"}
    return {**rest, "volumeMounts": mounts} if mounts else rest


def _mounts_token(spec: Object, account: Object | None) -> bool:
    wanted = spec.get("automountServiceAccountToken")
    if wanted is None:
        wanted = (account or {}).get("automountServiceAccountToken")
    return wanted is not False


def _containers(spec: Object) -> list[Object]:
    return [container for key in TEMPLATE_LISTS for container in spec.get(key) or ()]


def _lacks_token(container: Object) -> bool:
    return all(mount.get("mountPath") != TOKEN_PATH for mount in container.get("volumeMounts") or ())


def _with_mount(container: Object, mount: Object) -> Object:
    if not _lacks_token(container):
        return container
    return {**container, "volumeMounts": [*(container.get("volumeMounts") or ()), mount]}


def _token(account: str, release: Release) -> tuple[dict[str, Any], dict[str, Any]]:
    if feature("projected service account tokens").in_release(release):
        name = ONE_PROJECTED_NAME
        volume: dict[str, Any] = {
            "name": name,
            "projected": {"defaultMode": 420, "sources": _TOKEN_SOURCES},
        }
    else:
        name = f"{account}-token-00000"
        volume = {"name": name, "secret": {"secretName": name}}
    return volume, {"name": name, "mountPath": TOKEN_PATH, "readOnly": True}
