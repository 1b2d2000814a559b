"""Private. Tables of what each Kubernetes release accepts, and one way to look things up.

    table = release_table("kubelet", "v1.20.2")
    table.flag("--address").field            # 'address'
    table.field("tlsMinVersion").default     # ''
    table.api_version                        # 'kubelet.config.k8s.io/v1beta1'

Made by ``make tables`` from the facts about each release (tools/release_facts) are ``releases.yaml``,
``feature-gates.yaml`` and a table for each component. Kept by hand are ``components.yaml`` (what holds of a component
in all releases), ``upgrades.yaml`` (what changes with an upgrade and is neither a flag, a field nor a feature gate),
``gate-dependencies.yaml`` and ``features.yaml`` (what some releases have and others do not); they name their sources.

A release that is newer than the tables is looked up as the newest one: see ``Release.is_newer_than_tables``.
"""

from kubeharden.releases.components import (
    Component,
    ConfigFile,
    OwnPort,
    api_server,
    find_component,
    known_components,
)
from kubeharden.releases.features import Feature, feature, features_of, releases_with
from kubeharden.releases.gates import SWITCHES, Gate, feature_gates, gate_gone
from kubeharden.releases.release import FIRST, LAST, Release, releases
from kubeharden.releases.tables import (
    AdmissionPlugins,
    Decoding,
    Field,
    Flag,
    FlagTable,
    ReleaseTable,
    admission_plugins,
    flag_table,
    is_covered,
    known_types,
    release_table,
)
from kubeharden.releases.upgrades import UpgradeRule, upgrade_rules

__all__ = [
    "FIRST",
    "LAST",
    "SWITCHES",
    "AdmissionPlugins",
    "Component",
    "ConfigFile",
    "Decoding",
    "Feature",
    "Field",
    "Flag",
    "FlagTable",
    "Gate",
    "OwnPort",
    "Release",
    "ReleaseTable",
    "UpgradeRule",
    "admission_plugins",
    "api_server",
    "feature",
    "feature_gates",
    "features_of",
    "find_component",
    "flag_table",
    "gate_gone",
    "is_covered",
    "known_components",
    "known_types",
    "release_table",
    "releases",
    "releases_with",
    "upgrade_rules",
]
