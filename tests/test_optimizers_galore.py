"""`galore`: projections of real, complex and batched matrices, and the inner optimizer."""

import jax.numpy as jnp
import numpy as np
import pytest
from steps import MATRIX, run

import gradxform as gx


@gx.elementwise(needs=("value",))
def scale_by_value(g, s, p, c):
    """u = value g"""
    return c.value * g, s


_by_value = scale_by_value()


class TestGalore:
    def test_a_full_rank_projection_is_none(self):
        gs = [jnp.asarray(MATRIX), jnp.asarray(MATRIX[::-1])]
        u, _ = run(gx.scale_by_galore(4, 1, base_optimizer=gx.identity()), gs, gs[0])
        np.testing.assert_allclose(u, gs, atol=1e-5)

    def test_extra_arguments_reach_the_inner_optimizer(self):
        """Lessons 5.18: Optax's drops them."""
        tx = gx.chain(gx.scale_by_galore(2, base_optimizer=_by_value))
        u, _ = run(tx, [jnp.ones(3)], jnp.ones(3), value=jnp.float32(7.0))
        np.testing.assert_allclose(u[0], 7.0)

    def test_complex_matrices_are_projected_onto_their_singular_vectors(self):
        """Optax computes the singular vectors of the real part, and transposes without conjugating."""
        rng = np.random.default_rng(3)
        column, row = (rng.standard_normal(n) + 1j * rng.standard_normal(n) for n in (4, 6))
        for g in (np.outer(column, row), np.outer(row, column)):
            u, _ = run(
                gx.scale_by_galore(1, base_optimizer=gx.identity()), [jnp.asarray(g, jnp.complex64)], jnp.asarray(g, jnp.complex64)
            )
            np.testing.assert_allclose(u[0], g, atol=1e-5)

    def test_a_batch_of_matrices_is_projected_one_by_one(self):
        dims = gx.GaLoreDimensionNumbers(1, 2)
        gs = jnp.stack([jnp.asarray(MATRIX), jnp.asarray(MATRIX[::-1] ** 2)])
        one = gx.scale_by_galore(2)
        many, state = run(gx.scale_by_galore(2, weight_dimension_numbers=dims), [gs], gs)
        assert state.projector.shape == (2, 6, 2)
        for i, g in enumerate(gs):
            np.testing.assert_allclose(many[0][i], run(one, [g], g)[0][0], rtol=1e-5, atol=1e-5)

    def test_what_needs_the_parameters_says_so(self):
        with pytest.raises(gx.MissingArgumentError, match="params"):
            run(gx.scale_by_galore(2, base_optimizer=gx.adamw(0.1)), [jnp.asarray(MATRIX)], jnp.asarray(MATRIX))
        with pytest.raises(gx.HyperparameterError, match="rank"):
            gx.galore(0.1, rank=0)
        with pytest.raises(gx.StructureError, match=r"shape \(3,\)"):
            gx.scale_by_galore(weight_dimension_numbers=lambda tree: gx.GaLoreDimensionNumbers()).init(jnp.ones(3))
