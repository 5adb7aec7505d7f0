"""Every registered transformation runs in JAX's debugging modes, in two threads at once, and as a copy of itself."""

import concurrent.futures
import copy
import pickle

import by_day
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradxform as gx
from gradxform import registry
from gradxform.testing._case import case_for

NAMES = [*registry.names(kind="*"), *registry.names("*.*")]
BY_NIGHT = [name for name in NAMES if "." in name or name in by_day.chains(registry.names(kind="*"))]
BY_DAY = [name for name in NAMES if name not in BY_NIGHT]


def steps(case, tx, params, grads):
    """Two updates, un-jitted, and the state."""
    state, updates = tx.init(params), []
    for g in grads:
        u, state = tx.update(g, state, params, **case.extra(params, g))
        updates.append(u)
    return updates, state


def values(tree):
    is_key = lambda x: jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
    return [np.asarray(jax.random.key_data(x) if is_key(x) else x) for x in jax.tree.leaves(tree)]


def results(names):
    found = {}
    for name in names:
        case = case_for(name)
        found[name] = values(steps(case, case.tx, case.params(), [case.grads(i) for i in range(2)]))
    return found


@pytest.fixture(scope="module", params=[BY_DAY, pytest.param(BY_NIGHT, marks=pytest.mark.nightly)], ids=["day", "night"])
def in_two_threads(request):
    """The results of all, of one thread that goes forward and one that goes backward at the same time."""
    names = request.param
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        return list(pool.map(results, (names, names[::-1])))


def test_two_threads_at_once(in_two_threads):
    forward, backward = in_two_threads
    for name in forward:
        for x, y in zip(forward[name], backward[name], strict=True):
            np.testing.assert_array_equal(x, y, err_msg=name)


def test_one_transformation_in_two_threads():
    """They begin together, so that both find nothing compiled."""
    case = case_for("adamw")
    tx, params, grads = (
        gx.adamw(gx.linear_schedule(0.1, 0.0, 7), weight_decay=0.25),
        case.params(),
        [case.grads(i) for i in range(5)],
    )
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda tx: values(steps(case, tx, params, grads)), (tx, tx))
    for x, y in zip(first, second, strict=True):
        np.testing.assert_array_equal(x, y)


def test_debugging_modes_and_copies(in_two_threads):
    """Neither NaN on the way, nor a broken invariant, nor a transfer that was not asked for; the bits are the same."""
    cloudpickle = pytest.importorskip("cloudpickle")
    for name in in_two_threads[0]:
        case = case_for(name)
        params, grads, tx = case.params(), [case.grads(i) for i in range(2)], copy.deepcopy(case.tx)
        assert tx == case.tx == cloudpickle.loads(cloudpickle.dumps(tx)) == pickle.loads(pickle.dumps(tx)), name
        extras = [case.extra(params, g) for g in grads]
        with jax.debug_nans(True), jax.enable_checks(True), jax.transfer_guard("disallow"):
            state, updates = cloudpickle.loads(cloudpickle.dumps(tx)).init(params), []
            for g, extra in zip(grads, extras, strict=True):
                u, state = tx.update(g, state, params, **extra)
                updates.append(u)
        for x, y in zip(values((updates, state)), in_two_threads[0][name], strict=True):
            np.testing.assert_array_equal(x, y, err_msg=name)


COMPOSED = {
    "schedule": lambda: gx.adamw(gx.warmup_cosine_decay_schedule(0.0, 0.1, 2, 10), b1=gx.linear_schedule(0.9, 0.8, 10)),
    "injected": lambda: gx.inject_hyperparams(gx.adam)(gx.cosine_decay_schedule(0.1, 10), b2=0.99),
    "partition": lambda: gx.partition(
        {"a": gx.adam(gx.linear_schedule(0.1, 0.0, 9)), "b": gx.sgd(0.1)}, {"w": "a", "default": "b"}
    ),
    "condition": lambda: gx.conditionally_transform(gx.sgd(0.1), lambda step: step > 0),
    "MultiSteps": lambda: gx.MultiSteps(gx.adam(0.1), 2, should_skip_update_fn=gx.skip_not_finite).gradient_transformation(),
    "multipliers": lambda: gx.chain(gx.sgd(0.1), gx.scale_by_multiplier({"w": 2.0})),
    "master weights": lambda: gx.master_weights(gx.adam(0.1), key=0),
    "monitor": lambda: gx.chain(gx.monitor({"norm": gx.global_norm}), gx.lookahead(gx.sgd(0.1), 2, 0.5)),
}


@pytest.mark.parametrize("kind", COMPOSED)
def test_compositions_with_no_transfer_but_their_own_numbers(kind):
    tx, params = COMPOSED[kind](), {"w": jnp.ones((2, 3)), "b": jnp.zeros(3)}
    grads = jax.tree.map(lambda x: x + 1, params)
    if kind == "monitor":
        params = gx.LookaheadParams.init_synced(params)
    with jax.transfer_guard("disallow"):
        state = tx.init(params)
        for _ in range(3):
            updates, state = tx.update(grads, state, params)
            params = gx.apply_updates(params, updates)
        gx.eval_params(tx, state, params)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(params))
