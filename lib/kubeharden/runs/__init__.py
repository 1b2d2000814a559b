"""Private. Runs of a runbook: what the cells of a notebook do one after the other."""
