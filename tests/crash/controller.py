"""A controller in a process of its own, to be killed: begins a transaction and gives the verdict on it.

controller.py INVENTORY FOLDER VERDICT CHANGE     CHANGE is the file of a pickled change
"""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

from cutting import controller_is

from kubeharden.inventory import read_inventory
from kubeharden.nodes import Nodes

if __name__ == "__main__":
    inventory, folder, verdict, file = map(Path, sys.argv[1:])
    change = pickle.loads(file.read_bytes())
    controller_is(folder)
    with Nodes(read_inventory(inventory)) as nodes:
        begun = nodes.begin(change, file.name, 4)
        if begun.outcome == "waiting" and str(verdict) != "none":
            {"confirm": nodes.confirm, "undo": nodes.undo}[str(verdict)](change.node, file.name)
