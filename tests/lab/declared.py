"""What the profile of the article hardens in a kubelet, as its /configz serves it."""

from __future__ import annotations

from typing import Any

CIPHERS = [
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
]
# path → the value afterwards; an unset field is not served
DECLARED: dict[str, Any] = {
    "authentication.anonymous.enabled": False,
    "readOnlyPort": None,
    "tlsCipherSuites": CIPHERS,
    "tlsMinVersion": "VersionTLS12",
}
