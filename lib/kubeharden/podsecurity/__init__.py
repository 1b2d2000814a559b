"""Pod security: what policies and the Pod Security Standards say of a pod. Pure."""

from kubeharden.podsecurity.psp.evaluate import PreparedPolicies, PspDecision, evaluate_psp, prepare_psps
from kubeharden.podsecurity.psp.least import least_privileged_policy
from kubeharden.podsecurity.pss.standards import Violation, evaluate_pss, smallest_change

__all__ = [
    "PreparedPolicies",
    "PspDecision",
    "Violation",
    "evaluate_psp",
    "evaluate_pss",
    "least_privileged_policy",
    "prepare_psps",
    "smallest_change",
]
