"""What a person hands in: parameters, the inventory, and the files that they name."""
