"""
How many examples hypothesis draws, and how, set in one place for all tests.

The same examples are drawn at each run, so that a test that passed does not fail for nothing.  Who looks for defects
sets KVSD_EXAMPLES, as in ``KVSD_EXAMPLES=5000 make test TESTS=tests.unit``: then so many are drawn for each test, and
others at each run; a failure prints how to draw it again.
"""

import os

from hypothesis import HealthCheck, settings

MANY = int(os.environ.get("KVSD_EXAMPLES", "0"))

settings.register_profile(
    "kvsd",
    derandomize=not MANY,
    print_blob=bool(MANY),
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],  # how fast the machine is says nothing about kvsd
)
settings.load_profile("kvsd")


def examples(count: int) -> settings:
    """Have a test draw so many examples, or as many as KVSD_EXAMPLES says."""
    return settings(max_examples=MANY or count)
