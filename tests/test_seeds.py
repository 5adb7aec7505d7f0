"""What randomness may begin with: a seed in any form of a whole number, traced ones too, and a key of any implementation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradxform as gx
from gradxform import registry
from gradxform.testing._case import case_for

NAMES = ("key", "seed", "random_seed")
RANDOM = {}
for entry in map(registry.entry, [*registry.names(kind="*"), *registry.names("*.*")]):
    argument = next((name for name in NAMES if name in entry.parameters), None)
    if argument and entry.parameters[argument].engine != "first":  # else it draws what the state begins with, and is not in it
        RANDOM[entry.full_name] = (entry, argument, {"stochastic_round": True} if "stochastic_round" in entry.parameters else {})
SEEDS = {
    "np.int64": np.int64(3),
    "np.uint32": np.uint32(3),
    "0-d np": np.array(3),
    "0-d jnp": jnp.array(3),
    "typed": jax.random.key(3),
    "raw": jax.random.PRNGKey(3),
    "raw np": np.asarray(jax.random.PRNGKey(3)),
}
KEEPS_NUMBERS = {"master_weights"}
by_transformation = pytest.mark.parametrize("name", RANDOM)


def words(state):
    """The words of all keys in a state."""
    leaves = [x for x in jax.tree.leaves(state) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) or x.dtype == jnp.uint32]
    assert leaves
    return [np.asarray(jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x) for x in leaves]


def start(name, seed):
    entry, argument, more = RANDOM[name]
    return entry(**{argument: seed}, **more).init(case_for(entry).params())


@pytest.mark.fast
def test_what_is_random_is_found():
    assert {"noisy_sgd", "add_noise", "sgld", "master_weights", "hutchinson_estimator_diag_hessian", "mxnet.sgld"} < set(RANDOM)


@pytest.mark.fast
@by_transformation
def test_every_form_of_a_seed_begins_alike(name):
    """Whole numbers alike, and keys alike; a number is made that key, unless rounding keeps it, to count on from."""
    expected = words(start(name, 3))
    of_keys = words(start(name, jax.random.key(3))) if name in KEEPS_NUMBERS else expected
    for form, seed in SEEDS.items():
        alike = expected if np.ndim(seed) == 0 and form != "typed" else of_keys
        np.testing.assert_array_equal(words(start(name, seed)), alike, err_msg=form)
    assert not np.array_equal(words(start(name, np.int64(4))), expected)


@by_transformation
def test_seeds_may_be_traced(name):
    """A population has a seed each, and its noise is that of each alone."""
    entry, argument, more = RANDOM[name]
    case = case_for(entry)
    params, grads = case.params(jnp.bfloat16), case.grads(0, jnp.bfloat16)

    def updates(seed):
        tx = entry(**{argument: seed}, **more)
        return tx.update(grads, tx.init(params), params, **case.extra(params, grads))[0]

    together = jax.vmap(updates)(jnp.arange(3))
    for i in range(3):
        jax.tree.map(lambda all_, one, i=i: np.testing.assert_array_equal(all_[i], one), together, jax.jit(updates)(i))


IMPLEMENTATIONS = ["threefry2x32", "rbg", "unsafe_rbg"]


@pytest.mark.fast
@pytest.mark.parametrize("kind", IMPLEMENTATIONS)
@pytest.mark.parametrize("default", IMPLEMENTATIONS)
def test_a_typed_key_keeps_its_implementation(default, kind):
    key = jax.random.key(3, impl=kind)
    with jax.default_prng_impl(default):
        for name, (entry, argument, more) in RANDOM.items():
            tx = entry(**{argument: key}, **more)
            keys = [x for x in jax.tree.leaves(tx.init(case_for(entry).params())) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key)]
            assert [str(jax.random.key_impl(x)) for x in keys] == [str(jax.random.key_impl(key))], name
            np.testing.assert_array_equal(jax.random.key_data(keys[0]), jax.random.key_data(key))
        params = {"w": jnp.ones(3)}
        tx = gx.add_noise(0.1, 0.5, key)
        state = tx.update(params, tx.init(params), params)[1]
        assert str(jax.random.key_impl(state.rng_key)) == str(jax.random.key_impl(key)), "the next state's, too"


@pytest.mark.fast
def test_an_injected_seed_is_no_number():
    for seed in (3, np.int64(3), jnp.array(3), jax.random.key(3)):
        state = gx.inject_hyperparams(gx.noisy_sgd)(0.1, key=seed).init({"w": jnp.ones(3)})
        assert set(state.hyperparams) == {"learning_rate", "eta", "gamma"}
        np.testing.assert_array_equal(words(state), words(gx.noisy_sgd(0.1, key=3).init({"w": jnp.ones(3)})))


@pytest.mark.fast
@pytest.mark.parametrize("seed", [1.5, "seed", np.ones(2), np.zeros((3,), np.int32)], ids=str)
def test_what_is_no_seed_is_refused(seed):
    with pytest.raises((TypeError, ValueError)):
        gx.noisy_sgd(0.1, key=seed).init({"w": jnp.ones(3)})
