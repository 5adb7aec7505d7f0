"""What narrow optimizer state costs in loss: adamw on the race's problem `text`, its state in float32 and as `gx.store` keeps it.

    python benchmarks/narrow_state.py                        4 seeds, minutes; writes results/narrow_state.json
    python benchmarks/narrow_state.py --storages 8bit        one storage
    python benchmarks/narrow_state.py --quick                few steps: does it run? writes nothing

Runs of one seed share their initial weights and their batches, so differences are paired. The loss is that of all the text that is
not trained on.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # gradxform need not be installed

import machine  # noqa: E402

import gradxform as gx  # noqa: E402
from gradxform.race._problem import Problem, batch_rng  # noqa: E402
from gradxform.race.problems import _corpus, text  # noqa: E402

RATE, WARM_UP, DECAY = 1e-2, 0.05, 0.1
JUDGED_AT_ONCE = 64


def main() -> None:
    args = parse()
    problem, steps, seeds = text.problem(), 20 if args.quick else args.steps, range(2 if args.quick else args.seeds)
    runs = {storage: [train(problem, storage, seed, steps) for seed in seeds] for storage in ("float32", *args.storages)}
    results = {
        "problem": {"name": problem.name, "description": problem.description, "data": problem.data},
        "settings": {"optimizer": "adamw", "peak_rate": RATE, "weight_decay": DECAY, "steps": steps, "seeds": list(seeds)},
        "machine": machine.machine(),
        "versions": machine.versions(),
        "runs": runs,
        "against_float32": {storage: compared(runs[storage], runs["float32"]) for storage in args.storages},
    }
    for storage, found in results["against_float32"].items():
        spread = f"{found['difference']:+.5f}, standard error {found['standard_error']:.5f}"
        print(f"{storage}: {found['percent']:+.3f} % of the loss in float32 ({spread})")
    if not args.quick:
        args.out.write_text(json.dumps(results, indent=1) + "\n")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--storages", nargs="+", default=["8bit", "16bit"], metavar="STORAGE", help="what `gx.store` is given")
    parser.add_argument("--seeds", type=int, default=4, choices=range(2, 100), metavar="N")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "narrow_state.json")
    return parser.parse_args()


def optimizer(storage: str, seed: int, steps: int) -> gx.GradientTransformation:
    rate = gx.warmup_cosine_decay_schedule(RATE / 100, RATE, round(WARM_UP * steps), steps)
    tx = gx.adamw(rate, weight_decay=DECAY, mask=gx.by_ndim(2))
    return tx if storage == "float32" else gx.store(tx, storage, seed=seed)


def train(problem: Problem, storage: str, seed: int, steps: int) -> dict[str, float]:
    """One run: its loss on held-out text, its seconds, and the bytes that its state takes per parameter."""
    tx = optimizer(storage, seed, steps)

    @jax.jit
    def step(params, state, batch):
        value, grads = jax.value_and_grad(problem.loss)(params, batch)
        updates, state = tx.update(grads, state, params)
        return gx.apply_updates(params, updates), state, value

    params = jax.device_put(problem.init(jax.random.key(seed)))
    state = tx.init(params)
    bytes_of = lambda tree: sum(x.nbytes for x in jax.tree.leaves(tree))
    narrow = bytes_of(state) / sum(x.size for x in jax.tree.leaves(params))
    started = time.perf_counter()
    for i in range(steps):
        params, state, _ = step(params, state, problem.batch(batch_rng(seed, i), i))
    loss, seconds = held_out(problem, params), time.perf_counter() - started
    print(f"{storage:8} seed {seed}: loss {loss:.5f}, {narrow:.2f} bytes of state per parameter, {seconds:.0f} s", flush=True)
    return {"seed": seed, "loss": loss, "seconds": round(seconds, 1), "state_bytes_per_parameter": round(narrow, 3)}


def held_out(problem: Problem, params) -> float:
    """The mean loss over the text that validates and the text that is held out."""
    corpus = _corpus.corpus()
    kept = _corpus.codes(corpus.validation + corpus.test)
    x, y = _corpus.spread(kept, len(kept) // text.LENGTH // JUDGED_AT_ONCE * JUDGED_AT_ONCE, text.LENGTH)
    loss = jax.jit(problem.loss)
    batches = zip(x.reshape(-1, JUDGED_AT_ONCE, text.LENGTH), y.reshape(-1, JUDGED_AT_ONCE, text.LENGTH), strict=True)
    return float(jnp.mean(jnp.stack([loss(params, batch) for batch in batches])))


def compared(runs: list[dict[str, float]], wide: list[dict[str, float]]) -> dict[str, float | bool]:
    """The mean over seeds of loss minus loss in float32, with its standard error."""
    losses, reference = (np.asarray([run["loss"] for run in some]) for some in (runs, wide))
    differences = losses - reference
    mean, error = float(differences.mean()), float(differences.std(ddof=1) / np.sqrt(len(differences)))
    percent = 100 * mean / float(reference.mean())
    return {
        "difference": mean, "standard_error": error, "percent": percent,
        "at_most_two_standard_errors": mean <= 2 * error, "at_most_half_a_percent": percent <= 0.5,
    }  # fmt: skip


if __name__ == "__main__":
    main()
