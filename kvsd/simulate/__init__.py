"""A whole cluster in one process, on a simulated clock, network and disks, with checkers that judge what came of it."""
