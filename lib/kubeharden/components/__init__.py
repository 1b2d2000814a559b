"""Private. From what a component runs with to the files that it should have: pure, no node and no API needed."""

from kubeharden.components.differences import changed_fields
from kubeharden.components.migration import migrate
from kubeharden.components.profile import Profile
from kubeharden.components.readiness import Effect, Finding, readiness
from kubeharden.components.settings import Migration, Setting

__all__ = ["Effect", "Finding", "Migration", "Profile", "Setting", "changed_fields", "migrate", "readiness"]
