"""Private. The plan, as plain data. ``decide.make_plan`` makes one, ``proof.compare`` holds it. Pure."""

from kubeharden.plan.model import (
    FileChange,
    NodeChange,
    ObjectChange,
    Plan,
    Remark,
    digest_of,
    node_of_subject,
    sha256,
    state_digest,
    subject_of,
    unified_diff,
)

__all__ = [
    "FileChange",
    "NodeChange",
    "ObjectChange",
    "Plan",
    "Remark",
    "digest_of",
    "node_of_subject",
    "sha256",
    "state_digest",
    "subject_of",
    "unified_diff",
]
