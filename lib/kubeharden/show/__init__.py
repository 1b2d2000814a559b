"""Private. Views of facts, plans, results and records, for a notebook, a page and a terminal."""
