"""What was seen on the nodes and in the API: plain data. Pure."""

from kubeharden.facts.model import (
    ClusterFacts,
    Facts,
    FileFact,
    NodeFacts,
    ServiceFacts,
    read_config,
)
from kubeharden.facts.parser import observation_request, parse_observation

__all__ = [
    "ClusterFacts",
    "Facts",
    "FileFact",
    "NodeFacts",
    "ServiceFacts",
    "observation_request",
    "parse_observation",
    "read_config",
]
