"""The pictures in docs/pictures are those that the script takes, small, and shown on a page."""

from __future__ import annotations

import re
import runpy
import struct
from pathlib import Path
from typing import Any

import pytest

from support import ROOT

PAGE = (ROOT / "docs/records.md").read_text()
SCRIPT = runpy.run_path(str(ROOT / "docs/screenshots.py"), run_name="screenshots")
PICTURES: Path = SCRIPT["PICTURES"]


@pytest.mark.parametrize("picture", SCRIPT["TAKEN"], ids=lambda picture: picture.name)
def test_each_picture_is_there_small_and_shown(picture: Any) -> None:
    content = (PICTURES / f"{picture.name}.png").read_bytes()
    assert len(content) < 200_000
    assert struct.unpack(">II", content[16:24]) == (picture.width, picture.height)
    assert f"(pictures/{picture.name}.png)" in PAGE


def test_there_are_no_others() -> None:
    there = {path.stem for path in PICTURES.iterdir()}
    assert there == {picture.name for picture in SCRIPT["TAKEN"]}
    assert {*re.findall(r"pictures/([\w-]+)\.png", PAGE)} == there
