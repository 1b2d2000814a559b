"""Private. What a file in the folder of DAGs calls."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def dag(path: str | Path) -> Any:
    """Return the DAG of Airflow for a fleet.

    Args:
        path: the file ``fleet.yaml``.

    Raises:
        ParameterError: the file is wrong; every mistake is named.
    """
    from kubeharden_fleet.airflow_dag import build  # noqa: PLC0415 - Airflow is there only where a DAG is wanted

    return build(Path(path))
