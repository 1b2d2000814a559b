"""How facts, plans, results and records look, in a notebook, on a page and in a terminal."""
