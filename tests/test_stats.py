"""`stats` and `plot`: what is shown of a run."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradxform as gx
from gradxform.dialects import torch

pytestmark = pytest.mark.fast

PARAMS = {"dense": {"kernel": 2 * jnp.ones((2, 3)), "bias": jnp.zeros(3)}, "none": None}
GRADS = {"dense": {"kernel": jnp.full((2, 3), 3.0), "bias": jnp.array([0.5, -4.0, 0.0])}, "none": None}
GROUPS = {"*/bias": "biases", "default": "kernels"}


def flat(tree):
    return np.concatenate([np.ravel(x) for x in jax.tree.leaves(tree)])


def logs(tx, compiled=True, params=PARAMS, grads=GRADS, **options):
    def step(grads, state, params):
        updates, state = tx.update(grads, state, params)
        return updates, gx.stats(tx, state, grads=grads, updates=updates, params=params, **options)

    return (jax.jit(step) if compiled else step)(grads, tx.init(params), params)


@pytest.mark.parametrize("compiled", [True, False])
def test_norms_rate_and_ratios(compiled):
    tx = gx.chain(gx.clip(1.0), gx.sgd(gx.linear_schedule(0.1, 0.0, 100)))
    updates, shown = logs(tx, compiled, groups=GROUPS, clip=gx.clip(1.0))
    wanted = {
        "rate/learning_rate": 0.1,
        "norm/grads": np.linalg.norm(flat(GRADS)),
        "norm/updates": np.linalg.norm(flat(updates)),
        "norm/params": 2 * np.sqrt(6),
        "ratio/kernels": 0.1 / 2,
        "ratio/biases": 0,
        "clipped": 7 / 9,
    }
    assert shown.keys() == wanted.keys()
    for name, x in shown.items():
        assert x.shape == ()
        np.testing.assert_allclose(x, wanted[name], rtol=1e-6)


def test_the_rate_is_that_of_this_update():
    tx = gx.adam(lambda k: jnp.where(k < 1, 0.5, 0.25))
    state = tx.init(PARAMS)
    for rate in (0.5, 0.25, 0.25):
        updates, state = tx.update(GRADS, state, PARAMS)
        assert gx.stats(tx, state, grads=GRADS, updates=updates, params=PARAMS)["rate/learning_rate"] == rate


def test_each_group_of_a_partition_has_its_rate():
    tx = gx.partition({"a": gx.sgd(0.1), "b": gx.adam(0.01)}, {"*/bias": "a", "default": "b"})
    _, shown = logs(tx, groups={"*/bias": "a", "default": "b"}, hyperparams=("learning_rate", "b2"))
    assert {n: float(x) for n, x in shown.items() if n.startswith("rate/")} == pytest.approx(
        {"rate/a.learning_rate": 0.1, "rate/b2": 0.999, "rate/b.learning_rate": 0.01}
    )
    np.testing.assert_allclose(shown["ratio/b"], 0.01 / 2, rtol=1e-5)


@pytest.mark.parametrize(
    ("clip", "share"), [(gx.clip_by_global_norm(100.0), 0), (torch.clip_grad_norm(1.0), 8 / 9), (gx.clip(3.5), 1 / 9)]
)
def test_the_clipped_share(clip, share):
    """Of a global norm all elements or none, but those that are 0."""
    np.testing.assert_allclose(logs(gx.sgd(0.1), clip=clip)[1]["clipped"], share, rtol=1e-6)


def test_without_options_there_is_one_group():
    _, shown = logs(gx.sgd(0.1), params=jnp.ones(4), grads=jnp.full(4, 2.0))
    assert {n: float(x) for n, x in shown.items()} == pytest.approx(
        {"rate/learning_rate": 0.1, "norm/grads": 4.0, "norm/updates": 0.4, "norm/params": 2.0, "ratio/all": 0.2}
    )


def test_narrow_parameters_are_summed_in_float32():
    params = jnp.full(10_000, 10.0, jnp.float16)
    _, shown = logs(gx.sgd(0.1), params=params, grads=params)
    assert shown["norm/params"].dtype == jnp.float32
    np.testing.assert_allclose(shown["norm/params"], 1000, rtol=1e-3)


def test_mistakes():
    with pytest.raises(gx.StructureError, match="stats: "):
        gx.stats(gx.sgd(0.1), gx.sgd(0.1).init(PARAMS), grads=GRADS, updates={"dense": 0.0}, params=PARAMS)
    with pytest.raises(gx.LabelError, match=r"stats: the pattern '.*/bais' matches no leaf"):
        logs(gx.sgd(0.1), groups={"*/bais": "a", "default": "b"})


# Pictures -----------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def pyplot():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    yield pyplot
    pyplot.close("all")


def test_plot_draws_every_step(pyplot):
    schedule = gx.piecewise_constant_schedule(1.0, {3: 0.5})
    (line,) = gx.plot(schedule, 5).lines
    np.testing.assert_array_equal(line.get_xdata(), np.arange(6))
    np.testing.assert_allclose(line.get_ydata(), [1, 1, 1, 0.5, 0.5, 0.5])


def test_plot_draws_several_in_given_axes(pyplot, tmp_path):
    ax = pyplot.subplots()[1]
    schedules = {"cosine": gx.cosine_decay_schedule(1.0, 10**6), "constant": 0.5, "own": lambda k: 1.0}
    assert gx.plot(schedules, 10**6, ax=ax) is ax
    assert [text.get_text() for text in ax.get_legend().get_texts()] == list(schedules)
    cosine, *constant = (line.get_ydata() for line in ax.lines)
    assert len(cosine) == 2001
    np.testing.assert_allclose(cosine[[0, 1000, 2000]], [1, 0.5, 0], atol=1e-6)
    assert [set(c) for c in constant] == [{0.5}, {1.0}]
    ax.figure.savefig(tmp_path / "rates.png")
    assert (tmp_path / "rates.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("schedule", "text"),
    [
        (lambda k: 1.0 if k < 3 else 0.0, "plot: `schedule` is .*tabulate"),
        (lambda k: jnp.ones(3), r"plot: `schedule` must return one number, but returned shape \(3,\)"),
        ({"a": lambda k: None}, "plot: `a` is a schedule, which must return a real number"),
    ],
)
def test_plot_says_what_it_cannot_draw(pyplot, schedule, text):
    with pytest.raises(gx.HyperparameterError, match=text):
        gx.plot(schedule, 5)
