"""Scalars of config files and what Go's YAML makes of them, as kube-proxy says with --write-config-to.

For the unit tests and for the lab, which holds them against the programs of each release that is built there.
"""

from __future__ import annotations

from typing import Any

# Fields of kube-proxy's file and the types that Go has for them.
GO_TYPES: dict[str, type] = {"enableProfiling": bool, "oomScoreAdj": int, "hostnameOverride": str}
# By field, what stands there: the value, or None where the program refuses the file.
GO_FIELDS: dict[str, dict[str, Any]] = {
    "enableProfiling": {
        **dict.fromkeys(("y", "Y", "yes", "Yes", "on", "ON", "TRUE", '!!bool "true"', "!!bool y"), True),
        **dict.fromkeys(("n", "N", "No", "Off", "False", '!!bool "n"'), False),
        **dict.fromkeys(('"true"', "tRue", "!!str true", "!!bool 1", "1", "!own true"), None),
    },
    "oomScoreAdj": {
        **dict.fromkeys(
            ("0o10", "010", "0O10", "08", "!!int 8", '!!int "8"', "0.8e1", "8.", "+8", "8_", "80e-1"), 8
        ),
        "0x10": 16,
        "0b11": 3,
        "0b1_1": 3,
        "1_0": 10,
        "1__0": 10,
        "110.0": 110,
        "1e2": 100,
        "-0": 0,
        "-0x10": -16,
        "-010": -8,
        "-0o7": -7,
        "!!float 5": 5,
        "0.1e1": 1,
        **dict.fromkeys(
            ("1.5", '"5"', "!own 7", "!!str 7", "1e-1", "0b2", "0x", "_1", "190:20:30", "!!int 5.0"), None
        ),
    },
    "hostnameOverride": {
        **{
            text: text
            for text in ("2020-01-01", "12:30", "1e400", "0o8", "0x", ".", "._5", "tRUE", "o", "=", "0x1p3")
        },
        "!own n1": "n1",
        "!!binary aGFsbG8=": "hallo",
        "!!timestamp 2020-01-01": "2020-01-01",
        '"y"': "y",
        **dict.fromkeys(
            ("123", "1.5", "true", "y", "NO", "0o17", "1_000", ".5", "1e3", "08", "12e4", ".inf"), None
        ),
        **dict.fromkeys(("-.INF", "1_0.5", "0b101", "12345678901234567890123", "!!float 5"), None),
    },
}
