"""What each Kubernetes release accepts: tables, and one way to look things up.

    table = release_table("kubelet", "v1.20.2")
    table.flag("--address").field            # 'address'
    table.field("tlsMinVersion").default     # ''
    table.api_version                        # 'kubelet.config.k8s.io/v1beta1'

The tables (``kubelet.yaml``, ``kube-proxy.yaml``, ``kube-scheduler.yaml``) are made from Kubernetes'
own sources by ``make_tables.py``; each names those sources. ``kube-apiserver.yaml`` and ``upgrades.yaml``
(what changes with an upgrade and is no flag and no field) are kept by hand and name theirs too, as does
``features.yaml``: what some releases have and others do not.
"""

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
    "Decoding",
    "Feature",
    "Field",
    "Flag",
    "Release",
    "ReleaseTable",
    "UpgradeRule",
    "admission_plugins",
    "feature",
    "features_of",
    "known_types",
    "release_table",
    "releases",
    "releases_with",
    "upgrade_rules",
]
