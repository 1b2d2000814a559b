"""What a run leaves behind besides the executed notebook: a folder with its plan and its journal.

The journal is written by hooks in the library as things happen, one line an event, each on disk before the
next thing is done. Everything in it has passed the redaction.
"""

from __future__ import annotations

import json
import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kubeharden.errors import ParameterError
from kubeharden.plan import Plan
from kubeharden.redact import redact


class Record:
    """The folder of one run, made when the run starts.

    Args:
        parent: where runs are kept.
        cluster: the cluster's name.
        label: the change id, or what else tells this run from others.

    Raises:
        ParameterError: the folder cannot be made.
    """

    def __init__(self, parent: Path, cluster: str, label: str) -> None:
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")[:-3] + "Z"
        words = "-".join(
            re.sub(r"[^A-Za-z0-9._]+", "-", word).strip("-.") for word in (cluster, label) if word
        )
        self.run = f"{stamp}-{words}"
        self.folder = parent / self.run
        try:
            parent.mkdir(parents=True, exist_ok=True)
            self.folder.mkdir(mode=0o700)
        except OSError as error:
            raise ParameterError(
                f"output_dir: cannot write records to {str(parent)!r} ({error.strerror}); expected a folder "
                "that can be written"
            ) from None
        self._journal = os.open(self.folder / "journal.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def event(self, action: str, **what: Any) -> None:
        """Write one line to the journal; it is on disk when this returns.

        Args:
            action: ``started``, ``completed``, ``failed`` …
            what: what it is about; plain data.
        """
        line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "action": action, **what}
        os.write(
            self._journal, (redact(json.dumps(line, sort_keys=True, default=str)) + "\n").encode("utf-8")
        )
        os.fsync(self._journal)

    def plan(self, plan: Plan) -> None:
        """Keep the plan, whole and with its digest."""
        content = {"digest": plan.digest, **plan.as_json()}
        path = self.folder / "plan.json"
        with os.fdopen(
            os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8"
        ) as file:
            file.write(redact(json.dumps(content, indent=2, sort_keys=True)) + "\n")

    def close(self) -> None:
        """Close the journal; more than once does no harm."""
        if self._journal >= 0:
            os.close(self._journal)
            self._journal = -1
