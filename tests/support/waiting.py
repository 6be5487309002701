"""Waiting for something to be so: as long as a busy machine may need, and no longer than it takes."""

import time

GENEROUS = 600  # seconds; a test that waits longer has failed


def wait_for(condition, pause=0.05):
    """Poll until `condition()` is true; what it returned then."""
    until = time.monotonic() + GENEROUS
    while not (found := condition()):
        assert time.monotonic() < until, "waited in vain"
        time.sleep(pause)
    return found
