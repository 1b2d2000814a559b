"""The words that kubeharden writes itself: they are never withheld, even where a secret is spelled like one. Pure."""

from __future__ import annotations

from kubeharden.components.profile import Profile
from kubeharden.kube.names import POD_SECURITY_LABEL
from kubeharden.kube.resources import RESOURCES
from kubeharden.podsecurity.admission_config import GROUP, INNER_KIND, OUTER_KIND, OUTER_VERSION, PLUGIN
from kubeharden.podsecurity.levels import MODES
from kubeharden.podsecurity.pss.standards import LEVELS
from kubeharden.redaction import Secrets


def own_words() -> frozenset[str]:
    """Return the kinds and versions of objects, labels and levels of pod security, and the values of all profiles."""
    words = Secrets()
    for word in (OUTER_VERSION, OUTER_KIND, INNER_KIND, PLUGIN, GROUP, POD_SECURITY_LABEL, *MODES, *LEVELS):
        words.allow(word)
    for resource in RESOURCES.values():
        for word in (resource.kind, *resource.api_versions):
            words.allow(word)
    for profile in map(Profile.load, Profile.names()):
        for component in profile.components.values():
            for value in component.require.values():
                words.allow(str(value))
    return frozenset(words.harmless)
