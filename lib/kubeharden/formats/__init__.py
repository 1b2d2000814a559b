"""YAML and JSON that come from outside, read within bounds: of length, depth, number of values, and aliases. Pure."""

from kubeharden.formats.bounded import Scalar, as_json, as_yaml, read_file, scalars_of

__all__ = ["Scalar", "as_json", "as_yaml", "read_file", "scalars_of"]
