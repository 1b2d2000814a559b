"""Read the files beside this module."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import yaml

# libyaml's loader reads the kubelet's table in 40 ms instead of 400.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read(name: str) -> Any:
    """Return the content of ``NAME.yaml``."""
    text = (files(__package__) / f"{name}.yaml").read_text(encoding="utf-8")
    return yaml.load(text, Loader=LOADER)  # noqa: S506 - a safe loader
