"""`scale_by_multiplier`: every kind of labels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from steps import plain

import gradxform as gx

pytestmark = pytest.mark.fast


ONES = {"encoder": {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)}, "scale": jnp.ones(())}


class TestMultiplier:
    def factors(self, spec):
        tx = gx.scale_by_multiplier(spec)
        updates, _ = tx.update(ONES, tx.init(ONES))
        return [float(x.ravel()[0]) for x in jax.tree.leaves(updates)]

    @pytest.mark.parametrize(
        ("spec", "expected"),
        [
            ({"*/bias": 2.0}, [2, 1, 1]),
            ({"scale": 3}, [1, 1, 3]),
            ({"*/bias": 2.0, "encoder/*": 0.5, "default": 4.0}, [2, 0.5, 4]),
            (gx.by_path({"*/bias": 2.0}), [2, 1, 1]),
            (gx.by_leaf(lambda path, leaf: leaf.ndim), [1, 2, 0]),
            (lambda path, leaf: 0.1 if path.startswith("encoder") else None, [0.1, 0.1, 1]),
            ({"encoder": 0.5, "scale": 2.0}, [0.5, 0.5, 2]),
            ({"encoder": {"kernel": 0.5, "bias": None}, "scale": jnp.float32(2)}, [1, 0.5, 2]),
            (lambda params: jax.tree.map(lambda p: p.size, params), [3, 6, 1]),
            (0.25, [0.25] * 3),
        ],
        ids=plain,
    )
    def test_every_kind_of_labels(self, spec, expected):
        assert self.factors(spec) == pytest.approx(expected)

    def test_the_numbers_are_data(self):
        tx = lambda factor: gx.scale_by_multiplier({"*/bias": factor})
        out = jax.jit(lambda factor: tx(factor).update(ONES, tx(factor).init(ONES))[0])(3.0)
        assert float(out["encoder"]["bias"][0]) == 3.0
        programs = {id(gx.scale_by_multiplier(x).update.program) for x in (0.5, 2.0, {"*": 1.0})}
        assert len(programs) == 1

    def test_after_an_optimizer_it_multiplies_the_rate(self):
        tx = gx.chain(gx.adam(0.1), gx.scale_by_multiplier({"*/bias": 0.1}))
        updates, _ = tx.update(ONES, tx.init(ONES))
        np.testing.assert_allclose(updates["encoder"]["bias"], -0.01, rtol=1e-5)
        np.testing.assert_allclose(updates["encoder"]["kernel"], -0.1, rtol=1e-5)

    @pytest.mark.parametrize(
        ("spec", "text"),
        [
            ({"*/biass": 2.0}, r"scale_by_multiplier: the pattern '\*/biass' matches no leaf.*encoder/bias"),
            (
                {"*/bias": "high"},
                r"scale_by_multiplier: `multipliers` must be a number at every leaf, but at 'encoder/bias' it is 'high'",
            ),
            ((1.0, 2.0), r"scale_by_multiplier: the labels should have the structure"),
        ],
        ids=plain,
    )
    def test_errors(self, spec, text):
        with pytest.raises(gx.LabelError, match=text):
            self.factors(spec)
