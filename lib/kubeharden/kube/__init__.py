"""Private. Objects of the Kubernetes API as plain data. Pure."""
