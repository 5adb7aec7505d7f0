"""Start processes that compute together over loopback, and see how each ends: `launch` here, `join` in each of them.

A script calls `join()` before it touches a device, and has then its rank's part of one mesh; `launch(script, ...)` starts it once for each
rank and waits for all. A process that dies is no error of the launcher: how it ended is its answer. `run` is for those that must end well.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent.parent
PLACE = "GRADXFORM_PROCESS"  # port, number of processes, rank
DEVICES = "--xla_force_host_platform_device_count"


class Ended(NamedTuple):
    """How a process ended (a signal is negative, as in `subprocess`), what it said, and after how many seconds."""

    status: int
    said: str
    seconds: float

    def __str__(self) -> str:
        how = f"killed by {signal.Signals(-self.status).name}" if self.status < 0 else f"exit status {self.status}"
        return f"{how} after {self.seconds:.1f} s:\n{self.said[-2000:]}"


def join(**options) -> int:
    """In a process that `launch` started: become one of its mesh; the rank. Options are those of `jax.distributed.initialize`."""
    import jax

    faulthandler.register(signal.SIGUSR1)  # says where it hangs
    port, processes, rank = map(int, os.environ[PLACE].split())
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(f"127.0.0.1:{port}", processes, rank, **{"initialization_timeout": 60, **options})
    assert jax.process_count() == processes
    return rank


def launch(
    script: str | Path, *arguments: object, processes: int = 2, devices: int = 4, timeout: float = 240, patience: float = 60,
    show: bool = False,
) -> list[Ended]:  # fmt: skip
    """Run a script in so many processes, of so many CPU devices each; how they ended, by rank.

    Process 0 may `show` what it says on the standard output of this one, instead of leaving it to the end. Once one has ended badly the
    others have `patience` seconds to notice; what then still runs, or runs at `timeout`, is killed.
    """
    command = [sys.executable, str(script), *map(str, arguments)]
    for last in (False, True):
        with contextlib.ExitStack() as stack:
            port = free_port()
            started = [stack.enter_context(process(command, (port, processes, rank), devices, show)) for rank in range(processes)]
            ended = wait(started, timeout, patience)
        if last or not any(end.status and "address already in use" in end.said.lower() for end in ended):
            break  # between the moment when a port is found and that when it is taken, another process may take it
    return ended


def run(script: str | Path, *arguments: object, **options) -> list[str]:
    """What each process said; an AssertionError with the last words of all if one does not end well."""
    ended = launch(script, *arguments, **options)
    assert not any(end.status for end in ended), "\n\n".join(f"process {rank}: {end}" for rank, end in enumerate(ended))
    return [end.said for end in ended]


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def environment(place: Sequence[int], devices: int) -> dict[str, str]:
    """That of a rank: no proxies, which stand between processes of one machine too; the last of XLA's flags wins.

    NPROC is how many threads XLA takes for programs. A device that waits for another process keeps one: of as many as a small machine has
    cores, programs in flight take all, and wait for ever.
    """
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return kept | {
        PLACE: " ".join(map(str, place)),
        "JAX_PLATFORMS": "cpu",
        "NPROC": "32",
        "XLA_FLAGS": f"{kept.get('XLA_FLAGS', '')} {DEVICES}={devices}".strip(),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), str(ROOT / "tests"), kept.get("PYTHONPATH", "")])),
    }


@contextlib.contextmanager
def process(command: Sequence[str], place: Sequence[int], devices: int, show: bool) -> Iterator[tuple[subprocess.Popen, Path]]:
    """A rank and the file of what it says: a pipe that nobody reads would stop it. It does not outlive the block."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with log.open("wb") as file:
            out = None if show and place[-1] == 0 else file
            started = subprocess.Popen(command, env=environment(place, devices), stdout=out, stderr=file)
        try:
            yield started, log
        finally:
            started.kill()
            started.wait()


def wait(started: Sequence[tuple[subprocess.Popen, Path]], timeout: float, patience: float) -> list[Ended]:
    """How each ends, at the latest by being killed."""
    begin, after = time.monotonic(), dict[int, float]()
    end = timeout
    while len(after) < len(started) and time.monotonic() - begin < end:
        time.sleep(0.02)
        for rank, (child, _) in enumerate(started):
            if rank not in after and child.poll() is not None:
                after[rank] = time.monotonic() - begin
                end = min(end, after[rank] + patience) if child.returncode else end
    seconds = time.monotonic() - begin
    hanging = [child for rank, (child, _) in enumerate(started) if rank not in after]
    for stop in (lambda child: child.send_signal(signal.SIGUSR1), lambda _: time.sleep(1), subprocess.Popen.kill):
        for child in hanging:
            stop(child)
    return [
        Ended(child.wait(), log.read_text(errors="replace"), after.get(rank, seconds)) for rank, (child, log) in enumerate(started)
    ]
