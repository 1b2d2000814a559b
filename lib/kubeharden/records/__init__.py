"""Private. Records: the folder of a run, written while it runs (``folder.Record``), read later (``folder.read_run``).

A run that was cut off at any byte is a run that can be read.
"""
