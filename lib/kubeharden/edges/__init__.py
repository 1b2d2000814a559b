"""What talks to machines: nodes over SSH, and the API server."""
