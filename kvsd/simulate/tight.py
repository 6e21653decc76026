"""
Limits of nodes in simulated clusters, so tight that a few keys, clients and seconds reach them.
"""

TIGHT = {
    "page_bytes": (300, 1_000),
    "page_rows": (2, 5),
    "page_requests": (2, 20),
    "log_bytes": (500, 3_000),
    "log_drops": (40, 60),
    "holdback_ops": (3, 20),
    "waiters": (2, 5),
    "forwards": (4, 10),
    "requests": (5, 50),
    "collected": (1, 4),
}
"""Limits that any run may have."""
TIGHT_CONCERNS = {"concern_seconds": (1, 2, 5), "concerns": (2, 10_000)}
"""Those of runs in which clients ask for more replicas than one."""
TIGHT_INVITATIONS = {"invited_seconds": (3, 8)}
"""Those of runs in which nodes are added that will never be there."""
