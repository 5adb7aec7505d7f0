"""Models as shapes: each weight with its axes by name, so that a mesh says how it is split. Sizes as they were published."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from gradxform._errors import UnknownNameError
from gradxform._types import DType, Tree
from gradxform.core._labels import suggest

RULES: Mapping[str, tuple[str, ...]] = {
    "embed": ("fsdp",),
    "vocab": ("tensor",),
    "heads": ("tensor",),
    "kv": ("tensor",),
    "mlp": ("tensor",),
    "expert": ("expert",),
}
"""The axes of a mesh that split an axis of a weight, by its name."""


class Weight(NamedTuple):
    """A weight: the length of each axis, and its name; "" of one that nothing splits."""

    shape: tuple[int, ...]
    axes: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Model:
    """A model's weights by shape.

    Attributes:
      name: how it is called.
      weights: a tree of `Weight`.
      source: where the sizes stand.

    >>> from gradxform.planning import MODELS
    >>> MODELS["gpt2"].count
    124439808
    """

    name: str
    weights: Tree
    source: str = ""

    @property
    def count(self) -> int:
        """How many parameters it has."""
        return sum(x.size for x in jax.tree.leaves(self.shapes()))

    def shapes(self, dtype: DType = jnp.bfloat16) -> Tree:
        """Its parameters as shapes.

        Args:
          dtype: of all of them.
        """
        return self._each(lambda w: jax.ShapeDtypeStruct(w.shape, dtype))

    def specs(self, mesh: Mapping[str, int]) -> Tree:
        """A `PartitionSpec` for each parameter, by `RULES`: an axis is split where the mesh has the axis for it, and divides it.

        Args:
          mesh: the sizes of its axes by name.
        """
        return self._each(lambda w: PartitionSpec(*(_split(n, name, mesh) for n, name in zip(*w, strict=True))))

    def _each(self, f: Callable[[Weight], Tree]) -> Tree:
        return jax.tree.map(f, self.weights, is_leaf=lambda x: isinstance(x, Weight))


def _split(length: int, name: str, mesh: Mapping[str, int]) -> str | None:
    return next((axis for axis in RULES.get(name, ()) if axis in mesh and length % mesh[axis] == 0), None)


def _norm(d: int) -> Weight:
    return Weight((d,), ("",))


def _gpt2() -> Model:
    d, ff = 768, 3072
    bias = lambda n, name: Weight((n,), (name,))
    affine = {"scale": _norm(d), "bias": _norm(d)}
    block = {
        "ln_1": affine,
        "attn": {
            "qkv": {"kernel": Weight((d, 3 * d), ("embed", "heads")), "bias": bias(3 * d, "heads")},
            "proj": {"kernel": Weight((d, d), ("heads", "embed")), "bias": _norm(d)},
        },
        "ln_2": affine,
        "mlp": {
            "fc": {"kernel": Weight((d, ff), ("embed", "mlp")), "bias": bias(ff, "mlp")},
            "proj": {"kernel": Weight((ff, d), ("mlp", "embed")), "bias": _norm(d)},
        },
    }
    weights = {
        "wte": Weight((50257, d), ("vocab", "embed")),
        "wpe": Weight((1024, d), ("", "embed")),
        "layers": [block] * 12,
        "ln_f": affine,
    }
    return Model("gpt2", weights, "Radford et al. 2019; https://huggingface.co/openai-community/gpt2")


def _llama(name: str, d: int, layers: int, ff: int, vocab: int, source: str, experts: int = 0, kv: int = 1024) -> Model:
    """Grouped queries of 8 heads of 128; SwiGLU, of several experts behind a router where there are some."""
    several = lambda shape, axes: Weight((experts, *shape), ("expert", *axes)) if experts else Weight(shape, axes)
    mlp = {
        "gate": several((d, ff), ("embed", "mlp")),
        "up": several((d, ff), ("embed", "mlp")),
        "down": several((ff, d), ("mlp", "embed")),
    }
    block = {
        "attention_norm": _norm(d),
        "attention": {
            "q": Weight((d, d), ("embed", "heads")),
            "k": Weight((d, kv), ("embed", "kv")),
            "v": Weight((d, kv), ("embed", "kv")),
            "o": Weight((d, d), ("heads", "embed")),
        },
        "mlp_norm": _norm(d),
        "mlp": mlp | ({"router": Weight((d, experts), ("embed", ""))} if experts else {}),
    }
    weights = {
        "embed": Weight((vocab, d), ("vocab", "embed")),
        "layers": [block] * layers,
        "norm": _norm(d),
        "head": Weight((d, vocab), ("embed", "vocab")),
    }
    return Model(name, weights, source)


_HERD = "arXiv:2407.21783, table 3"
MODELS: Mapping[str, Model] = {
    model.name: model
    for model in (
        _gpt2(),
        _llama("llama-8b", 4096, 32, 14336, 128256, _HERD),
        _llama("llama-70b", 8192, 80, 28672, 128256, _HERD),
        _llama("llama-405b", 16384, 126, 53248, 128256, _HERD),
        _llama("mixtral-8x7b", 4096, 32, 14336, 32000, "arXiv:2401.04088, table 1", experts=8),
    )
}


def model_of(name: str) -> Model:
    """The model of that name."""
    if name not in MODELS:
        raise UnknownNameError(
            f"plan: no model is called {name!r}; there are {', '.join(MODELS)}, and your own: module:function."
            f"{suggest(name, list(MODELS))}"
        )
    return MODELS[name]
