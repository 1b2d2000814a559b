"""A step of a run: its name, its place in the order, its part of a plan, and the rights that it needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kubeharden.inputs.parameters import Parameters
from kubeharden.plan.draft import Draft
from kubeharden.podsecurity.policies import PolicySet

# The step of both kinds of admission: plan/steps/pod_security.py makes it of psp.py, psa.py and breakage.py.
POD_SECURITY = "pod-security"


@dataclass(frozen=True)
class Right:
    """The right to use a verb of the Kubernetes API on a kind.

    Attributes:
        kind: with a subresource where there is one: ``Pod/eviction``.
        namespace: empty for all namespaces, and for kinds outside of them.
        if_any: the right is needed only if the cluster has objects of this kind; empty for always.
    """

    verb: str
    kind: str
    namespace: str = ""
    if_any: str = ""


@dataclass(frozen=True)
class Step:
    """One step of a run.

    Attributes:
        name: as in the parameter ``steps``.
        order: steps are carried out in ascending order.
        plan: adds the step's part of the plan to a draft of its own.
        rights: returns the rights on the API that the step may need besides reading, from the parameters, the
            policies and the version of the API server.
    """

    name: str
    order: int
    plan: Callable[[Draft], None]
    rights: Callable[[Parameters, PolicySet, str], Sequence[Right]] = lambda *_: ()
