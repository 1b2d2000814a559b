"""Pictures that may pass: a PNG, of which only what is drawn stays, and an SVG without anything that acts."""

from __future__ import annotations

import base64
import re
import struct
import zlib

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Chunks that are drawn; others hold texts, profiles and times (PNG, third edition, section 11).
_DRAWN = (b"IHDR", b"PLTE", b"tRNS", b"gAMA", b"sRGB", b"pHYs", b"IDAT", b"IEND")
_ACTS = re.compile(
    r"(?i)<\s*(?:[\w-]+:)?(?:script|foreignObject|handler|listener|iframe|embed|object|audio|video|set|discard|animate\w*)\b"
    r"|[\s\"'/]on\w+\s*=|javascript\s*:|<!ENTITY|<\?xml-stylesheet|@import"
    r"|\bsrcset\s*=|image(?:-set)?\(|\\[0-9a-f]"  # the last: an escape of CSS, which may spell any word
    r"|(?:href|src)\s*=\s*+(?:[\"']\s*+)?(?!#|data:image/png;|[\"'\s#])|url\(\s*[\"']?(?!#)"
)


def png_of(text: str) -> str:
    """Return a PNG in base64 with nothing in it but what is drawn; empty where it is not a whole PNG."""
    try:
        data = base64.b64decode("".join(text.split()), validate=True)
    except ValueError:
        return ""
    at, pieces, kinds = len(_SIGNATURE), [_SIGNATURE], list[bytes]()
    while data.startswith(_SIGNATURE) and kinds[-1:] != [b"IEND"]:
        head = data[at : at + 8]
        end = at + 12 + int.from_bytes(head[:4])
        kind, body = head[4:], data[at + 8 : end - 4]
        if end > len(data) or data[end - 4 : end] != struct.pack(">I", zlib.crc32(kind + body)):
            return ""
        kinds.append(kind)
        pieces += [data[at:end]] if kind in _DRAWN else []
        at = end
    whole = kinds[:1] == [b"IHDR"] and b"IDAT" in kinds
    return base64.b64encode(b"".join(pieces)).decode("ascii") if whole else ""


def is_still(svg: str) -> bool:
    """Check that an SVG has no script, does nothing by itself, and leads nowhere."""
    return _ACTS.search(svg) is None
