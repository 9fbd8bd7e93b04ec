"""A plugin of pytest that gives every test fixtures of its own while mutmut notes which functions a test runs.

Of tests that share a fixture, mutmut would otherwise see only the first run what makes it.
"""

import os

from _pytest.runner import runtestprotocol


def pytest_runtest_protocol(item):
    if os.environ.get("MUTANT_UNDER_TEST") != "stats":
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    runtestprotocol(item, nextitem=None)  # no next test: take all fixtures down
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True
