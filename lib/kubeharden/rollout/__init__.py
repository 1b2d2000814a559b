"""Private. Carry out a plan safely: order, one node at a time, health, drain, the lock."""
