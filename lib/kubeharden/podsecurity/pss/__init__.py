"""Private. Pod Security Standards: what the levels say about a pod. Pure."""
