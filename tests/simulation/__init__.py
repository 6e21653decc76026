"""Whole clusters in one process: the parts of the simulator, its checkers, and schedules that once found a defect."""
