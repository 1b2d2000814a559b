"""YAML and JSON that come from outside, read within bounds: of length, depth, number of values, and aliases. Pure."""

from kubeharden.formats.bounded import as_json, as_yaml, read_file

__all__ = ["as_json", "as_yaml", "read_file"]
