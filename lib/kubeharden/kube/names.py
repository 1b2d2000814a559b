"""Names that Kubernetes gives to API groups and versions, labels, annotations and built-in groups of users."""

from __future__ import annotations

RBAC_GROUP = "rbac.authorization.k8s.io"
RBAC_API_VERSION = f"{RBAC_GROUP}/v1"
PSP_GROUP = "policy"
PSP_API_VERSION = f"{PSP_GROUP}/v1beta1"
PSP_RESOURCE = "podsecuritypolicies"
# The groups whose rules allow the use of policies: old rules say "extensions"
# (plugin/pkg/admission/security/podsecuritypolicy/admission.go, authorizedForPolicy).
PSP_USE_GROUPS = frozenset({PSP_GROUP, "extensions"})

AUTHENTICATED = "system:authenticated"

MIRROR = "kubernetes.io/config.mirror"
PSP_ANNOTATION = "kubernetes.io/psp"
LIMIT_RANGER_ANNOTATION = "kubernetes.io/limit-ranger"
BOOTSTRAPPING = "kubernetes.io/bootstrapping"  # the API server makes these objects again when it starts
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"  # the taint of a cordoned node
POD_SECURITY_LABEL = "pod-security.kubernetes.io"

# Seccomp and AppArmor profiles: of a pod, of one of its containers (with the container's name), of a policy.
SECCOMP_POD = "seccomp.security.alpha.kubernetes.io/pod"
SECCOMP_CONTAINER = "container.seccomp.security.alpha.kubernetes.io/"
SECCOMP_DEFAULT = "seccomp.security.alpha.kubernetes.io/defaultProfileName"
SECCOMP_ALLOWED = "seccomp.security.alpha.kubernetes.io/allowedProfileNames"
APPARMOR_CONTAINER = "container.apparmor.security.beta.kubernetes.io/"
APPARMOR_DEFAULT = "apparmor.security.beta.kubernetes.io/defaultProfileName"
APPARMOR_ALLOWED = "apparmor.security.beta.kubernetes.io/allowedProfileNames"
