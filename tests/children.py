"""Child processes, and how they ended: of tests that run one, and of xdist's workers, for which it is a plugin."""

import signal
import subprocess

import pytest


def ending(status):
    """How a process ended, in words."""
    return f"killed by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"


def run(*command, **options):
    """What a command prints; if it does not end well, an AssertionError that says how it ended and what it said last."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, f"{ending(done.returncode)}:\n{done.stdout[-4000:]}\n{done.stderr[-6000:]}"
    return done.stdout


COLLECTED = set()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished(node):
    COLLECTED.add(node)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node, error):
    """Stop if a worker dies before its first test, for which xdist has no name; it would go on to report that there are no tests."""
    if error and node not in COLLECTED:
        how = ending(node.gateway._io.wait())
        node.config.pluginmanager.getplugin("dsession").shouldstop = f"worker {node.gateway.id} died before its first test: {how}"
