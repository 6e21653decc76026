"""A cluster of nodes on this machine, each a process of its own: ``python -m kvsd.local``."""
