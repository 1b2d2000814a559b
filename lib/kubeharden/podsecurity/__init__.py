"""Pod security: policies, what they and the Pod Security Standards say of a pod, and levels of namespaces. Pure."""

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
    "Impact",
    "Judged",
    "PolicySet",
    "PreparedPolicies",
    "PspDecision",
    "Violation",
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
]
