"""Reviews: questions to the API server about who someone is and what they may do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kubeharden.kube.rbac import Identity
from kubeharden_rehearsal.api.catalog import Catalog, Resource
from kubeharden_rehearsal.api.requests import Access
from kubeharden_rehearsal.api.status import Cause, bad_request, invalid

Authorize = Callable[[Identity, Access], bool]

_ATTRIBUTES = ("resourceAttributes", "nonResourceAttributes")


def answer(
    resource: Resource, review: dict[str, Any], user: Identity, authorize: Authorize, catalog: Catalog
) -> dict[str, Any]:
    """A review with its status filled in.

    Args:
        resource: which review it is.
        review: as it was posted, with apiVersion and kind.
        user: who asks.
        authorize: who knows.
        catalog: the resources for rules reviews.

    Raises:
        ApiError: 400 or 422, the question is not a whole one.
    """
    if resource.kind == "SelfSubjectReview":
        info = {"username": user.user, "groups": sorted(user.groups)}
        return {**review, "status": {"userInfo": info}}
    spec = review.get("spec") or {}
    if resource.kind == "SelfSubjectRulesReview":
        if not spec.get("namespace"):
            raise bad_request("no namespace on request")
        return {**review, "status": _rules(user, spec["namespace"], authorize, catalog)}
    if resource.kind == "SubjectAccessReview":
        user = Identity(spec.get("user", ""), frozenset(spec.get("groups") or ()))
    allowed = authorize(user, _access(resource, spec))
    return {**review, "status": {"allowed": allowed}}


def _access(resource: Resource, spec: dict[str, Any]) -> Access:
    given = [name for name in _ATTRIBUTES if spec.get(name)]
    if len(given) != 1:
        cause = Cause(
            "FieldValueInvalid",
            "Invalid value: exactly one of nonResourceAttributes or resourceAttributes must be specified",
            "spec.resourceAttributes",
        )
        raise invalid(resource, "", [cause])
    asked = spec[given[0]]
    return Access(
        verb=asked.get("verb", ""),
        group=asked.get("group", ""),
        resource=asked.get("resource", ""),
        subresource=asked.get("subresource", ""),
        namespace=asked.get("namespace", ""),
        name=asked.get("name", ""),
        path=asked.get("path", ""),
    )


def _rules(user: Identity, namespace: str, authorize: Authorize, catalog: Catalog) -> dict[str, Any]:
    """Every served resource is asked about; rules for objects by name cannot be found that way."""
    rules = []
    for resource in catalog.stored():
        scope = namespace if resource.namespaced else ""
        verbs = [
            verb
            for verb in resource.verbs
            if authorize(user, Access(verb, resource.group, resource.plural, namespace=scope))
        ]
        if verbs:
            rules.append({"verbs": verbs, "apiGroups": [resource.group], "resources": [resource.plural]})
    return {
        "resourceRules": rules,
        "nonResourceRules": [],
        "incomplete": True,
        "evaluationError": "rules for objects by name are not listed",
    }
