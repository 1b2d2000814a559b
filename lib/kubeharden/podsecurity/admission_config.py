"""Private. The API server's AdmissionConfiguration: what holds for namespaces without labels of their own. Pure.

The file of ``--admission-control-config-file`` is for all admission plugins together; only PodSecurity's part is ours.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import yaml

from kubeharden.errors import MigrationRefusedError
from kubeharden.podsecurity.levels import MODES, stricter_or_same
from kubeharden.podsecurity.pss.standards import LEVELS
from kubeharden.releases import Release, feature, features_of

PLUGIN = "PodSecurity"
PATH = "/etc/kubernetes/admission.yaml"
# k8s.io/apiserver/pkg/apis/apiserver: v1 of the outer file is accepted from 1.17 on.
OUTER_VERSION = "apiserver.config.k8s.io/v1"
OUTER_KIND, INNER_KIND = "AdmissionConfiguration", "PodSecurityConfiguration"
GROUP = "pod-security.admission.config.k8s.io"


def inner_version(release: Release) -> str:
    """Return the newest apiVersion of PodSecurity's configuration that a release accepts.

    Raises:
        MigrationRefusedError: the release does not have Pod Security Admission.
    """
    accepted = inner_versions(release)
    if not accepted:
        came = feature("Pod Security Admission").alpha
        raise MigrationRefusedError(
            f"Kubernetes {release} has no Pod Security Admission; it came with {came}"
        )
    return accepted[-1]


def inner_versions(release: Release) -> list[str]:
    """Return the apiVersions of PodSecurity's configuration that a release accepts, the oldest first."""
    rows = features_of(f"{GROUP}/").items()
    return [f"{GROUP}/{version}" for version, row in rows if row.in_release(release)]


def with_defaults_set(
    release: Release, existing: Mapping[str, Any] | None, wanted: Mapping[str, str], version: str
) -> dict[str, Any]:
    """Return the file's content with these defaults for namespaces without labels.

    Other plugins, exemptions, and defaults that are stricter than wanted stay as they are.

    Args:
        existing: what the file says now; None without one.
        wanted: a level for each of enforce, audit and warn.
        version: what the levels are pinned to, ``v1.25``.

    Raises:
        MigrationRefusedError: this cannot be put into the existing file.
    """
    content = copy.deepcopy(dict(existing)) if existing else {"apiVersion": OUTER_VERSION, "kind": OUTER_KIND}
    if content.get("kind") != OUTER_KIND:
        raise MigrationRefusedError(
            f"it is not an {OUTER_KIND}, but {content.get('kind')!r}; mend it by hand first"
        )
    plugins = [*(content.get("plugins") or ())]
    index = next((i for i, plugin in enumerate(plugins) if plugin.get("name") == PLUGIN), None)
    own: dict[str, Any] = plugins[index] if index is not None else {"name": PLUGIN}
    if own.get("path"):
        raise MigrationRefusedError(
            f"it keeps {PLUGIN}'s part in another file, {own['path']}, which is not read here; "
            "move that into its key configuration, or leave pod-security out of the steps"
        )
    before = own.get("configuration") or {}
    part = {
        **before,
        "apiVersion": _newest(before.get("apiVersion"), release),
        "kind": INNER_KIND,
        "defaults": _defaults(before.get("defaults") or {}, wanted, version),
        "exemptions": before.get("exemptions") or {"usernames": [], "runtimeClasses": [], "namespaces": []},
    }
    if index is None:
        plugins.append({**own, "configuration": part})
    else:
        plugins[index] = {**own, "configuration": part}
    return {**content, "plugins": plugins}


def render_config(content: Mapping[str, Any]) -> str:
    """Return the file's text."""
    return yaml.safe_dump(dict(content), sort_keys=False, default_flow_style=False)


def _newest(present: str | None, release: Release) -> str:
    """Return the apiVersion to write: one that is there stays as long as the release accepts it."""
    newest = inner_version(release)
    return present if present in inner_versions(release) else newest


def _defaults(before: Mapping[str, str], wanted: Mapping[str, str], version: str) -> dict[str, str]:
    result = dict(before)
    for mode in MODES:
        have = before.get(mode, LEVELS[0])
        if have == wanted[mode] or not stricter_or_same(have, wanted[mode]):
            result |= {mode: wanted[mode], f"{mode}-version": version}
    return result
