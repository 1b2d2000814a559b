"""The rehearsal's API server, asked by the unmodified kubernetes client over HTTP."""

from __future__ import annotations

import asyncio
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from kubernetes import client
from kubernetes.client.rest import ApiException
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import (
    BadRequestError,
    ConflictError,
    MethodNotAllowedError,
    NotFoundError,
    ResourceNotFoundError,
    ServiceUnavailableError,
    TooManyRequestsError,
    UnauthorizedError,
    UnprocessibleEntityError,
)

import sampling
from kubeharden.errors import RehearsalError, UnknownReleaseError
from kubeharden.kube.rbac import Identity
from kubeharden_rehearsal.api.server import ApiServer
from kubeharden_rehearsal.api.status import ApiError, Forbidden
from kubeharden_rehearsal.api.store import ObjectStore

MERGE_PATCH = "application/merge-patch+json"
USERS = {
    "admin-token": Identity("admin", frozenset({"system:masters"})),
    "dev-token": Identity("dev", frozenset()),
}
NAMESPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}
NODE = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-1"}}


class Cluster:
    """A server in a thread of its own, as the client blocks."""

    def __init__(self, release: str, objects: list[dict[str, Any]], **options: Any) -> None:
        self.store = ObjectStore(release)
        self.store.load([NAMESPACE, NODE, *objects])
        self.server = ApiServer(self.store, users=USERS, **options)
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        self.port = self.run(self.server.start())

    def run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(10)

    def close(self) -> None:
        self.run(self.server.stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

    def api(self, token: str = "admin-token") -> client.ApiClient:
        configuration = client.Configuration()
        configuration.host = f"http://127.0.0.1:{self.port}"
        configuration.api_key = {"authorization": f"Bearer {token}"}
        return client.ApiClient(configuration)

    def core(self, token: str = "admin-token") -> client.CoreV1Api:
        return client.CoreV1Api(self.api(token))

    def http(self, path: str, method: str = "GET", body: Any = None, **headers: str) -> tuple[int, str]:
        """A request without the client, for what it would not send."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            method=method,
            data=body.encode() if isinstance(body, str) else body,
            headers={"Authorization": "Bearer admin-token"}
            | {name.replace("_", "-"): value for name, value in headers.items()},
        )
        try:
            with urllib.request.urlopen(request, timeout=5) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def merge(self, path: str, patch: dict[str, Any]) -> dict[str, Any]:
        """The object after a merge patch."""
        code, text = self.http(path, "PATCH", json.dumps(patch), Content_Type=MERGE_PATCH)
        assert code == 200, text
        return json.loads(text)


@pytest.fixture
def start() -> Iterator[Callable[..., Cluster]]:
    with ExitStack() as stack:

        def started(
            release: str = "1.20", objects: list[dict[str, Any]] | None = None, **options: Any
        ) -> Cluster:
            cluster = Cluster(release, objects or [], **options)
            stack.callback(cluster.close)
            return cluster

        yield started


@pytest.fixture
def cluster(start: Callable[..., Cluster]) -> Cluster:
    return start()


@pytest.fixture
def dynamic(tmp_path: Any) -> Callable[..., DynamicClient]:
    def connected(cluster: Cluster, token: str = "admin-token") -> DynamicClient:
        cache = tmp_path / f"discovery-{cluster.port}-{token}.json"
        return DynamicClient(cluster.api(token), cache_file=str(cache))

    return connected


@pytest.fixture
def pods(cluster: Cluster, dynamic: Callable[..., DynamicClient]) -> Any:
    return dynamic(cluster).resources.get(api_version="v1", kind="Pod")


@pytest.fixture
def configmaps(cluster: Cluster, dynamic: Callable[..., DynamicClient]) -> Any:
    return dynamic(cluster).resources.get(api_version="v1", kind="ConfigMap")


def pod(name: str, labels: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "shop", "labels": labels or {}},
        "spec": {"containers": [{"name": "main", "image": "nginx:1"}], **spec},
    }


def configmap(name: str = "settings", **data: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "shop"},
        "data": data,
    }


def psp(name: str = "restricted", api_version: str = "policy/v1beta1") -> dict[str, Any]:
    return {
        "apiVersion": api_version,
        "kind": "PodSecurityPolicy",
        "metadata": {"name": name},
        "spec": {"volumes": ["configMap", "secret"], "privileged": False},
    }


def status_of(error: pytest.ExceptionInfo[Any]) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(error.value.body)
    return parsed


# --- what a release serves


@pytest.mark.parametrize(
    ("release", "kind", "served"),
    [
        ("1.10", "PodSecurityPolicy", {"policy/v1beta1", "extensions/v1beta1"}),
        ("1.15", "PodSecurityPolicy", {"policy/v1beta1", "extensions/v1beta1"}),
        ("1.16", "PodSecurityPolicy", {"policy/v1beta1"}),
        ("1.24", "PodSecurityPolicy", {"policy/v1beta1"}),
        ("1.25", "PodSecurityPolicy", set()),
        ("1.11", "Lease", set()),
        ("1.12", "Lease", {"coordination.k8s.io/v1beta1"}),
        ("1.14", "Lease", {"coordination.k8s.io/v1", "coordination.k8s.io/v1beta1"}),
        ("1.22", "Lease", {"coordination.k8s.io/v1"}),
        ("1.20", "CronJob", {"batch/v1beta1"}),
        ("1.21", "CronJob", {"batch/v1", "batch/v1beta1"}),
        ("1.25", "CronJob", {"batch/v1"}),
        ("1.36", "PodDisruptionBudget", {"policy/v1"}),
    ],
)
def test_a_release_serves_its_versions(
    start: Any, dynamic: Any, release: str, kind: str, served: set[str]
) -> None:
    resources = dynamic(start(release)).resources
    try:
        found = {resource.group_version for resource in resources.search(kind=kind)}
    except ResourceNotFoundError:
        found = set()
    assert found == served


def test_version_health_and_unknown_paths(start: Any) -> None:
    old, new = start("1.15"), start("1.16")
    assert client.VersionApi(old.api()).get_code().git_version == "v1.15.0"
    assert old.http("/healthz", Authorization="none") == (200, "ok")
    assert new.http("/readyz", Authorization="none") == (200, "ok")
    assert old.http("/readyz") == (404, "404 page not found\n")
    for path in ("/apis/policy/v1", "/api/v1/pods/p", "/apis/batch/v2/jobs", "/api/v1/pods/p/x/y"):
        code, said = new.http(path)
        assert (code, json.loads(said)["message"]) == (
            404,
            "the server could not find the requested resource",
        )
    assert new.http("/apis/no.such.group/v1") == (404, "404 page not found\n")


def test_discovery_rows_have_verbs_and_subresources(cluster: Cluster, dynamic: Any) -> None:
    rows = json.loads(cluster.http("/api/v1")[1])["resources"]
    by_name = {row["name"]: row for row in rows}
    assert by_name["pods"]["shortNames"] == ["po"]
    assert by_name["pods"]["verbs"] == ["create", "delete", "get", "list", "patch", "update"]
    assert by_name["pods/eviction"]["kind"] == "Eviction"
    assert {"pods/status", "nodes/proxy", "nodes/status"} <= by_name.keys()
    group = json.loads(cluster.http("/apis/policy")[1])
    assert group["preferredVersion"] == {"groupVersion": "policy/v1beta1", "version": "v1beta1"}
    assert "status" in dynamic(cluster).resources.get(api_version="v1", kind="Pod").subresources


def test_a_release_that_is_unknown_is_refused() -> None:
    with pytest.raises(UnknownReleaseError):
        ObjectStore("1.9")


# --- create


def test_create_fills_in_what_the_server_decides(pods: Any) -> None:
    body = pod("p") | {"status": {"phase": "Running"}}
    body["metadata"] |= {"uid": "mine", "deletionTimestamp": "2026-01-01T00:00:00Z"}
    created = pods.create(body=body)
    assert created.metadata.uid not in {"", "mine", None}
    assert created.metadata.deletionTimestamp is None
    assert created.metadata.creationTimestamp.endswith("Z")
    assert int(created.metadata.resourceVersion) > 0
    assert created.status.phase == "Pending"
    assert pods.get(name="p", namespace="shop").to_dict() == created.to_dict()


def test_create_refusals(pods: Any) -> None:
    pods.create(body=pod("p"))
    with pytest.raises(ConflictError) as error:
        pods.create(body=pod("p"))
    assert status_of(error) == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": 'pods "p" already exists',
        "reason": "AlreadyExists",
        "code": 409,
    }


def test_create_in_a_namespace_that_is_missing(pods: Any) -> None:
    body = pod("p")
    body["metadata"]["namespace"] = "nowhere"
    with pytest.raises(NotFoundError) as error:
        pods.create(body=body)
    assert error.value.summary().endswith('namespaces "nowhere" not found')


def test_create_with_another_namespace_kind_or_version(pods: Any) -> None:
    with pytest.raises(BadRequestError, match="does not match the namespace sent on the request"):
        pods.create(body=pod("p"), namespace="default")
    with pytest.raises(BadRequestError, match="cannot be handled as a"):
        pods.create(body=configmap(), namespace="shop")
    with pytest.raises(BadRequestError, match="cannot be handled as a"):
        pods.create(body=pod("p") | {"apiVersion": "v2"})


def test_generate_name(pods: Any) -> None:
    body = pod("")
    body["metadata"] |= {"generateName": "web-"}
    names = {pods.create(body=body).metadata.name for _ in range(3)}
    assert len(names) == 3
    assert all(name.startswith("web-") and len(name) == len("web-") + 5 for name in names)


def test_one_object_under_two_versions(start: Any, dynamic: Any) -> None:
    resources = dynamic(start("1.10")).resources
    new = resources.get(api_version="policy/v1beta1", kind="PodSecurityPolicy")
    old = resources.get(api_version="extensions/v1beta1", kind="PodSecurityPolicy")
    created = new.create(body=psp())
    seen = old.get(name="restricted")
    assert seen.metadata.uid == created.metadata.uid
    assert seen.apiVersion == "extensions/v1beta1"
    assert [item.apiVersion for item in old.get().items] == ["extensions/v1beta1"]
    old.delete(name="restricted")
    with pytest.raises(NotFoundError, match=r"podsecuritypolicies.policy \\\"restricted\\\""):
        new.get(name="restricted")


def test_stored_defaults_of_policies_and_bindings(cluster: Cluster, dynamic: Any) -> None:
    resources = dynamic(cluster).resources
    policies = resources.get(api_version="policy/v1beta1", kind="PodSecurityPolicy")
    assert policies.create(body=psp()).spec.allowPrivilegeEscalation is True
    bindings = resources.get(api_version="rbac.authorization.k8s.io/v1", kind="RoleBinding")
    binding = {
        "metadata": {"name": "nodes", "namespace": "shop"},
        "roleRef": {"kind": "ClusterRole", "name": "psp:privileged"},
        "subjects": [{"kind": "Group", "name": "system:nodes"}],
    }
    created = bindings.create(body=binding).to_dict()
    assert created["roleRef"]["apiGroup"] == "rbac.authorization.k8s.io"
    assert created["subjects"][0]["apiGroup"] == "rbac.authorization.k8s.io"
    created["roleRef"]["name"] = "psp:other"
    with pytest.raises(UnprocessibleEntityError, match="cannot change roleRef"):
        bindings.replace(body=created)


def test_a_namespace_has_its_service_account(cluster: Cluster) -> None:
    core = cluster.core()
    assert core.read_namespaced_service_account("default", "shop").metadata.uid
    core.create_namespace({"metadata": {"name": "new"}})
    assert core.read_namespaced_service_account("default", "new").metadata.uid
    core.delete_namespace("new")
    with pytest.raises(ApiException) as error:
        core.read_namespaced_service_account("default", "new")
    assert error.value.status == 404


# --- lists


def many_pods(count: int) -> Iterator[dict[str, Any]]:
    conditions = [{"type": kind, "status": "True"} for kind in ("Ready", "PodScheduled")]
    template = pod("", nodeName="node-1", serviceAccountName="default")
    template["status"] = {"phase": "Running", "conditions": conditions}
    for at in range(count):
        yield template | {"metadata": template["metadata"] | {"name": f"pod-{at:05d}"}}


def test_many_pods_list_in_seconds(start: Any) -> None:
    many = 50_000 if sampling.is_complete() else 10_000
    core = start("1.20", list(many_pods(many))).core()
    began, names, token, remaining = time.process_time(), [], None, []
    while token != "":
        answer = core.list_pod_for_all_namespaces(limit=500, _continue=token, _preload_content=False)
        page = json.loads(answer.data)
        names += [item["metadata"]["name"] for item in page["items"]]
        remaining.append(page["metadata"].get("remainingItemCount", 0))
        token = page["metadata"].get("continue", "")
    assert names == [f"pod-{at:05d}" for at in range(many)]
    assert remaining[:2] == [many - 500, many - 1000]
    assert remaining[-1] == 0
    assert time.process_time() - began < many / 10_000  # of the processor: other tests have it, too


def test_pages_go_on_after_the_last_name(start: Any) -> None:
    core = start("1.20", [pod(f"p{at}") for at in range(5)]).core()
    first = core.list_namespaced_pod("shop", limit=2)
    assert (first.metadata._continue is not None, first.metadata.remaining_item_count) == (True, 3)
    core.delete_namespaced_pod("p2", "shop")
    core.create_namespaced_pod("shop", pod("p2b"))
    second = core.list_namespaced_pod("shop", limit=9, _continue=first.metadata._continue)
    assert [item.metadata.name for item in second.items] == ["p2b", "p3", "p4"]
    assert second.metadata._continue is None


def test_a_query_that_cannot_be_read(cluster: Cluster) -> None:
    for query in ("limit=2&continue=nonsense", "limit=many"):
        assert cluster.http(f"/api/v1/pods?{query}")[0] == 400


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("app=web", ["a", "b"]),
        ("app==web,tier!=gold", ["b"]),
        ("app!=web", ["c", "d"]),
        ("app=web, tier=gold", ["a"]),
    ],
)
def test_label_selectors(start: Any, selector: str, names: list[str]) -> None:
    objects = [
        pod("a", {"app": "web", "tier": "gold"}),
        pod("b", {"app": "web"}),
        pod("c", {"app": "db"}),
        pod("d"),
    ]
    found = start("1.20", objects).core().list_namespaced_pod("shop", label_selector=selector)
    assert [item.metadata.name for item in found.items] == names


def test_field_selectors(start: Any) -> None:
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "e", "namespace": "shop"},
        "involvedObject": {"kind": "Pod", "name": "a"},
        "type": "Warning",
        "reason": "Failed",
    }
    core = start("1.20", [pod("a", nodeName="node-1"), pod("b", nodeName="node-2"), event]).core()

    def names(listed: Any) -> list[str]:
        return [item["metadata"]["name"] for item in json.loads(listed.data)["items"]]

    def pods_by(selector: str) -> list[str]:
        return names(core.list_pod_for_all_namespaces(field_selector=selector, _preload_content=False))

    assert pods_by("spec.nodeName=node-2") == ["b"]
    assert pods_by("spec.nodeName!=node-2,metadata.namespace=shop") == ["a"]
    assert pods_by("metadata.name=a") == ["a"]
    for selector, expected in [
        ("involvedObject.name=a,type=Warning", ["e"]),
        ("involvedObject.kind=Node", []),
        ("reason=Failed", ["e"]),
    ]:
        listed = core.list_event_for_all_namespaces(field_selector=selector, _preload_content=False)
        assert names(listed) == expected
    unschedulable = core.list_node(field_selector="spec.unschedulable=false")
    assert [node.metadata.name for node in unschedulable.items] == ["node-1"]
    for bad in ({"field_selector": "spec.image"}, {"label_selector": "app in (web)"}):
        with pytest.raises(ApiException) as error:
            core.list_pod_for_all_namespaces(**bad)
        assert error.value.status == 400


# --- replace and patch


def test_replace_of_an_older_state_is_a_conflict(configmaps: Any) -> None:
    old = configmaps.create(body=configmap(a="1")).to_dict()
    newer = configmaps.replace(body={**old, "data": {"a": "2"}})
    assert int(newer.metadata.resourceVersion) > int(old["metadata"]["resourceVersion"])
    with pytest.raises(ConflictError) as error:
        configmaps.replace(body={**old, "data": {"a": "3"}})
    assert status_of(error)["message"] == (
        'Operation cannot be fulfilled on configmaps "settings": the object has been modified; '
        "please apply your changes to the latest version and try again"
    )
    with pytest.raises(ConflictError, match="UID in precondition"):
        configmaps.replace(body={**configmap(), "metadata": configmap()["metadata"] | {"uid": "another"}})
    unconditional = configmaps.replace(body=configmap(a="4"))
    assert unconditional.metadata.uid == old["metadata"]["uid"]
    with pytest.raises(BadRequestError, match="does not match the name on the URL"):
        configmaps.replace(body=configmap("other"), name="settings")
    with pytest.raises(NotFoundError):
        configmaps.replace(body=configmap("absent"))


def test_a_write_that_changes_nothing_keeps_the_version(cluster: Cluster, configmaps: Any) -> None:
    created = configmaps.create(body=configmap(a="1"))
    writes = cluster.store.generation
    body = {"data": {"a": "1"}}
    same = configmaps.patch(name="settings", namespace="shop", body=body, content_type=MERGE_PATCH)
    assert same.to_dict() == created.to_dict()
    assert configmaps.replace(body=created.to_dict()).to_dict() == created.to_dict()
    assert cluster.store.generation == writes


def test_merge_patch(configmaps: Any) -> None:
    created = configmaps.create(body=configmap(a="1", b="2"))
    patched = configmaps.patch(
        body={"data": {"a": None, "c": "3"}},
        name="settings",
        namespace="shop",
        content_type=MERGE_PATCH,
    )
    assert patched.data.to_dict() == {"b": "2", "c": "3"}
    with pytest.raises(ConflictError):
        configmaps.patch(
            body={"metadata": {"resourceVersion": created.metadata.resourceVersion}, "data": {}},
            name="settings",
            namespace="shop",
            content_type=MERGE_PATCH,
        )


def test_generation_grows_with_spec_only(cluster: Cluster, dynamic: Any) -> None:
    sets = dynamic(cluster).resources.get(api_version="apps/v1", kind="DaemonSet")
    body = {"metadata": {"name": "weave", "namespace": "shop"}, "spec": {"minReadySeconds": 1}}
    assert sets.create(body=body).metadata.generation == 1
    place = {"name": "weave", "namespace": "shop", "content_type": MERGE_PATCH}
    labelled = sets.patch(body={"metadata": {"labels": {"a": "b"}}}, **place)
    assert labelled.metadata.generation == 1
    changed = sets.patch(body={"spec": {"minReadySeconds": 2}}, **place)
    assert changed.metadata.generation == 2


def test_status_is_written_through_its_subresource(cluster: Cluster) -> None:
    core = cluster.core()
    core.create_namespaced_pod("shop", pod("p"))
    body = {"status": {"phase": "Running"}, "metadata": {"labels": {"a": "b"}}}
    patched = cluster.merge("/api/v1/namespaces/shop/pods/p", body)
    assert (patched["status"]["phase"], patched["metadata"]["labels"]) == ("Pending", {"a": "b"})
    body = {"status": {"phase": "Running"}, "spec": {"nodeName": "node-1"}}
    patched = cluster.merge("/api/v1/namespaces/shop/pods/p/status", body)
    assert (patched["status"]["phase"], patched["spec"].get("nodeName")) == ("Running", None)


# --- delete and evict


def test_delete_answers_with_the_object_of_some_kinds_and_a_status_of_the_others(
    configmaps: Any, pods: Any
) -> None:
    created = configmaps.create(body=configmap())
    assert configmaps.delete(name="settings", namespace="shop").details.uid == created.metadata.uid
    pods.create(body=pod("p"))
    assert pods.delete(name="p", namespace="shop").kind == "Pod"
    with pytest.raises(NotFoundError):
        pods.delete(name="p", namespace="shop")


def test_delete_preconditions(configmaps: Any) -> None:
    created = configmaps.create(body=configmap())

    def delete(**options: Any) -> None:
        configmaps.delete(name="settings", namespace="shop", body=options)

    with pytest.raises(ConflictError, match="UID in precondition: nobody"):
        delete(preconditions={"uid": "nobody"})
    with pytest.raises(ConflictError, match="ResourceVersion in precondition: 1"):
        delete(preconditions={"resourceVersion": "1"})
    delete(
        preconditions={
            "uid": created.metadata.uid,
            "resourceVersion": created.metadata.resourceVersion,
        }
    )
    with pytest.raises(NotFoundError):
        configmaps.get(name="settings", namespace="shop")


def test_finalizers_hold_an_object(configmaps: Any) -> None:
    body = configmap()
    body["metadata"]["finalizers"] = ["example.com/wait"]
    configmaps.create(body=body)
    held = configmaps.delete(name="settings", namespace="shop")
    assert held.metadata.deletionTimestamp
    again = configmaps.delete(name="settings", namespace="shop")
    assert again.metadata.resourceVersion == held.metadata.resourceVersion
    configmaps.patch(
        body={"metadata": {"finalizers": None}},
        name="settings",
        namespace="shop",
        content_type=MERGE_PATCH,
    )
    with pytest.raises(NotFoundError):
        configmaps.get(name="settings", namespace="shop")


def test_methods_that_a_place_does_not_have(cluster: Cluster) -> None:
    for method, path in [
        ("DELETE", "/api/v1/pods"),
        ("POST", "/api/v1/pods"),
        ("DELETE", "/api/v1/namespaces"),
        ("PUT", "/api/v1/namespaces/shop/pods"),
        ("POST", "/api/v1/nodes/node-1"),
        ("GET", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"),
        ("POST", "/apis"),
    ]:
        code, body = cluster.http(path, method, "{}", Content_Type="application/json")
        assert (code, json.loads(body)["reason"]) == (405, "MethodNotAllowed"), (method, path)


def test_eviction_asks_the_budget(cluster: Cluster, dynamic: Any) -> None:
    core = cluster.core()
    budgets = dynamic(cluster).resources.get(api_version="policy/v1beta1", kind="PodDisruptionBudget")
    for name in ("a", "b"):
        core.create_namespaced_pod("shop", pod(name, {"app": "web"}))
        cluster.merge(f"/api/v1/namespaces/shop/pods/{name}/status", {"status": {"phase": "Running"}})
    selector = {"matchLabels": {"app": "web"}}
    budgets.create(body={"metadata": {"name": "web", "namespace": "shop"}, "spec": {"selector": selector}})
    budgets.status.patch(
        body={"status": {"disruptionsAllowed": 1}},
        name="web",
        namespace="shop",
        content_type=MERGE_PATCH,
    )
    eviction = dynamic(cluster).resources.get(api_version="v1", kind="Pod").subresources["eviction"]

    def evict(name: str, **query: Any) -> Any:
        body = {
            "apiVersion": "policy/v1beta1",
            "kind": "Eviction",
            "metadata": {"name": name, "namespace": "shop"},
        }
        return eviction.create(body=body, name=name, namespace="shop", **query)

    assert evict("a").status == "Success"
    with pytest.raises(TooManyRequestsError, match="violate the pod's disruption budget"):
        evict("b")
    assert [item.metadata.name for item in core.list_namespaced_pod("shop").items] == ["b"]
    with pytest.raises(NotFoundError):
        evict("a")


# --- who may do what


def test_no_token_no_answer(cluster: Cluster, dynamic: Any) -> None:
    with pytest.raises(UnauthorizedError) as error:
        dynamic(cluster, "wrong").resources.search(kind="Pod")
    assert status_of(error)["message"] == "Unauthorized"
    assert cluster.http("/api/v1/nodes", Authorization="Basic admin-token")[0] == 401


def test_whoever_has_a_token_may_do_everything(cluster: Cluster, dynamic: Any) -> None:
    reviews = dynamic(cluster, "dev-token").resources.get(
        api_version="authorization.k8s.io/v1", kind="SelfSubjectAccessReview"
    )
    asked = {"verb": "use", "group": "policy", "resource": "podsecuritypolicies", "name": "restricted"}
    assert reviews.create(body={"spec": {"resourceAttributes": asked}}).status.allowed is True


# --- what a rehearsal does not have


@pytest.mark.parametrize(
    ("method", "query", "content_type", "code"),
    [
        ("POST", "dryRun=All", "application/json", 400),
        ("GET", "watch=true", "application/json", 400),
        ("PATCH", "", "application/strategic-merge-patch+json", 415),
        ("PATCH", "", "application/json-patch+json", 415),
        ("PATCH", "", "application/apply-patch+yaml", 415),
    ],
)
def test_what_is_not_done_is_refused_and_changes_nothing(
    cluster: Cluster, method: str, query: str, content_type: str, code: int
) -> None:
    cluster.store.create("ConfigMap", configmap(a="1"))
    before = cluster.store.objects()
    path = "/api/v1/namespaces/shop/configmaps" + ("/settings" if method == "PATCH" else "")
    body = json.dumps(configmap("other", a="2"))
    assert cluster.http(f"{path}?{query}", method, body, Content_Type=content_type)[0] == code
    assert cluster.store.objects() == before


# --- admission


def test_admission_changes_and_refuses(start: Any, dynamic: Any) -> None:
    seen: list[tuple[str, str, str]] = []

    def admit(user: Identity, operation: str, obj: dict[str, Any]) -> None:
        seen.append((user.user, operation, obj["kind"]))
        if obj["metadata"].get("labels", {}).get("bad"):
            raise Forbidden("PodSecurityPolicy: unable to admit pod: []")
        if obj["kind"] == "Pod":
            obj["metadata"].setdefault("annotations", {})["kubernetes.io/psp"] = "restricted"

    cluster = start("1.20", admit=admit)
    core = cluster.core()
    created = core.create_namespaced_pod("shop", pod("p"))
    assert created.metadata.annotations == {"kubernetes.io/psp": "restricted"}
    cluster.merge("/api/v1/namespaces/shop/pods/p/status", {"status": {"phase": "Running"}})
    cluster.merge("/api/v1/namespaces/shop/pods/p", {"metadata": {"labels": {"good": "1"}}})
    assert seen == [("admin", "CREATE", "Pod"), ("admin", "UPDATE", "Pod")]
    body = pod("", {"bad": "1"})
    body["metadata"]["generateName"] = "web-"
    with pytest.raises(ApiException) as error:
        core.create_namespaced_pod("shop", body)
    assert json.loads(error.value.body) == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": 'pods "web-" is forbidden: PodSecurityPolicy: unable to admit pod: []',
        "reason": "Forbidden",
        "code": 403,
    }
    assert [item.metadata.name for item in core.list_namespaced_pod("shop").items] == ["p"]


# --- node proxy


def test_node_proxy(start: Any) -> None:
    async def kubelet(node: str, path: str) -> tuple[int, str, bytes]:
        if path == "/gone":
            raise ConnectionError("dial tcp 10.0.0.1:10250: connect: connection refused")
        return 200, "text/plain", f"{node} {path}".encode()

    cluster = start("1.20", node_proxy=kubelet)
    proxy = "/api/v1/nodes/node-1/proxy"
    assert cluster.http(f"{proxy}/configz") == (200, "node-1 /configz")
    assert cluster.http(f"{proxy}/logs/a/") == (200, "node-1 /logs/a/")
    assert cluster.core().connect_get_node_proxy_with_path("node-1", "configz") == "node-1 /configz"
    code, body = cluster.http("/api/v1/nodes/node-2/proxy/configz")
    assert (code, json.loads(body)["message"]) == (404, 'nodes "node-2" not found')
    code, body = cluster.http(f"{proxy}/gone")
    assert (code, json.loads(body)["reason"]) == (503, "ServiceUnavailable")
    assert "connection refused" in json.loads(body)["message"]


def test_node_proxy_without_kubelets(cluster: Cluster, dynamic: Any) -> None:
    with pytest.raises(ServiceUnavailableError):
        dynamic(cluster).request("get", "/api/v1/nodes/node-1/proxy/configz")


# --- bodies


def test_bodies_as_nothing_known(cluster: Cluster) -> None:
    path = "/api/v1/namespaces/shop/configmaps"
    for content_type, content, expected in [
        ("application/vnd.kubernetes.protobuf", "x", 415),
        ("application/json", "{", 400),
        ("application/json", "[]", 400),
        ("application/json", '{"metadata": []}', 400),
    ]:
        code, body = cluster.http(path, "POST", content, Content_Type=content_type)
        assert (code, json.loads(body)["kind"]) == (expected, "Status"), content


# --- the store by itself, and restarts


def test_a_restart_keeps_the_port_and_the_objects(cluster: Cluster) -> None:
    core = cluster.core()
    core.create_namespaced_config_map("shop", configmap(a="1"))
    port = cluster.port
    cluster.run(cluster.server.stop())
    with pytest.raises(OSError, match="refused"):
        cluster.http("/healthz")
    assert cluster.run(cluster.server.start(port=port)) == port
    assert core.read_namespaced_config_map("settings", "shop").data == {"a": "1"}
    with pytest.raises(RehearsalError, match="runs already"):
        cluster.run(cluster.server.start())


def test_load_and_objects_are_a_round_trip() -> None:
    store = ObjectStore("1.10")
    store.load([configmap(a="1"), NAMESPACE, psp(api_version="extensions/v1beta1")])
    kept = store.objects()
    assert [(obj["apiVersion"], obj["kind"], obj["metadata"]["name"]) for obj in kept] == [
        ("v1", "Namespace", "shop"),
        ("v1", "ServiceAccount", "default"),
        ("v1", "ConfigMap", "settings"),
        ("policy/v1beta1", "PodSecurityPolicy", "restricted"),
    ]
    again = ObjectStore("1.10")
    again.load(kept)
    assert again.objects() == kept
    created = again.create("ConfigMap", configmap("later"))
    newest = max(int(obj["metadata"]["resourceVersion"]) for obj in kept)
    assert int(created["metadata"]["resourceVersion"]) == newest + 1


def test_load_refuses_what_cannot_be() -> None:
    with pytest.raises(RehearsalError, match=r"1\.25 does not serve PodSecurityPolicy"):
        ObjectStore("1.25").load([psp()])
    with pytest.raises(RehearsalError, match="lies in the namespace 'shop'"):
        ObjectStore("1.20").load([configmap()])


def test_the_owner_is_told_of_every_write_and_gets_copies() -> None:
    store = ObjectStore("1.20")
    store.load([NAMESPACE])
    told: list[int] = []
    store.changed.append(lambda: told.append(store.generation))
    created = store.create("ConfigMap", configmap(a="1"))
    created["data"]["a"] = "mine"
    assert store.get("ConfigMap", "settings", "shop")["data"] == {"a": "1"}
    store.update("ConfigMap", "settings", "shop", lambda _: created)
    store.delete("ConfigMap", "settings", "shop")
    assert told == [told[0], told[0] + 1, told[0] + 2]
    with pytest.raises(ApiError, match='configmaps "settings" not found') as error:
        store.get("ConfigMap", "settings", "shop")
    assert error.value.code == 404


def test_method_not_allowed_through_the_client(cluster: Cluster, dynamic: Any) -> None:
    reviews = dynamic(cluster).resources.get(
        api_version="authorization.k8s.io/v1", kind="SelfSubjectAccessReview"
    )
    with pytest.raises(MethodNotAllowedError):
        reviews.get()
