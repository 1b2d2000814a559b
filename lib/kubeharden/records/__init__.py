"""Records: the folder of a run, written while it runs and read afterwards.

``Record`` writes while things happen. ``read_run`` reads a folder again, whatever state it was left in: a run that
was cut off at any byte is a run that can be read.
"""

from kubeharden.records.folder import KeptFile, KeptObject, PastRun, Record, read_run
from kubeharden.records.journal import Journal, read_journal
from kubeharden.records.summary import build_record, record_schema, result_of

__all__ = [
    "Journal",
    "KeptFile",
    "KeptObject",
    "PastRun",
    "Record",
    "build_record",
    "read_journal",
    "read_run",
    "record_schema",
    "result_of",
]
