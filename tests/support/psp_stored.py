"""What the server makes of a pod besides its policies, so that the policies' part can be compared exactly.

Three things happen to a pod that no policy does: defaults are filled in before, seccomp annotations and fields are
made to say the same afterwards, and what is empty is not written. The first and the last are taken from the server
itself, which is shown the same pod under a policy that allows everything; the second is written here a second time.
"""

from __future__ import annotations

import copy
from typing import Any

Object = dict[str, Any]

POD_PROFILE = "seccomp.security.alpha.kubernetes.io/pod"
CONTAINER_PROFILE = "container.seccomp.security.alpha.kubernetes.io/"
# What differs between any two requests.
OF_THE_REQUEST = ("uid", "creationTimestamp", "managedFields", "selfLink", "resourceVersion")
_KINDS = {"unconfined": "Unconfined", "runtime/default": "RuntimeDefault", "docker/default": "RuntimeDefault"}
_ANNOTATIONS = {"Unconfined": "unconfined", "RuntimeDefault": "runtime/default"}


def as_stored(filled_in: Object, policy: str, sent: Object, plain: Object) -> Object:
    """The pod as the server should answer it.

    Args:
        filled_in: the pod as a policy fills it in.
        policy: that policy's name.
        sent: the pod that was sent.
        plain: what the server made of it under a policy that allows everything.
    """
    result = copy.deepcopy(filled_in)
    sync_profiles(result)
    result["metadata"]["annotations"]["kubernetes.io/psp"] = policy
    return comparable(_with_defaults(result, sent, plain))


def comparable(pod: Object) -> Object:
    """A pod without what differs between any two requests."""
    metadata = {key: value for key, value in pod["metadata"].items() if key not in OF_THE_REQUEST}
    return {**pod, "metadata": metadata}


def sync_profiles(pod: Object) -> None:
    """Make annotations and fields say the same (pkg/registry/core/pod/strategy.go, applySeccompVersionSkew)."""
    notes, spec = pod["metadata"].setdefault("annotations", {}), pod["spec"]
    items = [(POD_PROFILE, spec)]
    for key in ("initContainers", "containers"):
        items += [(CONTAINER_PROFILE + item["name"], item) for item in spec.get(key, ())]
    for key, item in items:
        field = item.get("securityContext", {}).get("seccompProfile")
        if field and key not in notes:
            notes[key] = _ANNOTATIONS.get(field["type"]) or f"localhost/{field['localhostProfile']}"
        elif key in notes and not field:
            field = {"type": _KINDS.get(notes[key], "Localhost")}
            if field["type"] == "Localhost":
                field["localhostProfile"] = notes[key].removeprefix("localhost/")
            item.setdefault("securityContext", {})["seccompProfile"] = field


def _with_defaults(ours: Any, sent: Any, plain: Any) -> Any:
    """What the server added to the pod as sent is added to ours; what it left out as empty is left out of ours."""
    if isinstance(ours, dict) and isinstance(plain, dict):
        sent = sent if isinstance(sent, dict) else {}
        dropped = {key for key in sent if key not in plain and ours.get(key) == sent[key]}
        merged = {
            key: _with_defaults(value, sent.get(key), plain.get(key))
            for key, value in ours.items()
            if key not in dropped
        }
        return {
            **{key: value for key, value in plain.items() if key not in sent and key not in ours},
            **merged,
        }
    if (
        isinstance(ours, list)
        and isinstance(plain, list)
        and isinstance(sent, list)
        and len(ours) == len(plain)
    ):
        return (
            [_with_defaults(*items) for items in zip(ours, sent, plain, strict=True)] if sent != [] else ours
        )
    return ours
