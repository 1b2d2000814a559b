"""The API server of the rehearsal against real ones: what runs send, sent to both, and answered alike.

A rehearsal fills in few defaults, so what it answers must be part of what a real server answers; refusals must be the
same to the letter. Times, ids and versions of objects are each server's own. The rest of what is different is in
``OTHERWISE``, by release: nothing else may be.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from real_api import TOKEN, Answer, Api, programs, real_api

from fakes import FakeClient, World, planned
from kubeharden.kube.rbac import Identity
from kubeharden.kube.resources import RESOURCES
from kubeharden.releases import Release, feature
from kubeharden_rehearsal.api.server import ApiServer
from kubeharden_rehearsal.api.store import ObjectStore
from kubeharden_rehearsal.control_plane import _bootstrap

PROGRAMS = programs()
NOTHING = "no API server of any release is built here (make lab-cache)"
# From a release on, the rehearsal whose run is sent, and its parameters.
RUNS: dict[str, tuple[str, dict[str, Any]]] = {
    "1.20": ("handbuilt-1.20", {"default_policy": "baseline"}),
    "1.24": ("containerd-1.24", {"enforce": True}),
    "1.25": ("containerd-1.25", {"enforce": True}),
    "1.36": ("containerd-1.36", {"enforce": True}),
}
OWN = {
    *(
        "uid",
        "resourceVersion",
        "creationTimestamp",
        "managedFields",
        "selfLink",
        "continue",
        "remainingItemCount",
    ),
    *("deletionTimestamp", "generation", "details", "gitVersion", "gitCommit", "buildDate", "goVersion"),
    *("gitTreeState", "major", "minor", "platform", "compiler"),
}


@dataclass(frozen=True)
class Call:
    """A request of a run: whether it succeeded there."""

    method: str
    path: str
    body: Any = None
    content: str = "application/json"
    good: bool = True

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def release_of(program: Path) -> Release:
    return Release.parse(program.parts[-4].removeprefix("kubernetes-"))


def sent_by_runs(name: str, folder: Path, **given: Any) -> tuple[list[dict[str, Any]], list[Call]]:
    """The objects of a cluster as it is at first, and what a run sends that drains and changes everything."""
    world, calls = World(name), []
    objects = world.store.objects()
    send = FakeClient._send

    def noted(client: FakeClient, method: str, path: str, body: Any, query: Any) -> Any:
        answer = send(client, method, path, body, query)
        words = "&".join(f"{key}={value}" for key, value in query)
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        calls.append(Call(method, f"{path}?{words}" if words else path, body, kind, answer.good))
        return answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FakeClient, "_send", noted)
        run = planned(world, folder, mode="apply", drain=True, **given)
        for step in run.kind.steps:
            run.apply(step)
        run.prove()
        run.finish()
    return objects, calls


def refused_calls(release: Release) -> list[Call]:
    """What may go wrong with the requests of a run."""
    namespaces, role = "/api/v1/namespaces", "/apis/rbac.authorization.k8s.io/v1/namespaces/kube-system/roles"
    merge, absent = "application/merge-patch+json", "/api/v1/namespaces/kube-system/configmaps/absent"
    made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "made", "namespace": "kube-system"}}
    maps = "/api/v1/namespaces/kube-system/configmaps"
    return [
        Call("GET", absent),
        Call("GET", f"{role}/absent"),
        Call("GET", "/api/v1/nodes/absent"),
        Call("GET", "/api/v1/nodes/absent/proxy/configz"),
        Call("GET", "/apis/no.such.group/v1/things"),
        Call("GET", "/api/v1/things"),
        Call("GET", "/apis/policy/v9"),
        Call("GET", "/apis/policy/v9/things"),
        Call("GET", "/api/v1/pods/absent"),
        Call("GET", "/api/v1/namespaces/kube-system/pods/absent/x/y"),
        Call("GET", f"{maps}?limit=many"),
        Call("POST", maps, made),
        Call("POST", maps, made),
        Call("POST", maps, {**made, "kind": "Secret"}),
        Call("POST", maps, {**made, "metadata": {"namespace": "kube-system"}}),
        Call("POST", maps, {**made, "metadata": {"name": "made", "namespace": "default"}}),
        Call("POST", f"{namespaces}/absent/configmaps", {**made, "metadata": {"name": "made"}}),
        Call("POST", maps, "{"),
        Call("POST", maps, "[]"),
        Call("POST", maps, "a: b", "text/plain"),
        Call("PUT", f"{maps}/made", {**made, "metadata": {**made["metadata"], "resourceVersion": "1"}}),
        Call("PUT", f"{maps}/made", {**made, "metadata": {**made["metadata"], "name": "other"}}),
        Call("PUT", absent, {**made, "metadata": {"name": "absent", "namespace": "kube-system"}}),
        Call("PATCH", absent, {"data": {"a": "b"}}, merge),
        Call("PATCH", f"{maps}/made", {"metadata": {"resourceVersion": "1"}, "data": {"a": "b"}}, merge),
        Call("PATCH", f"{maps}/made", {"data": {"a": "b"}}, merge),
        Call("DELETE", f"{maps}/made", {"preconditions": {"uid": "of-another"}}),
        Call("DELETE", f"{maps}/made", {"preconditions": {"resourceVersion": "1"}}),
        Call("DELETE", absent),
        Call("DELETE", f"{maps}/made"),
        Call("POST", "/api/v1/namespaces/kube-system/pods/absent/eviction", eviction("absent", release)),
    ]


def eviction(name: str, release: Release) -> dict[str, Any]:
    return {
        "apiVersion": "policy/v1"
        if feature("policy/v1 of evictions").in_release(release)
        else "policy/v1beta1",
        "kind": "Eviction",
        "metadata": {"name": name, "namespace": "kube-system"},
    }


@contextmanager
def rehearsed_api(release: Release) -> Iterator[Api]:
    """The API server of the rehearsal, with the objects that every cluster has."""
    store = ObjectStore(str(release))
    store.load(_bootstrap(release))
    server = ApiServer(store, users={TOKEN: Identity("kubernetes-admin", frozenset({"system:masters"}))})
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    port = asyncio.run_coroutine_threadsafe(server.start(), loop).result(30)
    try:
        yield Api(port)
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)


def translated(api: Api, call: Call) -> Any:
    """The body of a call with this server's own ids and versions, where it succeeded with those of another."""
    body = call.body
    if not isinstance(body, dict) or not call.good:
        return body
    path = call.path.partition("?")[0].removesuffix("/eviction").removesuffix("/status")
    there = (api.call("GET", path).body or {}).get("metadata") or {}
    return _with_own(body, there)


def _with_own(value: Any, there: dict[str, Any]) -> Any:
    if isinstance(value, dict):
        return {
            key: there.get(key, inner) if key in ("uid", "resourceVersion") else _with_own(inner, there)
            for key, inner in value.items()
        }
    return value


def without_own(value: Any) -> Any:
    """An answer without what is each server's own."""
    if isinstance(value, dict):
        return {key: without_own(inner) for key, inner in value.items() if key not in OWN}
    if isinstance(value, list):
        return [without_own(inner) for inner in value]
    return value


def differences(rehearsed: Any, real: Any, path: str = "") -> Iterator[str]:
    """What a rehearsal answers and a real server does not."""
    if isinstance(rehearsed, dict) and isinstance(real, dict):
        for key, inner in rehearsed.items():
            if key not in real and inner not in (None, "", [], {}, 0, False):
                yield f"{path}.{key}: {inner!r} is not there"
            elif key in real:
                yield from differences(inner, real[key], f"{path}.{key}")
    elif isinstance(rehearsed, list) and isinstance(real, list):
        yield from _in_lists(rehearsed, real, path)
    elif rehearsed != real:
        yield f"{path}: {rehearsed!r:.300}, and in truth {real!r:.300}"


def _in_lists(rehearsed: list[Any], real: list[Any], path: str) -> Iterator[str]:
    if path.endswith(".verbs"):  # a rehearsal has no watches, and deletes no collections
        yield from (f"{path}: {verb} is not there" for verb in rehearsed if verb not in real)
    elif all(isinstance(one, dict) and _key(one) != ("", "") for one in (*rehearsed, *real)):
        by_key = {_key(one): one for one in real}
        for one in rehearsed:
            if _key(one) in by_key:
                yield from differences(one, by_key[_key(one)], f"{path}[{_key(one)}]")
            else:
                yield f"{path}[{_key(one)}] is not there"
    elif len(rehearsed) != len(real):
        yield f"{path}: {len(rehearsed)} and {len(real)} items: {rehearsed!r:.200} {real!r:.200}"
    else:
        for index, (one, other) in enumerate(zip(rehearsed, real, strict=True)):
            yield from differences(one, other, f"{path}[{index}]")


def _key(item: dict[str, Any]) -> tuple[str, str]:
    metadata = item.get("metadata") or item  # of discovery
    return metadata.get("namespace", ""), metadata.get("name", "")


# What is otherwise, and why that is so.
OTHERWISE = {
    r"/proxy/": "no kubelet is there to be reached",
    r"clusterroles.*\.rules": "a rehearsal has no more of the roles of every cluster than it needs",
    r"json parse error": "the words of another parser",
}


def told(call: Call, rehearsed: Answer, real: Answer) -> Iterator[str]:
    """How two answers to a call differ."""
    if rehearsed.code != real.code:
        yield f"{call}: {rehearsed.code} {rehearsed.text:.300}, and in truth {real.code} {real.text:.300}"
    elif rehearsed.kind.partition(";")[0] != real.kind.partition(";")[0]:
        yield f"{call}: {rehearsed.kind}, and in truth {real.kind}: {real.text:.300}"
    elif rehearsed.body is None:
        if rehearsed.text != real.text:
            yield f"{call}: {rehearsed.text!r}, and in truth {real.text!r}"
    else:
        for words in differences(without_own(rehearsed.body), without_own(real.body)):
            yield f"{call}: {words}"


def path_of(item: dict[str, Any], api: Api) -> str:
    """The collection that an object is made in."""
    version = item["apiVersion"]
    base = f"/apis/{version}" if "/" in version else f"/api/{version}"
    [plural] = [
        row["name"]
        for row in api.call("GET", base).body["resources"]
        if row["kind"] == item["kind"] and "/" not in row["name"]
    ]
    namespace = item["metadata"].get("namespace")
    return f"{base}/namespaces/{namespace}/{plural}" if namespace else f"{base}/{plural}"


def filled(api: Api, objects: list[dict[str, Any]], real: Api) -> None:
    """Make the objects of a cluster; those that every cluster has are there."""
    order = ["Namespace", "Node", "ServiceAccount"]
    for item in sorted(objects, key=lambda item: order.index(item["kind"]) if item["kind"] in order else 9):
        metadata = {
            key: value
            for key, value in item["metadata"].items()
            if key in ("name", "namespace", "labels", "annotations")
        }
        made = {**item, "metadata": metadata}
        if item["kind"] != "Node":
            made.pop("status", None)
        answer = api.call("POST", path_of(item, real), made)
        assert answer.code in (201, 409), (item["kind"], metadata["name"], answer.text)


@pytest.mark.parametrize(
    "program",
    PROGRAMS or [pytest.param(None, marks=pytest.mark.skip(reason=NOTHING))],
    ids=lambda program: str(release_of(program)) if program else "none",
)
def test_what_runs_send_is_answered_alike(program: Path, tmp_path: Path) -> None:
    release = release_of(program)
    *_, (name, given) = (run for since, run in RUNS.items() if Release.parse(since) <= release)
    objects, calls = sent_by_runs(name, tmp_path / "run", **given)
    assert len(calls) > 50
    (tmp_path / "real").mkdir()
    with real_api(program, tmp_path / "real") as real, rehearsed_api(release) as rehearsed:
        psp = feature("PodSecurityPolicy").in_release(release)
        kinds = {kind for kind in RESOURCES if kind != "PodSecurityPolicy" or psp}
        known = [item for item in objects if item["kind"] in kinds]
        filled(real, known, real)
        filled(rehearsed, known, real)
        found = []
        for call in [*calls, *refused_calls(release)]:
            answers = [
                api.call(call.method, call.path, translated(api, call), call.content)
                for api in (rehearsed, real)
            ]
            found += told(call, *answers)
            if call.method == "DELETE" or call.path.endswith(
                "/eviction"
            ):  # a rehearsal's pod is gone at once
                place = call.path.removesuffix("/eviction")
                real.call("DELETE", f"{place}?gracePeriodSeconds=0")
        unknown = Call("GET", "/api/v1/nodes")
        found += told(
            unknown, *(api.call("GET", "/api/v1/nodes", token="of-nobody") for api in (rehearsed, real))
        )
    meant = {words for words in found if any(re.search(pattern, words) for pattern in OTHERWISE)}
    wrong = "\n".join(sorted(set(found) - meant))
    assert not wrong, wrong
