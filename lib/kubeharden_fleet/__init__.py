"""Many clusters, on an engine that exists: waves, windows and approvals over runs of ``harden.ipynb``.

    # dags/europe.py, in the folder of DAGs of an Airflow
    from kubeharden_fleet import dag

    europe = dag("/etc/kubeharden/europe.yaml")

What is to be done is read from the clusters and their sealed records each time, never from what the engine remembers.
Only ``airflow_dag`` imports Airflow; all the rest serves any engine (docs/other-engines.md).
"""

from kubeharden_fleet.entry import dag

__all__ = ["dag"]
