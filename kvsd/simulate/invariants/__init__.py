"""What must hold at every step of a run, one invariant or a few to a module."""
