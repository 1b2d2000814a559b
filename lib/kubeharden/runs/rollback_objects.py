"""The objects of the API that a rollback puts back, where nobody has changed them since the run."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kubeharden.components.paths import walk
from kubeharden.facts import Facts
from kubeharden.kube.manifests import key_of, without_server_parts
from kubeharden.kube.names import BOOTSTRAPPING, POD_SECURITY_LABEL
from kubeharden.kube.resources import RESOURCES
from kubeharden.kube.shapes import mistake_in
from kubeharden.plan import ObjectChange, Remark, digest_of, state_digest
from kubeharden.plan.events import OUTCOMES, Completed, Failed
from kubeharden.plan.steps.pod_security import RETIRED
from kubeharden.podsecurity.retirement import leftovers, only_about_policies
from kubeharden.records.entries import ObjectEntry
from kubeharden.records.folder import PastRun
from kubeharden.records.later import words_of_object
from kubeharden.redaction import is_whole

UNVOUCHED = "nobody whose signature counts vouches for this record"
WRITTEN = (*RETIRED, "Namespace")  # the kinds of object that a run may change


class ChangedSinceError(Exception):
    """It is neither as the run left it nor as it was before."""


class ByOthersError(ChangedSinceError):
    """It is neither, and a later run may have left it so."""


def seal_command(past: PastRun) -> str:
    """Return the command with which somebody vouches for the record of a run."""
    return f"kubeharden seal {past.folder} --no-notebook"


@dataclass
class ObjectsBack:
    """Plans what puts objects back."""

    past: PastRun
    facts: Facts
    vouched: bool
    accepted: Collection[str]  # the objects that may be changed although nobody vouches for the record
    later: Callable[[], Sequence[PastRun]]  # returns the runs after this one, the newest first
    refused: list[Remark]  # gets those that are not put back, with the reason
    changes: list[ObjectChange] = field(default_factory=list)

    def add(self, step: str) -> None:
        """Plan for the objects of one step, the last one first."""
        for entry in reversed([entry for entry in self.past.objects if entry.step == step]):
            self._object(step, entry)

    def _object(self, step: str, entry: ObjectEntry) -> None:
        before, after = (self.past.object_content(entry, side) for side in ("before", "after"))
        try:
            for content in filter(None, (before, after)):
                self._check_shape(entry, content)
            now = self._current(before or after or {})
            try:
                self._put_back(step, entry, before, after, now)
            except ByOthersError as error:
                raise ChangedSinceError(
                    words_of_object(self.later(), entry.name, now) or str(error)
                ) from None
        except ChangedSinceError as error:
            self.refused.append(Remark(entry.name, str(error)))

    def _check_shape(self, entry: ObjectEntry, content: Mapping[str, Any]) -> None:
        kind = entry.name.partition(" ")[0]
        mistake = "" if kind in WRITTEN else f"no run writes a {kind}"
        mistake = mistake or mistake_in(content, kind)
        if mistake:
            raise ChangedSinceError(f"what the record has of it cannot be: {mistake}")

    def _add(self, change: ObjectChange) -> None:
        if wrong := self._not_ours(change):
            raise ChangedSinceError(wrong)
        self.changes.append(change)

    def _not_ours(self, change: ObjectChange) -> str:
        """Return why an object is not changed so, whatever the record says; empty where nothing is against it."""
        is_namespace = change.manifest["kind"] == "Namespace"
        if is_namespace and not (change.action == "update" and all(map(_is_label, _changed_paths(change)))):
            return "no run changes more of a namespace than its labels of pod security"
        if self.vouched:
            return ""
        sides = (change.before,) if change.delete else (change.before, change.manifest)
        if any(BOOTSTRAPPING in (side["metadata"].get("labels") or {}) for side in filter(None, sides)):
            return f"it belongs to Kubernetes itself, and {UNVOUCHED}"
        about_policies = all(map(self._is_about_policies, filter(None, sides)))
        if not (about_policies or change.delete or is_namespace):
            return f"it allows more than the use of policies, and {UNVOUCHED}"
        if change.name in self.accepted or (change.delete and about_policies):
            return ""
        return (
            f"{UNVOUCHED}, and nothing else says how it was. Name it in accept_unvouched if it is to become this, or "
            f"seal the record if you vouch for it ({seal_command(self.past)}):\n{change.diff}"
        )

    def _is_about_policies(self, item: Mapping[str, Any]) -> bool:
        """Return whether an object is a policy, or allows nothing but the use of policies."""
        if item["kind"] == "PodSecurityPolicy":
            return True
        if "roleRef" not in item:
            return item["kind"] in {"Role", "ClusterRole"} and only_about_policies(item)
        objects = self.facts.cluster.of
        roles, cluster_roles = list(objects("roles")), list(objects("clusterroles"))
        known = {(role["kind"], key_of(role)) for role in (*roles, *cluster_roles)}
        for entry in self.past.objects:  # one that is put back as well
            role = self.past.object_content(entry, "before") or {}
            kind = role.get("kind", "")
            if (
                kind in {"Role", "ClusterRole"}
                and not mistake_in(role, kind)
                and (kind, key_of(role)) not in known
            ):
                (roles if role["kind"] == "Role" else cluster_roles).append(role)
        plural = RESOURCES[item["kind"]].plural
        return item in leftovers({"roles": roles, "clusterroles": cluster_roles, plural: [item]})

    def _put_back(
        self,
        step: str,
        entry: ObjectEntry,
        before: Mapping[str, Any] | None,
        after: Mapping[str, Any] | None,
        now: Mapping[str, Any] | None,
    ) -> None:
        if (
            (before is None and now is None)
            or (before and now and digest_of(before) == digest_of(now))
            or self._was_refused(entry)
        ):
            return
        if before is None and now is not None and after is not None:
            if not self._is_ours(entry, now, after):
                raise ByOthersError(_difference(after, now))
            self._add(ObjectChange.deletion(step, now))
        elif before is not None and now is None:
            if after is not None:
                raise ByOthersError("somebody has deleted it since")
            self._add(ObjectChange(step, _whole(without_server_parts(before))))
        elif before is not None and now is not None:
            manifest = _restore(before, after or {}, now)
            if manifest is not None:
                self._add(ObjectChange(step, _whole(manifest), now))

    def _was_refused(self, entry: ObjectEntry) -> bool:
        """Return True where the run never got it written: what is there now is somebody else's, even if it is equal."""
        kinds = {
            type(event)
            for event in self.past.events
            if isinstance(event, OUTCOMES) and event.subject == entry.name
        }
        return Failed in kinds and Completed not in kinds

    def _current(self, like: Mapping[str, Any]) -> Mapping[str, Any] | None:
        items = self.facts.cluster.of(RESOURCES[like["kind"]].plural)
        return next((item for item in items if key_of(item) == key_of(like)), None)

    def _is_ours(self, entry: ObjectEntry, now: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
        """Return True where an object is as the run left it, as the run itself saw it then."""
        states = {
            event.state for event in self.past.of(Completed) if event.subject == entry.name and event.state
        }
        if states:
            return state_digest(now) in states
        planned, current = _leaves(after), _leaves(now)  # it was cut off before it could say
        return all(current.get(path) == value for path, value in planned.items())


def _changed_paths(change: ObjectChange) -> set[tuple[str, ...]]:
    was, will = _leaves(change.before or {}), _leaves(change.manifest)
    return {path for path in {**was, **will} if was.get(path) != will.get(path)}


def _is_label(path: tuple[str, ...]) -> bool:
    """Return whether this is where a label of Pod Security Admission is, or that there are labels at all."""
    return path[:2] == ("metadata", "labels") and all(
        key.startswith(f"{POD_SECURITY_LABEL}/") for key in path[2:]
    )


def _restore(
    before: Mapping[str, Any], after: Mapping[str, Any], now: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Return what is there, with what the run changed as it was before; None where it is so already.

    Raises:
        ChangedSinceError: somebody has changed the same thing since.
    """
    old, written, current = _leaves(before), _leaves(after), _leaves(now)
    result: dict[str, Any] | None = None
    for path in {**old, **written}:
        if old.get(path) == written.get(path) or current.get(path) == old.get(path):
            continue
        if current.get(path) != written.get(path):
            raise ByOthersError(_difference(after, now))
        result = _with(result or dict(now), path, old.get(path))
    return result


def _whole(manifest: dict[str, Any]) -> dict[str, Any]:
    """Return what is to be written; ChangedSinceError where the redaction took something out of it."""
    if not is_whole(json.dumps(manifest, ensure_ascii=False)):
        raise ChangedSinceError("the record has it without its secrets: put it back by hand")
    return manifest


def _difference(left: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    diff = ObjectChange("", now, left).diff
    return f"was changed since by somebody else; from what the run left to what is there:\n{diff}"


def _leaves(item: Mapping[str, Any]) -> dict[tuple[str, ...], Any]:
    """Return path and value of everything in an object that people decide; a list is one value."""
    return dict(walk(without_server_parts(item))) if item else {}


def _with(item: Mapping[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    """Return the object with another value at a path; None takes it out."""
    result = dict(item)
    if len(path) > 1:
        result[path[0]] = _with(item.get(path[0]) or {}, path[1:], value)
    elif value is None:
        result.pop(path[0], None)
    else:
        result[path[0]] = value
    return result
