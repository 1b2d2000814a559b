"""Read the files beside this module."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict

# libyaml's loader reads the kubelet's table in 40 ms instead of 400.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Row(BaseModel):
    """A row of a table that is kept by hand, with its types; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def read(name: str, package: str = __package__) -> Any:
    """Return the content of ``NAME.yaml``, which ships in a package; of this one by default."""
    text = (files(package) / f"{name}.yaml").read_text(encoding="utf-8")
    return yaml.load(text, Loader=LOADER)  # noqa: S506 - a safe loader


def tables() -> frozenset[str]:
    """Return the names of all files beside this module."""
    return frozenset(path.name.removesuffix(".yaml") for path in files(__package__).iterdir())
