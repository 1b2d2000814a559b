"""Tables of what each Kubernetes release accepts, and one way to look things up.

    table = release_table("kubelet", "v1.20.2")
    table.flag("--address").field            # 'address'
    table.field("tlsMinVersion").default     # ''
    table.api_version                        # 'kubelet.config.k8s.io/v1beta1'

The tables (``kubelet.yaml``, ``kube-proxy.yaml``, ``kube-scheduler.yaml``) are made from Kubernetes'
own sources by ``tools/make_tables.py``; each names those sources. Kept by hand are ``components.yaml`` (what holds of a
component in all releases), ``kube-apiserver.yaml``, ``upgrades.yaml`` (what changes with an upgrade and is neither a
flag nor a field) and ``features.yaml`` (what some releases have and others do not); they name theirs too.
"""

from kubeharden.releases.components import (
    Component,
    ConfigFile,
    api_server,
    find_component,
    known_components,
)
from kubeharden.releases.features import Feature, feature, features_of, releases_with
from kubeharden.releases.release import FIRST, LAST, Release, releases
from kubeharden.releases.tables import (
    AdmissionPlugins,
    Decoding,
    Field,
    Flag,
    ReleaseTable,
    admission_plugins,
    known_types,
    release_table,
)
from kubeharden.releases.upgrades import UpgradeRule, upgrade_rules

__all__ = [
    "FIRST",
    "LAST",
    "AdmissionPlugins",
    "Component",
    "ConfigFile",
    "Decoding",
    "Feature",
    "Field",
    "Flag",
    "Release",
    "ReleaseTable",
    "UpgradeRule",
    "admission_plugins",
    "api_server",
    "feature",
    "features_of",
    "find_component",
    "known_components",
    "known_types",
    "release_table",
    "releases",
    "releases_with",
    "upgrade_rules",
]
