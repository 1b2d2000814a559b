"""What was seen on the nodes and in the API: plain data. Pure."""

from kubeharden.facts.model import (
    SERVICES,
    ClusterFacts,
    Facts,
    FileFact,
    NodeFacts,
    ServiceFacts,
    read_config,
)
from kubeharden.facts.parser import parse_observation

__all__ = [
    "SERVICES",
    "ClusterFacts",
    "Facts",
    "FileFact",
    "NodeFacts",
    "ServiceFacts",
    "parse_observation",
    "read_config",
]
