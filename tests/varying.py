"""What differs along a mapped axis, to JAX's types, on every JAX."""

import jax


def varying(tree, axis_name):
    """The tree as something of each device's own, so that its gradient is too."""
    if hasattr(jax.lax, "pcast"):
        return jax.lax.pcast(tree, axis_name, to="varying")
    return jax.lax.pvary(tree, axis_name)
