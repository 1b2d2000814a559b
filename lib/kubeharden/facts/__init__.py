"""Private. Facts: the state of nodes and API as it was read, as plain data. Pure."""

from kubeharden.facts.model import (
    ClusterFacts,
    ConfigMapPorts,
    Facts,
    FileFact,
    NodeFacts,
    OpenChange,
    ServiceFacts,
    read_config,
)
from kubeharden.facts.parser import observation_request, parse_observation

__all__ = [
    "ClusterFacts",
    "ConfigMapPorts",
    "Facts",
    "FileFact",
    "NodeFacts",
    "OpenChange",
    "ServiceFacts",
    "observation_request",
    "parse_observation",
    "read_config",
]
