"""What is measured: the parameter trees and the optimizers, each written once for both libraries."""

from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

HEADLINE = "clip_by_global_norm + adamw"


class Optimizer(NamedTuple):
    """How to make one optimizer from a library's module."""

    make: Any  # module -> transformation
    names: tuple[str, ...]  # the public names it uses


def clipped_adamw(lib):
    return lib.chain(lib.clip_by_global_norm(1.0), lib.adamw(1e-3))


def scheduled_adamw(lib):
    return lib.adamw(lib.warmup_cosine_decay_schedule(0.0, 1e-3, 100, 1000))


OPTIMIZERS = {
    HEADLINE: Optimizer(clipped_adamw, ("chain", "clip_by_global_norm", "adamw", "apply_updates")),
    "adamw": Optimizer(lambda lib: lib.adamw(1e-3), ("adamw",)),
    "adamw, warm-up and cosine": Optimizer(scheduled_adamw, ("adamw", "warmup_cosine_decay_schedule")),
    "sgd with momentum": Optimizer(lambda lib: lib.sgd(1e-2, momentum=0.9), ("sgd",)),
    "lion": Optimizer(lambda lib: lib.lion(1e-4), ("lion",)),
    "lamb": Optimizer(lambda lib: lib.lamb(1e-3), ("lamb",)),
    "radam": Optimizer(lambda lib: lib.radam(1e-3), ("radam",)),
    "adan": Optimizer(lambda lib: lib.adan(1e-3), ("adan",)),
    "novograd": Optimizer(lambda lib: lib.novograd(1e-3), ("novograd",)),
    "ademamix": Optimizer(lambda lib: lib.contrib.ademamix(1e-3), ("contrib",)),
    "prodigy": Optimizer(lambda lib: lib.contrib.prodigy(1.0), ("contrib",)),
    "schedule_free_adamw": Optimizer(lambda lib: lib.contrib.schedule_free_adamw(1e-3), ("contrib",)),
    "MultiSteps(adamw, 4)": Optimizer(lambda lib: lib.MultiSteps(lib.adamw(1e-3), 4), ("MultiSteps", "adamw")),
}


class Tree:
    """A tree of float32 shapes; its arrays are made when first asked for."""

    def __init__(self, label: str, shapes):
        self.label = label
        is_shape = lambda x: isinstance(x, tuple)
        self.abstract = jax.tree.map(lambda s: jax.ShapeDtypeStruct(s, jnp.float32), shapes, is_leaf=is_shape)

    @property
    def leaves(self) -> int:
        return len(jax.tree.leaves(self.abstract))

    @property
    def elements(self) -> int:
        return sum(leaf.size for leaf in jax.tree.leaves(self.abstract))

    def numpy(self, seed: int) -> list[np.ndarray]:
        """Random leaves, in the tree's order."""
        rng = np.random.default_rng(seed)
        return [0.02 * rng.standard_normal(leaf.shape, np.float32) for leaf in jax.tree.leaves(self.abstract)]

    def _random(self, seed: int):
        return jax.tree.unflatten(jax.tree.structure(self.abstract), [jnp.array(x) for x in self.numpy(seed)])

    @cached_property
    def params(self):
        return self._random(0)

    @cached_property
    def grads(self):
        return self._random(1)

    def drop(self) -> None:
        """Free the arrays."""
        for name in ("params", "grads"):
            self.__dict__.pop(name, None)


def equal_leaves(label: str, leaves: int, shape: tuple[int, ...]) -> Tree:
    return Tree(label, {f"w{i:04d}": shape for i in range(leaves)})


def gpt2(label: str, width: int, layers: int, vocabulary: int, context: int) -> Tree:
    """The parameter shapes of a GPT-2: tied embeddings, biases, layer norms."""
    norm = {"scale": (width,), "bias": (width,)}
    dense = lambda fan_in, fan_out: {"kernel": (fan_in, fan_out), "bias": (fan_out,)}
    block = {
        "ln_1": norm,
        "attn": {"c_attn": dense(width, 3 * width), "c_proj": dense(width, width)},
        "ln_2": norm,
        "mlp": {"c_fc": dense(width, 4 * width), "c_proj": dense(4 * width, width)},
    }
    blocks = {f"h{i:02d}": block for i in range(layers)}
    return Tree(label, {"wte": (vocabulary, width), "wpe": (context, width), **blocks, "ln_f": norm})


def trees(quick: bool) -> dict[str, Tree]:
    """The shape sets of the timings, by key."""
    if quick:
        return {
            "large": equal_leaves("1 x 64K", 1, (2**16,)),
            "medium": equal_leaves("16 x 4,096", 16, (64, 64)),
            "small": equal_leaves("20 x 64", 20, (8, 8)),
            "transformer": gpt2("GPT-2, width 32", 32, 2, 256, 64),
        }
    return {
        "large": equal_leaves("1 x 16M", 1, (2**24,)),
        "medium": equal_leaves("256 x 64K", 256, (256, 256)),
        "small": equal_leaves("1,000 x 64", 1000, (8, 8)),
        "transformer": gpt2("GPT-2, 124M", 768, 12, 50257, 1024),
    }


def counting_tree() -> Tree:
    """The tree on which instructions and state bytes are counted: a transformer of one block."""
    return gpt2("GPT-2 of one block, width 64", 64, 1, 512, 128)


def missing_names(lib) -> list[str]:
    """The public names that the benchmarks use and that a library lacks."""
    names = sorted({name for optimizer in OPTIMIZERS.values() for name in optimizer.names})
    return [name for name in names if not hasattr(lib, name)]
