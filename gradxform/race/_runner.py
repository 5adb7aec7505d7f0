"""A whole race: contestants side by side in a few threads, results saved one by one, step times measured at the end."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

import jax

from gradxform._errors import ProblemError
from gradxform.race._contestants import Contestant
from gradxform.race._protocol import Watch, compete
from gradxform.race._results import Result
from gradxform.race._store import Store
from gradxform.race._trainer import TUNING_SEED, Stopped, Trainer, Updater

MOST_WORKERS = 4
TIMING_STEPS = 5  # of each contestant in a round
LEAST_ROUNDS, MOST_ROUNDS, TIMING_SECONDS = (
    7,
    200,
    4.0,
)  # as many rounds as the seconds allow: a disturbance should be over before the end


def workers() -> int:
    """How many contestants run at a time: on a CPU one per core, up to four; an accelerator is kept busy by one."""
    return min(os.cpu_count() or 1, MOST_WORKERS) if jax.default_backend() == "cpu" else 1


def race(trainer: Trainer, contestants: Sequence[Contestant], store: Store, watch: Watch) -> None:
    """Let those contestants compete that have no result yet, and save each result as it comes.

    An optimizer that raises is recorded as failed, and the others go on. On Ctrl-C and on a fault of the problem the race stops,
    and the exception is raised when what had finished is saved.
    """
    waiting = [c for c in contestants if c.label not in store.results]
    with ThreadPoolExecutor(workers()) as pool:
        pending = futures = {pool.submit(_attempt, contestant, trainer, watch) for contestant in waiting}
        try:
            while pending:
                done, pending = wait(pending, timeout=0.5, return_when=FIRST_COMPLETED)
                _keep(done, store, watch)
        except BaseException:
            trainer.stop.set()
            pool.shutdown(cancel_futures=True)
            _keep([f for f in futures if not f.cancelled() and f.exception() is None], store, watch)
            raise
    _measure(trainer, contestants, store, watch)


def _keep(done: Iterable[Future[Result]], store: Store, watch: Watch) -> None:
    for future in done:
        result = future.result()
        if result.label not in store.results:
            store.add(result)
            watch.finish(result)


def _attempt(contestant: Contestant, trainer: Trainer, watch: Watch) -> Result:
    try:
        return compete(contestant, trainer, watch)
    except (ProblemError, Stopped):
        raise
    except Exception as e:
        return Result(contestant.label, failed=reason(e))


def reason(e: Exception) -> str:
    """An exception in one line."""
    lines = str(e).strip().splitlines()
    return f"{type(e).__name__}: {lines[0]}" if lines else type(e).__name__


def _measure(trainer: Trainer, contestants: Sequence[Contestant], store: Store, watch: Watch) -> None:
    """Measure the time of one step of one run where it is not known, nothing else running, and save it with the results."""
    untimed = [c for c in contestants if not store.results[c.label].failed and store.results[c.label].step_us is None]
    if untimed:
        watch.timing(len(untimed) + LEAST_ROUNDS)  # to compile a stepper counts as a round
    with ThreadPoolExecutor(workers()) as pool:
        steppers: dict[str, Callable[[], None]] = {}
        for c, stepper in zip(untimed, pool.map(lambda c: _stepper(trainer, c), untimed), strict=True):
            steppers[c.label] = stepper
            watch.timed()
    for label, times in step_times(steppers, watch).items():
        low, middle, high = (round(1e6 * x, 2) for x in statistics.quantiles(times, n=4))
        store.results[label].step_us, store.results[label].step_range = middle, (low, high)
    store.results.complete = True
    store.save()


def step_times(steppers: Mapping[str, Callable[[], None]], watch: Watch) -> dict[str, list[float]]:
    """Seconds per step in each round; rounds of the steppers alternate, so that a disturbance meets all alike."""
    times: dict[str, list[float]] = {key: [] for key in steppers}
    rounds = LEAST_ROUNDS
    for done in range(MOST_ROUNDS):
        if done == rounds or not steppers:
            break
        for key, steps in steppers.items():
            start = time.perf_counter()
            steps()
            times[key].append((time.perf_counter() - start) / TIMING_STEPS)
        if done == 0:
            one = TIMING_STEPS * sum(found[0] for found in times.values())
            rounds = max(LEAST_ROUNDS, min(MOST_ROUNDS, int(TIMING_SECONDS / one)))
            watch.expect(rounds - LEAST_ROUNDS)
        watch.timed()
    return times


def _stepper(trainer: Trainer, contestant: Contestant) -> Callable[[], None]:
    """A function that takes `TIMING_STEPS` steps of one run, compiled and ready."""
    updater = Updater(contestant, trainer.problem.loss)
    params = jax.device_put(trainer.start(TUNING_SEED))
    state = updater.init(params)
    batch = jax.tree.map(lambda x: x[0], trainer.batch([TUNING_SEED], 0))

    def steps() -> None:
        p, s = params, state
        for _ in range(TIMING_STEPS):
            value, grads = trainer.gradient(p, batch)
            p, s = updater.one(1e-6, value, grads, s, p, batch)
        jax.block_until_ready(p)

    steps()
    return steps
