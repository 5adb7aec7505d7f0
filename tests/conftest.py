"""Eight fake CPU devices, no silent rank promotion, and 64-bit numbers only where a test asks for them."""

import os

os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8".strip()
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_enable_x64", False)


@pytest.fixture
def x64():
    """The test computes with 64-bit numbers."""
    with jax.enable_x64(True):
        yield
