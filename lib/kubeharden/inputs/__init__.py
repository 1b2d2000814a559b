"""Private. Inputs of a run: parameters, the inventory, and the files that they name."""
