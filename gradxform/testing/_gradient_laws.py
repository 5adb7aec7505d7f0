"""Laws about what an update makes of the gradient: 22, 24, 25."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from gradxform._types import Array, DType, Tree, Updates
from gradxform.core._transformation import widens
from gradxform.testing._case import Case, Leaves, stages_at_any_depth
from gradxform.testing._laws import Skip, expect, law, same

STEPS = 4
LONG = 64
"""Updates after which an average that is rounded each time is visibly off."""
BITS = 12
"""Of the 24 significant ones of float32: updates of which none has more have been rounded."""


@law(22, "an element's update follows its own gradient, its real and its imaginary part", rests_on=(21,))
def own_gradient(case: Case) -> None:
    plain = _updates(case, lambda g: g)
    other = _updates(case, lambda g: g.at[(0,) * g.ndim].multiply(-1.5))
    for name in plain:
        changed = np.any(plain[name] != other[name], axis=0)
        expect(
            changed.ravel()[0] or not changed.any(),
            f"another gradient at element 0 of {name!r}, of shape {changed.shape}, changes the update at element "
            f"{int(changed.argmax())} and not at element 0: updates do not stand where their gradients stand.",
        )
    if case.is_optimizer:
        expect(any(np.any(plain[n] != other[n]) for n in plain), "no update depends on the gradients.")
    if case.takes(jnp.complex64):
        one = case.of_one_leaf
        scaled = lambda re, im: lambda g: jax.lax.complex(re * g.real, im * g.imag)
        plain, real, imaginary = (_updates(one, scaled(*by), jnp.complex64) for by in ((1.0, 1.0), (-1.5, 1.0), (1.0, -1.5)))
        for name in plain:
            follows = lambda other, name=name: np.any(plain[name] != other[name])
            expect(
                np.any(np.imag(plain[name])) or not (follows(real) or follows(imaginary)),
                f"the update of complex64 {name!r} has no imaginary part, though its gradient has one, which is dropped.",
            )
            expect(
                follows(imaginary) or not follows(real),
                f"the update of complex64 {name!r} follows the real part of its gradient, but not the imaginary one, which is dropped.",
            )


def _updates(case: Case, change: Callable[[Array], Array], dtype: DType = jnp.float32) -> dict[str, np.ndarray]:
    """Some updates at parameters that stay, with changed gradients: by leaf, of all steps."""
    params = case.params(dtype)
    state, found = case.tx.init(params), []
    for i in range(STEPS):
        u, state = case.update(case.tx, jax.tree.map(change, case.grads(i, dtype)), state, params, jit=True)
        found.append(u)
    return {name: np.stack([np.asarray(u[name]) for u in found]) for name in params}


@law(24, "an update is as exact as its dtype: nothing is rounded in it, and averages of narrow leaves are wide", rests_on=(20, 21))
def exact(case: Case) -> None:
    updates, state, _ = case.run(case.tx, STEPS)
    for path, x in jax.tree_util.tree_flatten_with_path(state if case.by_hand else ())[0]:  # law 19 examines declared fields
        narrow = jnp.issubdtype(x.dtype, jnp.floating) and x.dtype.itemsize < 4
        expect(not narrow, f"beside float32 parameters the state's {jax.tree_util.keystr(path)} is {x.dtype}.")
    _expect_bits(jax.tree.leaves(updates), jax.tree.leaves(case.params()))
    if case.takes(jnp.bfloat16) and not case.random and not widens(case.tx) and not _narrow_by_choice(case):
        narrow, wide = (_last_update(case, dtype) for dtype in (jnp.bfloat16, jnp.float32))
        offs = {name: _off(narrow[name], wide[name]) for name in narrow if np.all(np.isfinite(np.asarray(wide[name])))}
        nudged = _last_update(case, jnp.float32, nudge=2.0**-9) if any(off >= 0.01 for off in offs.values()) else wide
        for (
            name,
            off,
        ) in offs.items():  # what a last place of the gradient turns over, as a sign that is sent, rounding may turn over
            expect(
                off < max(0.01, 4 * _off(nudged[name], wide[name])),
                f"after {LONG} updates of one gradient the update of bfloat16 {name!r} is off by {off:.1%} of that in float32. Is an "
                "average kept in bfloat16, where a small step is rounded away? Keep it in float32.",
            )


def _off(x: Array, y: Array) -> float:
    """The distance of x from y, relative to y."""
    one, other = (np.asarray(z, np.float32).ravel() for z in (x, y))
    return float(np.linalg.norm(one - other) / max(np.linalg.norm(other), np.finfo(np.float32).tiny))


def _narrow_by_choice(case: Case) -> bool:
    """Whether a field is declared to have the parameter's dtype where an argument does not say another."""
    layouts = [stage.layout for stage, _ in stages_at_any_depth(case.tx, case.params())]
    return any(field.dtype == "p" and field.stored for layout in layouts for field in layout.fields.values())


def _expect_bits(updates: Sequence[Array], params: Sequence[Array]) -> None:
    """Updates on a grid that neither their own size nor that of the parameters, from which they may come as differences, explains."""
    x, p = (np.concatenate([np.asarray(x).ravel() for x in xs]) for xs in (updates, params))
    sizes = np.unique(np.abs(x[x != 0]))
    if x.dtype != np.float32 or len(sizes) <= STEPS:
        return
    bits = sizes.view(np.uint32) | (1 << 23)  # the leading one, which is not stored
    lowest = np.min(np.ldexp((bits & -bits.astype(np.int64)).astype(float), (sizes.view(np.uint32) >> 23).astype(int) - 150))
    expect(
        lowest < max(2.0**-BITS * sizes[-1], 2.0**-20 * np.max(np.abs(p))),
        f"all float32 updates are multiples of {lowest:g}, as if rounded: {', '.join(f'{v:g}' for v in sizes[:6])}.",
    )


def _last_update(case: Case, dtype: DType, nudge: float = 0.0) -> Updates:
    """At parameters 0: an update that is a difference from them has no rounding of theirs."""
    params = case.params(dtype, scale=0.0)
    grads = jax.tree.map(lambda x: x.astype(dtype), case.grads(0, jnp.bfloat16))
    grads = jax.tree.map(lambda x, n: x * (1 + nudge * n).astype(dtype), grads, case.noise(0, dtype, 1.0)) if nudge else grads
    state, updates = case.tx.init(params), None
    for _ in range(LONG):
        updates, state = case.update(case.tx, grads, state, params, jit=True)
    return updates


@law(25, "a leaf that its own `mask` leaves out is not decayed", of_the_whole=True, rests_on=(21,))
def decay_masks(case: Case) -> Skip | None:
    decays = [n for n in ("weight_decay", "weight_decay_rate") if n in case.parameters]
    masks = [n for n in ("mask", "weight_decay_mask") if n in case.parameters]
    if not decays or not masks:
        return Skip("it has no decay, or no mask of it")
    if case.scope == "per_tree":
        return Skip("one leaf's decay may change the updates of others")
    first, *rest = case.params()
    [decay], [mask] = decays, masks
    without, masked, everywhere = (
        _last_of(case, **over)
        for over in ({decay: 0.0}, {decay: 0.1, mask: {first: False, **dict.fromkeys(rest, True)}}, {decay: 0.1})
    )
    same({first: without[first]}, {first: masked[first]}, f"the update of {first!r} without decay, and left out by `{mask}`")
    same({n: everywhere[n] for n in rest}, {n: masked[n] for n in rest}, f"other updates without `{mask}`, and with it")
    return None


def _last_of(case: Case, **over: Tree) -> Leaves:
    return case.run(case.make(**over), 2, move=0.0, jit=False)[0][-1]
