"""Many clusters, on an engine that exists: waves, windows and approvals over runs of ``harden.ipynb``.

    # dags/europe.py, in the folder of DAGs of an Airflow
    from kubeharden_fleet import dag

    europe = dag("/etc/kubeharden/europe.yaml")

What is to be done is read from the clusters and their sealed records each time, never from what the engine remembers.
Only ``airflow_dag`` imports Airflow; all the rest serves any engine (docs/other-engines.md).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["dag"]


def dag(path: str | Path) -> Any:
    """Return the DAG of Airflow for a fleet.

    Args:
        path: the file ``fleet.yaml``.

    Raises:
        ParameterError: the file is wrong; every mistake is named.
    """
    from kubeharden_fleet.airflow_dag import build  # noqa: PLC0415 - Airflow is there only where a DAG is wanted

    return build(Path(path))
