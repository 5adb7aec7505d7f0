"""Laws about dtypes, states and compilation: 1, 2, 3, 12, 16, 21."""

from __future__ import annotations

import pickle

import jax
import jax.numpy as jnp
import numpy as np

from gradxform._numerics import widen
from gradxform._types import Array, Params, Updates
from gradxform.core._apply import apply_updates
from gradxform.core._engine import engine
from gradxform.core._transformation import GradientTransformation, widens
from gradxform.testing._case import DTYPES, Case
from gradxform.testing._laws import describe, differences, expect, law, same

STEPS = 5


@law(1, "updates have the parameters' structure, shapes and dtypes, float32 for narrow ones if they are declared wide")
def dtypes(case: Case) -> None:
    for dtype in DTYPES:
        expect(dtype == jnp.complex64 or case.takes(dtype), f"{jnp.dtype(dtype)} parameters are refused.")
        if case.takes(dtype):
            params = case.params(dtype)
            _, updates, _ = case.abstract(params, case.grads(0, dtype))
            _like_params(case.tx, params, updates)
    for together in (*case.mixtures, jnp.float64):
        with jax.enable_x64(together == jnp.float64):
            tx, params, grads = case.tx, case.params(together), case.grads(0, together)
            updates, _ = case.update(tx, grads, tx.init(params), params, jit=True)
            _like_params(tx, params, updates)
    with jax.enable_x64(True):  # where a number of NumPy's own makes float64 of float32
        _like_params(case.tx, case.params(), case.abstract(case.params(), case.grads(0))[1])
    if case.by_hand and case.is_optimizer:
        params, grads = case.params(), case.grads(0, jnp.bfloat16)
        changed = differences(describe(params), describe(case.abstract(params, grads)[1]))
        expect(not changed, f"with float32 parameters and bfloat16 gradients the update has other leaves: {'; '.join(changed)}.")


def _like_params(tx: GradientTransformation, params: Params, updates: Updates) -> None:
    wide = widens(tx)
    expected = jax.tree.map(lambda p: p.astype(widen(p.dtype)), params) if wide else params
    changed = differences(describe(expected), describe(updates))
    among = " and ".join(sorted({str(p.dtype) for p in jax.tree.leaves(params)}))
    expect(not changed, f"with {among} parameters the update has other leaves: {'; '.join(changed)}.")


@law(2, "the state is a fixed point of update")
def fixed_point(case: Case) -> None:
    for dtype in (*filter(case.takes, DTYPES), jnp.float64):  # law 1 says which may be refused
        with jax.enable_x64(dtype == jnp.float64):
            state, _, after = case.abstract(case.params(dtype), case.grads(0, dtype))
            expect(
                jax.tree.structure(state) == jax.tree.structure(after),
                f"with {jnp.dtype(dtype)} parameters the structure {jax.tree.structure(state)} became {jax.tree.structure(after)}.",
            )
            changed = differences(describe(state), describe(after))
            expect(not changed, f"with {jnp.dtype(dtype)} parameters the state drifts: {'; '.join(changed)}.")
    shapes = jax.eval_shape(lambda: case.params())
    changed = differences(describe(case.tx.init(case.params())), describe(jax.eval_shape(case.tx.init, shapes)))
    expect(not changed, f"`init` differs on abstract parameters: {'; '.join(changed)}.")


@law(3, "jit equals eager, and the second call does not compile", rests_on=(2, 21, 24))
def jit_equals_eager(case: Case) -> None:
    tx, params = case.tx, case.params()
    for dtype in (jnp.float32, jnp.bfloat16):
        compiled, s1, _ = case.run(tx, STEPS, dtype)
        eager, s2, _ = case.run(tx, STEPS, dtype, jit=False)
        close = {"rtol": 1e-4, "atol": 1e-4} if dtype == jnp.float32 else {"rtol": 2e-2, "atol": 1e-2}
        same(compiled, eager, f"updates under jit and without, {jnp.dtype(dtype)}", **close)
        same(s1, s2, f"states under jit and without, {jnp.dtype(dtype)}", **close)
    traces = []

    @jax.jit
    def step(g, s, p):
        traces.append(1)
        return case.update(tx, g, s, p)

    state = tx.init(params)
    step.eval_shape(case.grads(0), state, params)  # traces, and compiles nothing
    _, state = case.update(tx, case.grads(0), state, params, jit=True)
    step.eval_shape(case.grads(1), state, params)
    expect(len(traces) == 1, f"two updates of equal shapes were traced {len(traces)} times.")


@law(12, "parameters and state can be donated", rests_on=(21,))
def donation(case: Case) -> None:
    tx, params = case.tx, case.params()
    plain = case.update(tx, case.grads(0), tx.init(params), params)
    fresh = jax.tree.map(lambda x: jnp.array(x, copy=True), params)
    state, grads = tx.init(fresh), case.grads(0)
    buffers = [x.unsafe_buffer_pointer() for x in jax.tree.leaves((fresh, state)) if _is_plain(x)]
    expect(len(set(buffers)) == len(buffers), "`init` returns one buffer twice, or a parameter's own.")

    def step(p, s, g):
        u, s = case.update(tx, g, s, p)
        return apply_updates(p, u), s, u

    _, state, updates = jax.jit(step, donate_argnums=(0, 1))(fresh, state, grads)
    same((updates, state), plain, "update and state with donated buffers, and without")


def _is_plain(x: object) -> bool:
    return isinstance(x, jax.Array) and x.size > 0 and not jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


@law(16, "save, kill, restore, continue equals never stopped", rests_on=(21,))
def resume(case: Case) -> None:
    tx, params = case.tx, case.params()
    _, state, _ = case.run(tx, STEPS)
    straight = case.update(tx, case.grads(STEPS), state, params)
    saved = pickle.dumps([_to_bytes(x) for x in jax.tree.leaves(state)])
    restarted = case.make()
    fresh = restarted.init(params)
    leaves = [_from_bytes(b, x) for b, x in zip(pickle.loads(saved), jax.tree.leaves(fresh), strict=True)]
    restored = jax.tree.unflatten(jax.tree.structure(fresh), leaves)
    again = case.update(restarted, case.grads(STEPS), restored, params)
    same(straight, again, "the next update after a restart, and without", rtol=0, atol=0)


def _to_bytes(x: Array) -> np.ndarray:
    return np.asarray(jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x)


def _from_bytes(saved: np.ndarray, like: Array) -> Array:
    x = jnp.asarray(saved)
    return jax.random.wrap_key_data(x) if jnp.issubdtype(like.dtype, jax.dtypes.prng_key) else x


@law(21, "equal arguments give equal results, and are left as they are")
def pure(case: Case) -> None:
    case = case.of_one_leaf
    tx, params, grads = case.tx, case.params(), case.grads(0)
    with engine("plain"):  # where a kernel is called each time
        same(tx.init(params), tx.init(params), "the states that two calls of `init` make" + OUTSIDE, rtol=0, atol=0)
        state = tx.init(params)
        given = jax.tree.flatten((grads, state, params))
        first = case.update(tx, grads, state, params)
        leaves, structure = jax.tree.flatten((grads, state, params))
        kept = structure == given[1] and all(x is y for x, y in zip(leaves, given[0], strict=True))
        expect(
            kept, "`update` changes what it is given: the state, the updates or the parameters hold other arrays after the call."
        )
        second = case.update(tx, grads, state, params)
    same(first, second, "two updates with the same arguments" + OUTSIDE, rtol=0, atol=0)


OUTSIDE = " (something counts, draws or is kept outside the state: a Python counter, numpy's random numbers, the time)"
