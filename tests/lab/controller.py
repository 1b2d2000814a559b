"""A controller in a process of its own, to be killed: controller.py FILE RUN, with a pickled change in FILE."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

from places import INVENTORY

from kubeharden.edges.nodes import Nodes
from kubeharden.inputs.inventory import read_inventory

if __name__ == "__main__":
    change, confirm_timeout = pickle.loads(Path(sys.argv[1]).read_bytes())
    with Nodes(read_inventory(INVENTORY)) as nodes:
        nodes.begin(change, sys.argv[2], confirm_timeout)
