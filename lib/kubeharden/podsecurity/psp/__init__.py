"""Private. PodSecurityPolicy: what policies decide about a pod. Pure."""
