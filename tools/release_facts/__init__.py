"""Facts about each release of Kubernetes, taken from the release itself, and the tables made of them."""
