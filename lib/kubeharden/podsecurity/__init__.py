"""Pod security: the policies and who may use them, as data and as API objects. Pure."""

from kubeharden.podsecurity.authorization import usable_policies
from kubeharden.podsecurity.policies import PolicySet, policy_objects, read_policies
from kubeharden.podsecurity.workloads import Workload, uncovered, workloads

__all__ = [
    "PolicySet",
    "Workload",
    "policy_objects",
    "read_policies",
    "uncovered",
    "usable_policies",
    "workloads",
]
