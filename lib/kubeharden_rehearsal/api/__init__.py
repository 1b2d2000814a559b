"""The API server of a rehearsal: objects in memory, and HTTP in front of them."""
