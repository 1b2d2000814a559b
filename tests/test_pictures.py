"""The pictures in docs/pictures are those that the script takes, small, and shown on a page."""

from __future__ import annotations

import re
import struct

import pytest

from documents.pictures import PICTURES, TAKEN, Picture
from support import ROOT

PAGE = (ROOT / "docs/records.md").read_text()


@pytest.mark.parametrize("picture", TAKEN, ids=lambda picture: picture.name)
def test_each_picture_is_there_small_and_shown(picture: Picture) -> None:
    content = (PICTURES / f"{picture.name}.png").read_bytes()
    assert len(content) < 200_000
    assert struct.unpack(">II", content[16:24]) == (picture.width, picture.height)
    assert f"(pictures/{picture.name}.png)" in PAGE


def test_there_are_no_others() -> None:
    there = {path.stem for path in PICTURES.iterdir()}
    assert there == {picture.name for picture in TAKEN}
    assert {*re.findall(r"pictures/([\w-]+)\.png", PAGE)} == there
