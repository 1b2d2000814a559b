"""Pod security: the policies, who may use them, and what they and the Standards say of a pod. Pure."""

from kubeharden.podsecurity.authorization import Authorization, Identity, usable_policies
from kubeharden.podsecurity.default_policy import default_policies, default_policy_objects
from kubeharden.podsecurity.policies import PolicySet, policy_objects, read_policies
from kubeharden.podsecurity.psp import PreparedPolicies, PspDecision, evaluate_psp, prepare_psps
from kubeharden.podsecurity.psp_least import least_privileged_policy
from kubeharden.podsecurity.standards import Violation, evaluate_pss, smallest_change
from kubeharden.podsecurity.workloads import Workload, static_pod_namespaces, uncovered, workloads

__all__ = [
    "Authorization",
    "Identity",
    "PolicySet",
    "PreparedPolicies",
    "PspDecision",
    "Violation",
    "Workload",
    "default_policies",
    "default_policy_objects",
    "evaluate_psp",
    "evaluate_pss",
    "least_privileged_policy",
    "policy_objects",
    "prepare_psps",
    "read_policies",
    "smallest_change",
    "static_pod_namespaces",
    "uncovered",
    "usable_policies",
    "workloads",
]
