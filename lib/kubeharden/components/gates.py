"""Feature gates that a component is given, held against a release that it is to run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from kubeharden.components.values import parse_text
from kubeharden.releases import SWITCHES, Gate, Release, feature_gates, features_of, gate_gone

FLAG = "--feature-gates"
KUBE = "kube:"


def from_flag(values: Sequence[str]) -> dict[str, bool]:
    """Return the gates in the values of ``--feature-gates``; ``kube:Gate=true`` (1.31+) is ``Gate=true``.

    What is not a pair with a truth value is left out: see ``not_pairs``.
    """
    switches = ((name, _truth(text)) for name, _, text in (item.partition("=") for item in _items(values)))
    return {name.strip().removeprefix(KUBE): is_on for name, is_on in switches if is_on is not None}


def not_pairs(values: Sequence[str]) -> list[str]:
    """Return what stands in values of ``--feature-gates`` and is not a name with a truth value: nothing starts so."""
    return [item for item in _items(values) if _truth(item.partition("=")[2]) is None]


def _items(values: Sequence[str]) -> list[str]:
    return [item.strip() for value in values for item in value.split(",") if item]


def _truth(text: str) -> bool | None:
    try:
        return bool(parse_text("bool", text.strip()))
    except ValueError:
        return None


def with_prefix(values: Sequence[str], component: str, release: Release) -> list[str]:
    """Return the gates with ``kube:`` before them, where a component of ``release`` does not take that."""
    takes = features_of("takes kube: before a gate: ").get(component)
    if takes is not None and takes.in_release(release):
        return []
    return [item.partition("=")[0] for item in _items(values) if item.startswith(KUBE)]


@dataclass(frozen=True)
class GateVerdict:
    """The verdict of a release on a feature gate that it does not simply take.

    Attributes:
        stops: the component does not start with it; otherwise the tables cannot tell.
        why: in a sentence.
        todo: what to do about it.
    """

    name: str
    stops: bool
    why: str
    todo: str


def judge_gates(gates: Mapping[str, bool], release: Release) -> Iterator[GateVerdict]:
    """Yield the gates with which a component of ``release`` does not start, and those that no table has.

    Source: featureGate.SetFromMap, k8s.io/component-base/featuregate (an unknown name, a locked value, a dependency).
    """
    known = feature_gates(release)
    for name, value in gates.items():
        gate = known.get(name)
        if name in SWITCHES:
            continue
        if gate is None and (since := gate_gone(name, release)):
            why = f"the feature gate went in {since}: unrecognized feature gate"
            yield GateVerdict(name, stops=True, why=why, todo="take it out")
        elif gate is None:
            why = f"the tables of {release} do not have the feature gate"
            yield GateVerdict(
                name, stops=False, why=why, todo="look it up in the release's own documentation"
            )
        elif gate.locked and value is not gate.default:
            word = str(gate.default).lower()
            why, todo = f"the feature gate is locked to {word}", f"take it out, and accept {word}"
            yield GateVerdict(name, stops=True, why=why, todo=todo)
    yield from _unmet(gates, known)


def _unmet(gates: Mapping[str, bool], known: Mapping[str, Gate]) -> Iterator[GateVerdict]:
    """Yield the given gates by which one is on, and another that it depends on is off."""
    reasons: dict[str, list[str]] = {}
    for name in (name for name, gate in known.items() if _is_on(name, gates, known)):
        for need in (need for need in known[name].needs if not _is_on(need, gates, known)):
            name_set = next((each for each in (need, name, *SWITCHES) if each in gates), name)
            reasons.setdefault(name_set, []).append(f"{name} is on and depends on {need}, which is off")
    for name, why in reasons.items():
        todo = "take it out, or switch the others so that they fit"
        yield GateVerdict(name, stops=True, why="; ".join(why), todo=todo)


def _is_on(name: str, gates: Mapping[str, bool], known: Mapping[str, Gate]) -> bool:
    """Return whether a gate is on: as it is given, else by the switch of its stage, else by default."""
    gate = known.get(name)
    if gate is None:
        return False
    by_stage = next(
        (gates[s] for s in SWITCHES if s in gates and s.upper() == f"ALL{gate.stage}"), gate.default
    )
    return gates.get(name, by_stage)
