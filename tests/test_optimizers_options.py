"""Options of optimizers that the laws do not reach, beside the transcriptions; and the text of errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import ORACLES
from steps import draw, follow, plain

import gradxform as gx

OPTIONS = [
    ("sgd", {"learning_rate": 0.1, "momentum": 0.9, "dampening": 0.3}),
    ("sgd", {"learning_rate": 0.1, "momentum": 0.9, "dampening": 0.3, "nesterov": True}),
    ("sgd", {"learning_rate": 0.1, "dampening": 0.3}),
    ("rmsprop", {"learning_rate": 0.01, "eps": 1e-3, "eps_in_sqrt": False}),
    ("rmsprop", {"learning_rate": 0.01, "eps": 1e-3, "eps_in_sqrt": "both"}),
    ("rmsprop", {"learning_rate": 0.01, "eps": 1e-3, "eps_in_sqrt": "both", "centered": True, "momentum": 0.9}),
    ("adagrad", {"learning_rate": 0.1, "initial_accumulator_value": 0.0, "eps": 1e-3, "eps_in_sqrt": False}),
    ("nadam", {"learning_rate": 0.01, "momentum_decay": 4e-3}),
    ("nadam", {"learning_rate": 0.01, "momentum_decay": 4e-3, "nesterov": False}),
    ("nadam", {"learning_rate": 0.01, "momentum_decay": 1.0, "eps_root": 1e-4}),
    ("nadamax", {"learning_rate": 0.01, "eps": 1e-3}),
    ("maxaprop", {"learning_rate": 0.01, "eps": 1e-3}),
    ("signum", {"learning_rate": 0.01, "weight_decay": 0.1}),
    ("lars", {"learning_rate": 1.0, "weight_decay": 0.1, "eps": 1e-3, "momentum": 0.8, "nesterov": True}),
    ("lamb", {"learning_rate": 0.01, "weight_decay": 0.1, "lower_bound": 0.5, "upper_bound": 2.0}),
    ("lamb", {"learning_rate": 0.01, "bias_correction": False}),
    ("lans", {"learning_rate": 0.01, "weight_decay": 0.1, "lower_bound": 0.5, "upper_bound": 2.0}),
    ("adabelief", {"learning_rate": 0.01, "nesterov": True}),
    ("group_adagrad", {"learning_rate": 0.1, "initial_accumulator_value": 0.1, "eps": 1e-3}),
    ("dcasgd", {"learning_rate": 0.1, "momentum": 0.5, "lamda": 0.5}),
    ("ftrl", {"learning_rate": 0.1, "l1": 0.5, "l2": 0.1, "beta": 0.5, "initial_accumulator_value": 0.1}),
    ("ftml", {"learning_rate": 0.0025, "b1": 0.6}),
    ("ftml", {"learning_rate": lambda k: 0.01 / (1 + 0.1 * jnp.asarray(k, float)), "b1": 0.9}),
    ("sgld", {"learning_rate": 0.1, "temperature": 0.0, "preconditioner_decay": 0.9}),
]


@pytest.mark.parametrize(("name", "arguments"), OPTIONS, ids=plain)
def test_options_agree_with_the_transcription(name, arguments, x64):
    """With parameters that go where the updates send them: FTML keeps one moment, the transcription z and d."""
    follow(gx.create(name, **arguments), ORACLES[name](**arguments))


class TestCenteredRmsprop:
    @pytest.mark.parametrize("eps_in_sqrt", [True, False, "both"])
    @pytest.mark.parametrize("noise", [0.0, 1e-7, 1e-4])
    def test_it_stays_finite_on_nearly_constant_gradients(self, noise, eps_in_sqrt):
        tx = gx.rmsprop(1e-3, centered=True, momentum=0.9, eps_in_sqrt=eps_in_sqrt)
        g = 1 + noise * jax.random.normal(jax.random.key(0), (600, 1000))
        step = lambda state, g: tx.update(g, state)[::-1]
        state, u = jax.lax.scan(step, tx.init(g[0]), g)
        assert all(bool(jnp.isfinite(x).all()) for x in jax.tree.leaves((u, state)))


@pytest.mark.fast
class TestNadam:
    def test_one_leaf_and_a_hundred_get_the_same_updates(self):
        """MXNet multiplied the product once for each of the hundred."""
        tx = gx.nadam(0.1, momentum_decay=4e-3)
        one, many = {"p0": jnp.ones(3)}, {f"p{i}": jnp.ones(3) for i in range(100)}
        s1, s2 = tx.init(one), tx.init(many)
        for i in range(10):
            g = draw(i, {"p0": (3,)})
            u1, s1 = tx.update(g, s1)
            u2, s2 = tx.update(dict.fromkeys(many, g["p0"]), s2)
            assert all(np.array_equal(u1["p0"], u) for u in u2.values())
        assert s1[0].product.shape == ()
        assert s1[0].product == s2[0].product

    def test_without_momentum_decay_it_is_optax_nadam(self):
        assert gx.nadam(0.1) == gx.adam(0.1, nesterov=True)


@pytest.mark.fast
def test_ftml_keeps_one_moment():
    params = draw(0)
    sizes = [x.size for x in jax.tree.leaves(gx.ftml(0.1).init(params))]
    assert sum(sizes) == 1 + sum(p.size for p in params.values())


@pytest.mark.fast
def test_the_decay_of_lans_takes_a_mask():
    params, g = draw(0), draw(1)
    one = lambda tx: tx.update(g, tx.init(params), params)[0]
    masked, plain, decayed = (
        one(gx.lans(1.0, weight_decay=1.0, mask={"b": False})),
        one(gx.lans(1.0)),
        one(gx.lans(1.0, weight_decay=1.0)),
    )
    np.testing.assert_array_equal(masked["b"], plain["b"])
    np.testing.assert_array_equal(masked["w"], decayed["w"])
    assert not np.allclose(plain["w"], decayed["w"])


@pytest.mark.fast
def test_group_adagrad_keeps_one_number_per_row():
    tx = gx.group_adagrad(0.1)
    params = {"embed": jnp.ones((5, 7)), "kernel": jnp.ones((2, 3, 4)), "bias": jnp.ones(3), "s": jnp.ones(())}
    shapes = jax.tree.map(jnp.shape, tx.init(params)[0].sum_of_squares, is_leaf=lambda x: isinstance(x, jax.Array))
    assert shapes == {"embed": (5, 1), "kernel": (2, 1, 1), "bias": (3,), "s": ()}


@pytest.mark.fast
@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: gx.dcasgd(np.inf), r"dcasgd: `learning_rate` must be .* in \(-inf, inf\), but got inf"),
        (lambda: gx.dcasgd(0.1, limit=-1.0), r"dcasgd: `limit` .* in \[0, inf\], but got -1.0"),
        (lambda: gx.ftrl(0.0), r"ftrl: `learning_rate` must be .* in \(0, inf\), but got 0.0"),
        (lambda: gx.ftml(b1=1.0), r"ftml: `b1` must be .* in \[0, 1\), but got 1.0"),
        (lambda: gx.sgld(0.1, temperature=-1), r"sgld: `temperature` .* but got -1"),
        (lambda: gx.sgd(0.1, 0.9, dampening=2.0), r"sgd: `dampening` must be .* in \[0, 1\], but got 2.0"),
        (lambda: gx.nadam(0.1, momentum_decay=-0.1), r"nadam: `momentum_decay` .* but got -0.1"),
        (lambda: gx.signum(0.1, weight_decay="a lot"), r"signum: `weight_decay` .* but got 'a lot'"),
        (lambda: gx.lans(0.1, lower_bound=-1.0), r"lans: `lower_bound` .* but got -1.0"),
        (
            lambda: gx.rmsprop(0.1, eps_in_sqrt="inside"),
            r"rmsprop: `eps_in_sqrt` must be one of True, False, 'both', but got 'inside'",
        ),
        (lambda: gx.adagrad(0.1, eps_in_sqrt=1), r"adagrad: `eps_in_sqrt` must be one of True, False, 'both', but got 1"),
        (
            lambda: gx.keep_params_in_box(1.0, -1.0),
            r"keep_params_in_box: `low` must not exceed `high`, but got low=1.0 and high=-1.0",
        ),
    ],
)
def test_a_bad_argument_is_named(make, text):
    with pytest.raises(gx.HyperparameterError, match=text):
        make()
