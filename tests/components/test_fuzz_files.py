"""20,000 random command lines and config files over all releases: nothing is raised but what callers know, what is
written reads back as what was promised, and each comment is there or is named."""

from __future__ import annotations

import random
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

import sampling
from config_files import command_line, content, spell
from facts_fixtures import PLANS, read_facts
from kubeharden import KubehardenError, migrate, readiness
from kubeharden.components.differences import changes
from kubeharden.components.edit import is_json
from kubeharden.components.effective import effective_config
from kubeharden.components.flags import split_flags
from kubeharden.errors import UnitError
from kubeharden.facts import FileFact, NodeFacts, read_config
from kubeharden.facts.sensitive import with_sensitive_files
from kubeharden.formats import comments_of, scalars_of
from kubeharden.inputs.parameters import Parameters
from kubeharden.inputs.project import POLICIES
from kubeharden.plan.decide import make_plan
from kubeharden.podsecurity.policies import read_policies
from kubeharden.releases import ReleaseTable, release_table
from support import ROOT

WHOLE, OF_A_RUN, PARTS = 20_000, 96, 8
COMPONENTS = ("kubelet", "kube-proxy", "kube-scheduler")
Case = tuple[random.Random, ReleaseTable, list[str], dict[str, Any] | None, str]


def case(seed: int) -> Case:
    """A component of a release, its flags, and its config file: content and text."""
    rng = random.Random(seed)
    table = release_table(rng.choice(COMPONENTS), f"1.{rng.randint(10, 36)}")
    table = release_table(table.component, table.release, rng.choice(table.api_versions))
    words = [f"/usr/bin/{table.component}", *command_line(rng, table)]
    if rng.random() < 0.4:
        return rng, table, words, None, ""
    text = spell(rng, content(rng, table))
    path = rng.choice(["/etc/kubernetes/there.yaml", "/etc/kubernetes/there.json"])
    try:
        config = read_config(FileFact(path, "600", "root", "root", text))
    except UnitError:
        return rng, table, words, None, ""
    return rng, table, [*words, f"--config={path}"], config, text


def seeds(part: int, request: pytest.FixtureRequest) -> list[int]:
    """Those of one part that this run tries."""
    found = sampling.chosen(WHOLE // PARTS, OF_A_RUN // PARTS, part)
    sampling.tell(request.node, "random flags and files", len(found), WHOLE // PARTS)
    return [part * (WHOLE // PARTS) + seed for seed in found]


def comments(text: str) -> list[tuple[int, str]]:
    if not text or is_json(text):
        return []
    places = comments_of(text, scalars_of(text, "a file", UnitError))
    return [(text.count("\n", 0, start) + 1, text[start:end].strip()) for start, end in places]


@pytest.mark.parametrize("part", range(PARTS))
def test_flags_and_files_of_any_kind(part: int, request: pytest.FixtureRequest) -> None:
    for seed in seeds(part, request):
        rng, table, words, config, text = case(seed)
        profile = rng.choice(["none", "article"])
        made = migrate(table.component, table.release, words, config, profile=profile, text=text)
        with suppress(KubehardenError):
            readiness(table.component, table.release, "1.36", words, config)
        if made.refused:
            assert all(setting.why for setting in made.refused), seed
            continue
        path = next(word.partition("=")[2] for word in made.argv if word.startswith("--config="))
        written = read_config(FileFact(path, "600", "root", "root", made.yaml))
        assert written == made.config, seed
        read = release_table(table.component, table.release, str(written["apiVersion"]))
        after = effective_config(read, split_flags(made.argv[1:], read), written)
        assert after == made.after, seed
        hardened = {setting.field for setting in made.hardened}
        assert set(changes(read, made.before, after)) <= hardened, seed
        again = migrate(table.component, table.release, made.argv, written, profile=profile, text=made.yaml)
        assert (again.refused, again.config, again.argv) == ([], made.config, made.argv), seed
        there = [comment for _, comment in comments(made.yaml)]
        assert [line for line, comment in comments(text) if comment not in there] == sorted(set(made.lost)), (
            seed,
            text,
        )


FACTS = read_facts(PLANS / "article-1.10")
GIVEN = {"cluster_cidr": "10.2.0.0/16", "dns_ip": "10.0.0.10", "dns_domain": "cluster.local"}


@pytest.mark.parametrize("part", range(PARTS))
def test_plans_of_any_kind(part: int, request: pytest.FixtureRequest) -> None:
    policies = read_policies(ROOT / POLICIES)
    for seed in seeds(part, request):
        rng, table, words, config, text = case(seed)

        def of(
            node: NodeFacts,
            table: ReleaseTable = table,
            words: list[str] = words,
            text: str = text,
            config: Any = config,
        ) -> NodeFacts:
            service = node.services.get(table.component)
            if service is None or node.name != "k8s-master":
                return node
            unit = service.show["FragmentPath"]
            quoted = " ".join(
                '"' + w.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$") + '"'
                for w in words
            )
            files = {unit: FileFact(unit, "644", "root", "root", f"[Service]\nExecStart={quoted}\n")}
            path = words[-1].partition("=")[2]
            if text:
                files[path] = FileFact(path, "600", "root", "root", text)
            service = replace(
                service, files=files, cmdline=tuple(words), version=f"v{table.release}.3", configz=config
            )
            return replace(node, services={**node.services, table.component: with_sensitive_files(service)})

        facts = replace(FACTS, nodes=tuple(map(of, FACTS.nodes)))
        given = Parameters(steps=(table.component,), profile=rng.choice(["none", "article"]), **GIVEN)
        try:
            plan = make_plan(facts, given, policies)
        except KubehardenError:
            continue
        assert all(remark.step == table.component for remark in plan.refused), seed
        assert plan.digest
