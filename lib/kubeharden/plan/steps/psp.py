"""PodSecurityPolicies, the Roles and RoleBindings for their use, and the admission plugin that enforces them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kubeharden.components.admission_plugins import enable_admission_plugin, flag_value, switches_on
from kubeharden.errors import MigrationRefusedError
from kubeharden.facts import Facts, NodeFacts, ServiceFacts
from kubeharden.kube.manifests import key_of, merge, title_of, unknown_reference, without_zero_values
from kubeharden.kube.resources import RESOURCES
from kubeharden.kube.workloads import static_pod_namespaces
from kubeharden.plan.draft import Draft
from kubeharden.plan.model import NodeChange, ObjectChange, Remark
from kubeharden.plan.service_files import unit_changes
from kubeharden.plan.step import POD_SECURITY
from kubeharden.plan.steps.breakage import judge_policies
from kubeharden.podsecurity.default_policy import default_policy_objects
from kubeharden.podsecurity.policies import PolicySet, policy_objects

PSP_PLUGIN = "PodSecurityPolicy"


def plan_policies(draft: Draft, policies: PolicySet) -> None:
    """Plan the policies, their Roles and RoleBindings, and the admission plugin of every API server."""
    _Planner(draft, policies).plan()


def api_servers(facts: Facts) -> list[tuple[NodeFacts, ServiceFacts]]:
    """Return the nodes that run kube-apiserver as a service, with it."""
    servers = ((node, node.api_server) for node in facts.nodes)
    return [(node, service) for node, service in servers if service is not None]


class _Planner:
    def __init__(self, draft: Draft, policies: PolicySet) -> None:
        self.draft, self.facts, self.policies = draft, draft.facts, policies

    def plan(self) -> None:
        after = self._policy_changes()
        servers = api_servers(self.facts)
        self.draft.add_changes(servers, self._admission)
        if not servers:
            why = (
                "no node has a kube-apiserver.service (a static pod?): the policies are put in place, and "
                f"the admission plugin {PSP_PLUGIN} must be switched on by hand"
            )
            self.draft.remark(POD_SECURITY, why)
        judge_policies(self.draft, after, PSP_PLUGIN, switched_on=self._switched_on())

    def _policy_changes(self) -> dict[str, list[Mapping[str, Any]]]:
        """Plan the objects, and return the cluster's objects as they would be then."""
        objects = {name: list(items) for name, items in self.facts.cluster.objects.items()}
        namespaces = {item["metadata"]["name"] for item in objects.get("namespaces", ())}
        accounts = {key_of(item) for item in objects.get("serviceaccounts", ())}
        wanted = [
            *policy_objects(self.policies, static_pod_namespaces(objects)),
            *default_policy_objects(self.draft.parameters.default_policy, self.facts.cluster.version),
        ]
        for manifest in wanted:
            unknown = unknown_reference(manifest, namespaces, accounts)
            if unknown:
                self.draft.remark(title_of(manifest), f"is left out: {unknown}")
                continue
            items = objects.setdefault(RESOURCES[manifest["kind"]].plural, [])
            existing = next((item for item in items if key_of(item) == key_of(manifest)), None)
            items[:] = [item for item in items if item is not existing]
            items.append(self._object_change(manifest, existing))
        return objects

    def _object_change(
        self, manifest: Mapping[str, Any], existing: Mapping[str, Any] | None
    ) -> Mapping[str, Any]:
        """Plan one object, and return it as it would be then."""
        if existing is None:
            self.draft.object_changes.append(ObjectChange(POD_SECURITY, manifest))
            return manifest
        if "roleRef" in manifest and existing.get("roleRef") != manifest["roleRef"]:
            role = existing.get("roleRef", {}).get("name")
            why = f"exists and binds {role}; a roleRef cannot be changed. Rename or delete it by hand first"
            self.draft.refused.append(Remark(title_of(manifest), why))
            return existing
        wanted = merge(existing, manifest)
        if without_zero_values(wanted) != without_zero_values(existing):
            self.draft.object_changes.append(ObjectChange(POD_SECURITY, wanted, existing))
        return wanted

    def _switched_on(self) -> bool:
        """Return whether this plan switches the plugin on: an API server that runs now has it off."""
        return any(not switches_on(service.cmdline, PSP_PLUGIN) for _, service in api_servers(self.facts))

    def _admission(self, node: NodeFacts, service: ServiceFacts) -> NodeChange:
        argv = service.unit_argv()
        modes = (flag_value(argv, "--authorization-mode") or "AlwaysAllow").split(",")
        if "RBAC" not in modes:
            raise MigrationRefusedError(
                f"--authorization-mode is {','.join(modes)}: Roles and RoleBindings have no effect without RBAC"
            )
        change = enable_admission_plugin(service.release, argv, PSP_PLUGIN)
        files = tuple(unit_changes(service, argv, list(change.argv), {}))
        return self.draft.node_change(POD_SECURITY, node, service, files, change.argv, notes=change.notes)
