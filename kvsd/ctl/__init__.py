"""The operator's command line, ``kvsctl``: look at a cluster, change it, and use its keys."""
