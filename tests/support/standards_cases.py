"""The fixtures of the Pod Security Standards: cases, and the pods that they stand for."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from kubeharden.podsecurity.pss.standards import CHECKS, NEWEST
from kubeharden.releases.files import LOADER

FIXTURES = Path(__file__).parents[1] / "fixtures" / "standards"
OTHERS = {"init": ("initContainers", "setup"), "ephemeral": ("ephemeralContainers", "debug")}
# The last policy version that there is, though no rule changed in it.
LAST = 37


@dataclass(frozen=True)
class Case:
    """One pod that passes or fails a check from one policy version up to the next change of its rule."""

    check: str
    level: str
    since: int
    until: int
    passes: bool
    name: str

    def __str__(self) -> str:
        return (
            f"{self.check}-v1.{self.since}-{'pass' if self.passes else 'fail'}-{self.name.replace(' ', '_')}"
        )

    @property
    def versions(self) -> list[str]:
        return [f"v1.{minor}" for minor in range(self.since, self.until)]

    def pod(self, level: str = "") -> dict:
        """The pod of its own level, or of another, with what the case adds."""
        said = "pass" if self.passes else "fail"
        changes = documents()[self.check]["versions"][f"v1.{self.since}"][said][self.name]
        return made(documents()["base"][level or self.level], changes)


@cache
def documents() -> dict[str, dict]:
    return {path.stem: yaml.load(path.read_text(), Loader=LOADER) for path in FIXTURES.glob("*.yaml")}


def cases() -> Iterator[Case]:
    for check in CHECKS:
        document = documents()[check.id]
        starts = [int(version.removeprefix("v1.")) for version in document["versions"]]
        for since, until in zip(starts, [*starts[1:], LAST + 1], strict=True):
            for said, found in document["versions"][f"v1.{since}"].items():
                for name in found:
                    yield Case(check.id, document["level"], since, until, said == "pass", name)


def made(base: dict, changes: dict) -> dict:
    pod = copy.deepcopy(base)
    spec = pod["spec"]
    [container] = spec["containers"]
    for key, (kind, name) in OTHERS.items():
        if key in changes:
            spec[kind] = [merged({**container, "name": name}, changes[key])]
    pod["metadata"]["annotations"] |= changes.get("annotations", {})
    spec["containers"] = [merged(container, changes.get("container", {}))]
    pod["spec"] = merged(spec, changes.get("spec", {}))
    if "pod" in changes:
        pod["spec"]["securityContext"] = merged(spec.get("securityContext", {}), changes["pod"])
    return pod


def merged(base: object, patch: object) -> object:
    """A JSON merge patch (RFC 7386), which keeps a null where there was nothing to take out."""
    if not isinstance(patch, dict) or not isinstance(base, dict):
        return patch
    result = dict(base)
    for key, value in patch.items():
        if value is None and key in base:
            del result[key]
        else:
            result[key] = merged(base.get(key), value)
    return result


assert NEWEST <= LAST
