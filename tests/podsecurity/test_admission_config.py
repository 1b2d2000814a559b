"""The AdmissionConfiguration: made anew, put into what is there, and never looser than it was."""

from __future__ import annotations

import pytest
import yaml

from kubeharden.errors import MigrationRefusedError
from kubeharden.podsecurity.admission_config import inner_version, render_config, with_defaults_set
from kubeharden.releases import Release

ANNOUNCED = {"enforce": "privileged", "audit": "baseline", "warn": "baseline"}
ENFORCED = {"enforce": "baseline", "audit": "baseline", "warn": "baseline"}
GROUP = "pod-security.admission.config.k8s.io"
NEW = Release(1, 25)


@pytest.mark.parametrize(
    ("minor", "version"), [(22, "v1alpha1"), (23, "v1beta1"), (24, "v1beta1"), (25, "v1"), (36, "v1")]
)
def test_the_inner_apiversion_is_the_releases(minor: int, version: str) -> None:
    assert inner_version(Release(1, minor)) == f"{GROUP}/{version}"
    content = with_defaults_set(Release(1, minor), None, ENFORCED, f"v1.{minor}")
    assert content["apiVersion"] == "apiserver.config.k8s.io/v1"
    [plugin] = content["plugins"]
    assert plugin["configuration"]["apiVersion"] == f"{GROUP}/{version}"
    assert plugin["configuration"]["defaults"]["enforce-version"] == f"v1.{minor}"


def test_a_release_without_it_is_refused() -> None:
    with pytest.raises(MigrationRefusedError, match=r"Kubernetes 1\.21 has no Pod Security Admission"):
        inner_version(Release(1, 21))


def test_other_plugins_stay_as_they_are_and_where_they_are() -> None:
    limits = {"name": "EventRateLimit", "path": "eventconfig.yaml"}
    hooks = {"name": "ImagePolicyWebhook", "configuration": {"imagePolicy": {"defaultAllow": False}}}
    existing = {
        "apiVersion": "apiserver.k8s.io/v1alpha1",
        "kind": "AdmissionConfiguration",
        "plugins": [limits, hooks],
    }
    content = with_defaults_set(NEW, existing, ENFORCED, "v1.25")
    assert content["plugins"][:2] == [limits, hooks]
    assert content["plugins"][2]["name"] == "PodSecurity"
    assert content["apiVersion"] == existing["apiVersion"]
    assert len(existing["plugins"]) == 2
    assert yaml.safe_load(render_config(content)) == content


def test_exemptions_stay_and_what_is_stricter_too() -> None:
    part = {
        "apiVersion": f"{GROUP}/v1beta1",
        "kind": "PodSecurityConfiguration",
        "defaults": {"enforce": "restricted", "enforce-version": "latest", "warn": "privileged"},
        "exemptions": {"namespaces": ["ci"]},
    }
    existing = {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AdmissionConfiguration",
        "plugins": [{"name": "PodSecurity", "configuration": part}],
    }
    [plugin] = with_defaults_set(NEW, existing, ENFORCED, "v1.25")["plugins"]
    assert plugin["configuration"]["exemptions"] == {"namespaces": ["ci"]}
    assert plugin["configuration"]["apiVersion"] == f"{GROUP}/v1beta1"
    assert plugin["configuration"]["defaults"] == {
        "enforce": "restricted",
        "enforce-version": "latest",
        "warn": "baseline",
        "warn-version": "v1.25",
        "audit": "baseline",
        "audit-version": "v1.25",
    }


def test_what_was_announced_is_enforced_and_then_it_stays() -> None:
    first = with_defaults_set(NEW, None, ANNOUNCED, "v1.25")
    second = with_defaults_set(NEW, first, ENFORCED, "v1.25")
    enforced = [file["plugins"][0]["configuration"]["defaults"]["enforce"] for file in (first, second)]
    assert enforced == ["privileged", "baseline"]
    assert with_defaults_set(NEW, second, ENFORCED, "v1.25") == second
    # A new namespace is not a reason to open the others.
    assert with_defaults_set(NEW, second, ANNOUNCED, "v1.25") == second


@pytest.mark.parametrize(
    ("existing", "words"),
    [
        ({"kind": "Policy"}, "it is not an AdmissionConfiguration, but 'Policy'"),
        (
            {"kind": "AdmissionConfiguration", "plugins": [{"name": "PodSecurity", "path": "psa.yaml"}]},
            "keeps PodSecurity's part in another file, psa.yaml",
        ),
    ],
)
def test_a_file_that_it_cannot_be_put_into_is_refused(existing: dict, words: str) -> None:
    with pytest.raises(MigrationRefusedError, match=words):
        with_defaults_set(NEW, existing, ENFORCED, "v1.25")
