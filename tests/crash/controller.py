"""A controller in a process of its own, to be killed: carries a change out as a run does.

controller.py INVENTORY FOLDER SECONDS CHANGE RECORDS     CHANGE is the file of a pickled change
"""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

from carrying import carry_out
from cutting import controller_is

from kubeharden.edges.nodes import Nodes
from kubeharden.inputs.inventory import read_inventory

if __name__ == "__main__":
    inventory, folder, seconds, file, records = map(Path, sys.argv[1:])
    change = pickle.loads(file.read_bytes())
    read = read_inventory(inventory)
    controller_is(folder)
    with Nodes(read) as nodes:
        carry_out(read, nodes, change, records, float(str(seconds)))
