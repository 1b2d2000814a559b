"""20,000 random services: reading and planning raise the library's errors only, and what is written reads the same."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from test_wild_units import MASTER, POLICIES, SEEN

from kubeharden.components.commands import with_values
from kubeharden.errors import KubehardenError
from kubeharden.facts import Facts, FileFact, ServiceFacts
from kubeharden.facts.sensitive import with_sensitive_files
from kubeharden.inputs.parameters import Parameters
from kubeharden.plan import NodeChange
from kubeharden.plan.decide import make_plan
from kubeharden.plan.service_files import DROP_IN
from kubeharden.releases import release_table
from kubeharden.show.views import facts_view
from random_units import random_service

CHUNKS, SIZE = 40, 500
KNOWN = {"H": "node-7", "n": "u.service", "i": "", "b": "77"}


def service_of(seed: int) -> ServiceFacts:
    """A service whose process runs with what its unit says, most times."""
    chance = random.Random(-seed - 1)
    name = chance.choice(("kubelet", "kube-proxy", "kube-scheduler"))
    made = random_service(seed, release_table(name, "1.20"))
    old = SEEN.node(MASTER).services[name]
    path = f"{'/usr/lib' if made.is_foreign else '/etc'}/systemd/system/{name}.service"
    folder = f"/etc/systemd/system/{name}.service.d"
    drop_ins = {f"{folder}/{each}": text for each, text in sorted(made.drop_ins.items())}
    texts = {path: made.unit, **drop_ins, **made.environment}
    files = {where: FileFact(where, "644", "root", "root", text) for where, text in texts.items()}
    show = {**old.show, "FragmentPath": path, "DropInPaths": " ".join(drop_ins)}
    service = with_sensitive_files(replace(old, files=files, show=show, cmdline=(), configz=None))
    try:
        words = tuple(with_values(word, KNOWN) for word in service.service.command().words)
    except KubehardenError:
        words = ()
    return replace(service, cmdline=words if chance.random() < 0.95 else ("/usr/bin/other", "--v=2"))


def facts_of(service: ServiceFacts) -> Facts:
    node = replace(SEEN.node(MASTER), services={service.name: service})
    return replace(SEEN, nodes=(node,))


def changed(service: ServiceFacts, change: NodeChange) -> ServiceFacts:
    """The service with the files of a change, as the process that it asks for runs it."""
    files = dict(service.files)
    drop_ins = service.show["DropInPaths"].split()
    for file in change.files:
        files[file.path] = FileFact(file.path, file.mode, file.owner, file.group, file.after)
        if file.path.endswith(DROP_IN):
            drop_ins = sorted({*drop_ins, file.path})
    show = {**service.show, "DropInPaths": " ".join(drop_ins)}
    return replace(service, files=files, show=show, cmdline=change.expected_argv)


def planned(service: ServiceFacts, profile: str) -> NodeChange | None:
    given = Parameters(profile=profile, steps=[service.name], dns_ip="10.0.0.10", dns_domain="cluster.local")
    plan = make_plan(facts_of(service), given, POLICIES)
    return next(iter(plan.node_changes), None)


def judge(seed: int) -> str:
    """What became of a random service."""
    service = service_of(seed)
    profile = ("none", "article")[seed % 2]
    str(facts_view(facts_of(service)))
    try:
        change = planned(service, profile)
    except KubehardenError:
        return "an error"
    if change is None:
        return "refused"
    if not change.files:
        return "as it is"
    then = changed(service, change)
    assert then.unit_argv() == list(change.expected_argv), seed
    again = planned(then, profile)
    assert again is not None, seed
    assert not again.files, seed
    return "changed"


@pytest.mark.sample(1)
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_a_random_service_is_planned_and_reads_the_same_or_is_refused(chunk: int) -> None:
    found = [judge(seed) for seed in range(chunk * SIZE, (chunk + 1) * SIZE)]
    assert found.count("changed") > SIZE // 10
    assert found.count("refused") > SIZE // 10
