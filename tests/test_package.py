"""The package says who made it, under which licence, and which version it is."""

from __future__ import annotations

import re
import tomllib

import kubeharden
from support import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_licence_is_the_text_that_the_metadata_name() -> None:
    assert PROJECT["license"] == "Apache-2.0"
    assert PROJECT["license-files"] == ["LICENSE"]
    text = " ".join((ROOT / "LICENSE").read_text().split())
    assert text.startswith("Apache License Version 2.0, January 2004")
    assert "END OF TERMS AND CONDITIONS" in text


def test_the_metadata_name_no_place_that_is_not_there() -> None:
    assert "urls" not in PROJECT
    assert not any(classifier.startswith("License ::") for classifier in PROJECT["classifiers"])


def test_the_newest_version_of_the_changelog_is_that_of_the_package() -> None:
    versions = re.findall(r"^## \[?(\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert versions[0] == kubeharden.__version__
