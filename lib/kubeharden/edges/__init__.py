"""Private. The edges of the library: nodes over SSH, and the API server."""
