"""Arithmetic on trees, running moments, and reading or mapping the parts of an optimizer's state.

    add_scale(params, -0.1, grads)          norm(grads)          get(opt_state, "count")

The names are those of `optax.tree`. Sums and norms of narrow dtypes are accumulated in float32 or wider, and a coefficient is
never rounded to a narrow dtype. Absent leaves (`None`, or a `MaskedNode`) are stepped over: the result has none either, reductions
leave them out, an absent term of a sum adds nothing, and a moment without an update stays.
"""

# ruff: noqa: A004

from typing import TYPE_CHECKING

from gradxform._lazy import attach

if TYPE_CHECKING:
    from gradxform.tree._algebra import add as add
    from gradxform.tree._algebra import add_scale as add_scale
    from gradxform.tree._algebra import batch_shape as batch_shape
    from gradxform.tree._algebra import clip as clip
    from gradxform.tree._algebra import conj as conj
    from gradxform.tree._algebra import div as div
    from gradxform.tree._algebra import full_like as full_like
    from gradxform.tree._algebra import mul as mul
    from gradxform.tree._algebra import ones_like as ones_like
    from gradxform.tree._algebra import real as real
    from gradxform.tree._algebra import scale as scale
    from gradxform.tree._algebra import sub as sub
    from gradxform.tree._algebra import where as where
    from gradxform.tree._algebra import zeros_like as zeros_like
    from gradxform.tree._dtypes import cast as cast
    from gradxform.tree._dtypes import cast_like as cast_like
    from gradxform.tree._dtypes import dtype as dtype
    from gradxform.tree._moments import bias_correction as bias_correction
    from gradxform.tree._moments import update_infinity_moment as update_infinity_moment
    from gradxform.tree._moments import update_moment as update_moment
    from gradxform.tree._moments import update_moment_per_elem_norm as update_moment_per_elem_norm
    from gradxform.tree._params import map_params as map_params
    from gradxform.tree._random import random_like as random_like
    from gradxform.tree._random import split_key_like as split_key_like
    from gradxform.tree._random import unwrap_random_key_data as unwrap_random_key_data
    from gradxform.tree._reduce import allclose as allclose
    from gradxform.tree._reduce import max as max
    from gradxform.tree._reduce import min as min
    from gradxform.tree._reduce import norm as norm
    from gradxform.tree._reduce import size as size
    from gradxform.tree._reduce import sum as sum
    from gradxform.tree._reduce import vdot as vdot
    from gradxform.tree._search import NamedTupleKey as NamedTupleKey
    from gradxform.tree._search import get as get
    from gradxform.tree._search import get_all_with_path as get_all_with_path
    from gradxform.tree._search import set as set
else:
    TABLE = {
        "._algebra": "add add_scale batch_shape clip conj div full_like mul ones_like real scale sub where zeros_like",
        "._dtypes": "cast cast_like dtype",
        "._moments": "bias_correction update_infinity_moment update_moment update_moment_per_elem_norm",
        "._params": "map_params",
        "._random": "random_like split_key_like unwrap_random_key_data",
        "._reduce": "allclose max min norm size sum vdot",
        "._search": "NamedTupleKey get get_all_with_path set",
    }
    __getattr__, __dir__ = attach(__name__, TABLE)
