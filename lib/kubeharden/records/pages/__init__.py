"""Pages of records that open from a file: no script, nothing fetched, readable in both themes and in print. Pure."""
