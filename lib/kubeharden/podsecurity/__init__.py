"""Pod security: the policies, who may use them, and what they and the Standards say of a pod. Pure."""

from kubeharden.kube.rbac import Authorization, Identity, usable_policies
from kubeharden.kube.workloads import Workload, static_pod_namespaces, workloads
from kubeharden.podsecurity.default_policy import default_policies, default_policy_objects
from kubeharden.podsecurity.impact import (
    Impact,
    Judged,
    breaking,
    idle_names,
    proposals,
    psp_impact,
    pss_impact,
)
from kubeharden.podsecurity.policies import PolicySet, policy_objects, read_policies
from kubeharden.podsecurity.psp.evaluate import PreparedPolicies, PspDecision, evaluate_psp, prepare_psps
from kubeharden.podsecurity.psp.least import least_privileged_policy
from kubeharden.podsecurity.pss.standards import Violation, evaluate_pss, smallest_change

__all__ = [
    "Authorization",
    "Identity",
    "Impact",
    "Judged",
    "PolicySet",
    "PreparedPolicies",
    "PspDecision",
    "Violation",
    "Workload",
    "breaking",
    "default_policies",
    "default_policy_objects",
    "evaluate_psp",
    "evaluate_pss",
    "idle_names",
    "least_privileged_policy",
    "policy_objects",
    "prepare_psps",
    "proposals",
    "psp_impact",
    "pss_impact",
    "read_policies",
    "smallest_change",
    "static_pod_namespaces",
    "usable_policies",
    "workloads",
]
