"""The login of this process, as the operating system knows it."""

from __future__ import annotations

import getpass
import os
from contextlib import suppress


def login_name() -> str:
    """Return it; empty for a uid without an entry in passwd, as in some containers."""
    with suppress(KeyError, OSError):
        return getpass.getuser()
    return ""


def login_or_uid() -> str:
    """Return it, or else the uid as text."""
    return login_name() or str(os.getuid())
