"""Which tests one of xdist's workers runs together, as they share what they compile; a plugin.

The groups of `--dist=loadgroup` are marks that become part of a test's name, which not every pytest allows: without a word each test is
then on its own, and what a file compiles is compiled by every worker.
"""

import pytest


def together(nodeid):
    """The group of a test: its file; of the laws, which are half of the suite, the transformation."""
    file, _, test = nodeid.partition("::")
    return test.partition("[")[2].partition("-")[0] or file if file.endswith("test_laws.py") else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    from xdist.scheduler import LoadScopeScheduling

    scheduler = LoadScopeScheduling(config, log)
    scheduler._split_scope = together
    return scheduler
