"""The API server. The kubernetes client lives in this room and nowhere else.

``client`` speaks HTTP and asks again where that is safe, ``objects`` reads and writes API objects, ``keeping`` says
what is kept of them, ``waiting`` waits for what takes a moment; ``Cluster`` is all of it, for one server and one user.

Objects are plain dicts: the client's model classes for PodSecurityPolicy ended with its version 24, and they
are slow for long lists.
"""

from kubeharden.edges.cluster.cluster import Cluster

__all__ = ["Cluster"]
