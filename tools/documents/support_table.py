"""The table of what is covered, by release, from the release tables.

tests/lab/results says which releases were tried on real clusters. This file has only which were rehearsed, and which
flags are worth a line.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import yaml

from documents.markdown import table
from kubeharden.releases import FIRST, LAST, Decoding, Release, ReleaseTable, admission_plugins, release_table

# Releases on which the tests do a whole run on a rehearsal.
REHEARSED = {
    Release(1, 10): "rehearsal `article-1.10`",
    Release(1, 20): "rehearsal `handbuilt-1.20`",
    Release(1, 23): "rehearsal `psp-1.23`",
    Release(1, 24): "rehearsal `containerd-1.24`",
    Release(1, 25): "rehearsal `containerd-1.25`",
    Release(1, 36): "rehearsal `containerd-1.36`",
}
# What the runs on real clusters wrote, by release.
RESULTS = Path(__file__).resolve().parents[2] / "tests" / "lab" / "results"
# Flags that people plan for when they come and go; the tables have the releases.
NOTABLE = {
    "kubelet": (
        "--allow-privileged",
        "--rotate-certificates",
        "--register-with-taints",
        "--network-plugin",
        "--container-runtime",
        "--container-runtime-endpoint",
        "--dynamic-config-dir",
        "--logtostderr",
        "--pod-infra-container-image",
    ),
    "kube-proxy": ("--healthz-port", "--udp-timeout"),
    "kube-scheduler": ("--algorithm-provider", "--policy-config-file", "--port"),
}
UNKNOWN_KEYS = {Decoding.SILENT: "ignored", Decoding.LENIENT: "warned of", Decoding.STRICT: "refused"}
# The plugin is on by default from 1.22 on, and does nothing before its gate is on: beta in 1.23.
POD_SECURITY_GATE_SINCE = Release(1, 23)
HEAD = (
    "Kubernetes",
    "kubelet's flags: all = with a field + without",
    "kubelet's fields",
    "apiVersions of kube-scheduler's file",
    "unknown keys in a file",
    "pod security",
    "comes and goes",
    "tried on",
)


def support_table() -> Iterator[str]:
    """Yield the lines of the table."""
    return table(HEAD, [_row(Release(1, minor)) for minor in range(FIRST.minor, LAST.minor + 1)])


def _row(release: Release) -> tuple[str, ...]:
    kubelet, scheduler = release_table("kubelet", release), release_table("kube-scheduler", release)
    with_field = sum(1 for flag in kubelet.flags.values() if flag.fields and not flag.stays)
    return (
        str(release),
        f"{len(kubelet.flags)} = {with_field} + {len(kubelet.flags) - with_field}",
        str(sum(1 for field in kubelet.fields.values() if field.type != "object")),
        ", ".join(version.removeprefix("kubescheduler.config.k8s.io/") for version in scheduler.api_versions),
        _unknown_keys(kubelet, scheduler),
        _pod_security(release),
        ", ".join(_events(release)),
        ", ".join(_tried_on(release)) or "tests without a cluster",
    )


def _tried_on(release: Release) -> Iterator[str]:
    path = RESULTS / f"{release}.yaml"
    found = yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else {}
    if stages := found.get("stages"):
        failed = sum(stage["outcome"] != "passed" for stage in stages)
        how = f"; {failed} of {len(stages)} stages failed" if failed else ""
        yield f"a real {found['version']} cluster (the lab{how})"
    if release in REHEARSED:
        yield REHEARSED[release]


def _unknown_keys(kubelet: ReleaseTable, scheduler: ReleaseTable) -> str:
    most, last = UNKNOWN_KEYS[kubelet.decoding], UNKNOWN_KEYS[scheduler.decoding]
    return most if most == last else f"{most}; {last} by kube-scheduler"


def _pod_security(release: Release) -> str:
    plugins = admission_plugins(release)
    kinds = [] if "PodSecurityPolicy" in plugins.removed else ["PodSecurityPolicy"]
    if "PodSecurity" in plugins.default_on and release >= POD_SECURITY_GATE_SINCE:
        kinds.append("Pod Security Admission")
    return ", ".join(kinds)


def _events(release: Release) -> Iterator[str]:
    if release == FIRST:
        return
    for component, names in NOTABLE.items():
        before = release_table(component, Release(release.major, release.minor - 1))
        now = release_table(component, release)
        for name in names:
            old, new = before.flag(name), now.flag(name)
            who = "" if component == "kubelet" else f" of {component}"
            if old and not new:
                yield f"`{name}`{who} is gone"
            elif old and new and new.fields and not old.fields:
                yield f"`{name}`{who} has a field"
            elif old and new and new.deprecated and not old.deprecated:
                yield f"`{name}`{who} is deprecated"
