"""The verbs that a notebook calls. Notebooks import this module and no other.

run = runbook.start(globals())    # checks every parameter before anything is contacted
run.look()                        # reads the nodes and the cluster
run.plan()                        # what would be done; nothing has been changed yet
run.apply("kubelet")              # carries out one step of that plan
run.prove()                       # looks again and compares with what the plan promised
run.finish()                      # closes the record

past = runbook.records(globals()) # the runs that there were
past.list(), past.show(), past.compare(), past.since()
"""

from kubeharden.runs.past_runs import Records
from kubeharden.runs.run import Run
from kubeharden.runs.start import records, start

__all__ = ["Records", "Run", "records", "start"]
