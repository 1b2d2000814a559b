"""From what a component runs with to the files that it should have: pure, no node and no API needed."""

from kubeharden.components.migration import Migration, Setting, migrate
from kubeharden.components.profile import Profile

__all__ = ["Migration", "Profile", "Setting", "migrate"]
