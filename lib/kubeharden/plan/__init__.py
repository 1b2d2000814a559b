"""Private. The plan, as plain data. ``decide.make_plan`` makes one, ``proof.compare`` holds it. Pure."""

from kubeharden.plan.model import (
    FileChange,
    NodeChange,
    ObjectChange,
    Plan,
    Remark,
    digest_of,
    sha256,
    state_digest,
    unified_diff,
)

__all__ = [
    "FileChange",
    "NodeChange",
    "ObjectChange",
    "Plan",
    "Remark",
    "digest_of",
    "sha256",
    "state_digest",
    "unified_diff",
]
