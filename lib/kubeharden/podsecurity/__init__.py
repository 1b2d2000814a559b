"""Pod security: the policies and who may use them, as data and as API objects. Pure."""

from kubeharden.podsecurity.authorization import Authorization, Identity, usable_policies
from kubeharden.podsecurity.policies import PolicySet, policy_objects, read_policies
from kubeharden.podsecurity.psp import PreparedPolicies, PspDecision, evaluate_psp, prepare_psps
from kubeharden.podsecurity.workloads import Workload, static_pod_namespaces, uncovered, workloads

__all__ = [
    "Authorization",
    "Identity",
    "PolicySet",
    "PreparedPolicies",
    "PspDecision",
    "Workload",
    "evaluate_psp",
    "policy_objects",
    "prepare_psps",
    "read_policies",
    "static_pod_namespaces",
    "uncovered",
    "usable_policies",
    "workloads",
]
