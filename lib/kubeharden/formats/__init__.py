"""Private. YAML and JSON from outside, read within bounds: of length, depth, number of values, and aliases. Pure."""

from kubeharden.formats.bounded import (
    BYTE_ORDER_MARK,
    Scalar,
    as_document,
    as_json,
    as_yaml,
    comments_of,
    end_of_document,
    is_shallow,
    read_file,
    scalars_of,
    tree_of,
)

__all__ = [
    "BYTE_ORDER_MARK",
    "Scalar",
    "as_document",
    "as_json",
    "as_yaml",
    "comments_of",
    "end_of_document",
    "is_shallow",
    "read_file",
    "scalars_of",
    "tree_of",
]
