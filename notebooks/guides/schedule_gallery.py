# %% [markdown]
# # A gallery of schedules
#
# Every learning-rate schedule as a picture beside the call that draws it, how to join them, to write your own, and where the clock stands when a run is resumed.
#
# A schedule is a function of the number of completed updates. Wherever a learning rate, a decay or any other number is taken, a schedule is taken too.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import gradxform as gx


def draw(schedules, steps=1000, columns=3):
    """A panel for each schedule, with its name."""
    rows = -(-len(schedules) // columns)
    _, panels = plt.subplots(rows, columns, figsize=(7.5, 1.6 * rows), sharex=True, sharey=True, squeeze=False)
    for panel in panels.flat[len(schedules) :]:
        panel.axis("off")
    for panel, (name, one) in zip(panels.flat, schedules.items(), strict=False):
        gx.schedules.plot(one, steps, ax=panel)
        panel.set_title(name, fontsize=8)
        panel.set_xlabel("")
    plt.show()


# %% [markdown]
# ## Falling
#
# The same from 1 to 0, or toward it, over a thousand updates. A straight line, a power, a half cosine; `rex` stays high for longer and `one_minus_sqrt`
# falls early. `exponential_decay` and `inverse_time_schedule` never reach zero.

# %%
draw(
    {
        "linear_schedule": gx.linear_schedule(1.0, 0.0, 1000),
        "polynomial_schedule, power 2": gx.polynomial_schedule(1.0, 0.0, 2.0, 1000),
        "cosine_decay_schedule": gx.cosine_decay_schedule(1.0, 1000),
        "cosine_decay_schedule, alpha=0.1": gx.cosine_decay_schedule(1.0, 1000, alpha=0.1),
        "rex_schedule": gx.rex_schedule(1.0, 0.0, 1000),
        "one_minus_sqrt_schedule": gx.one_minus_sqrt_schedule(1.0, 0.0, 1000),
        "exponential_decay": gx.exponential_decay(1.0, 200, 0.5),
        "exponential_decay, staircase": gx.exponential_decay(1.0, 200, 0.5, staircase=True),
        "inverse_time_schedule": gx.inverse_time_schedule(1.0, 0.01),
    }
)

# %% [markdown]
# ## Warming up first
#
# The moments of Adam know little at first and large steps are then badly aimed, so the rate climbs from 0. `wsd_schedule` (warm up, stay, decay)
# need not know the length of the run until it decays: the plateau can be prolonged at will.

# %% tags=["thumbnail"]
draw(
    {
        "warmup_constant_schedule": gx.warmup_constant_schedule(0.0, 1.0, 100),
        "warmup_cosine_decay_schedule": gx.warmup_cosine_decay_schedule(0.0, 1.0, 100, 1000),
        "warmup_exponential_decay_schedule": gx.warmup_exponential_decay_schedule(0.0, 1.0, 100, 200, 0.5),
        "rsqrt_schedule": gx.rsqrt_schedule(0.0, 1.0, 100),
        "warmup_power_schedule, power 0.5": gx.warmup_power_schedule(0.0, 1.0, 100, 0.5),
        "wsd_schedule, linear": gx.wsd_schedule(0.0, 1.0, 100, 600, 300),
        'wsd_schedule, decay="cosine"': gx.wsd_schedule(0.0, 1.0, 100, 600, 300, decay="cosine"),
        'wsd_schedule, "one_minus_sqrt"': gx.wsd_schedule(0.0, 1.0, 100, 600, 300, decay="one_minus_sqrt"),
    }
)

# %% [markdown]
# ## Cycles and steps

# %%
restarts = [
    {"init_value": v, "peak_value": v, "warmup_steps": 0, "decay_steps": n} for v, n in ((1.0, 200), (0.8, 300), (0.6, 500))
]
draw(
    {
        "linear_onecycle_schedule": gx.linear_onecycle_schedule(1000, 1.0),
        "cosine_onecycle_schedule": gx.cosine_onecycle_schedule(1000, 1.0),
        "cyclic_triangular_schedule": gx.cyclic_triangular_schedule(0.1, 1.0, 125, decay_rate=0.7),
        "sgdr_schedule": gx.sgdr_schedule(restarts),
        "piecewise_constant_schedule": gx.piecewise_constant_schedule(1.0, {400: 0.5, 700: 0.2}),
        "piecewise_interpolate_schedule": gx.piecewise_interpolate_schedule("linear", 1.0, {400: 0.5, 700: 0.2}),
    }
)

# %% [markdown]
# ## Joining, and your own
#
# `join_schedules` runs one after another; each begins to count at its boundary. A schedule of your own is a function written with `jax.numpy`, for it
# runs inside the compiled step. With `gx.schedule` above it, it checks its arguments, prints and pickles like the others. One that uses `if`,
# `math` or a file is tabulated.


# %%
@gx.schedules.schedule
def triangle(k, peak: float, steps: int):
    """Up and down again."""
    return peak * (1 - jnp.abs(2 * k / steps - 1))


print(triangle(1.0, 500))
draw(
    {
        "join_schedules": gx.join_schedules(
            [gx.linear_schedule(0.0, 1.0, 200), gx.cosine_decay_schedule(1.0, 400), lambda k: 0.1], [200, 600]
        ),
        "triangle": gx.join_schedules([triangle(1.0, 500), triangle(0.5, 500)], [500]),
        "tabulate": gx.tabulate(lambda k: 1.0 if k < 300 else 0.3 if k % 100 < 50 else 0.6, 1000),
    }
)

# %% [markdown]
# ## Not only the learning rate
#
# Any number of an optimizer may follow a schedule: here Adam's `b1` falls while the rate rises, as in the one-cycle policy. `get_hyperparams` reads
# what the last update used.

# %%
rate = gx.cosine_onecycle_schedule(100, 0.1)
momentum = lambda k: 0.95 - 0.1 * rate(k) / 0.1
tx = gx.adam(rate, b1=momentum)
params = {"w": jnp.ones(3)}
state, seen = tx.init(params), []
for _ in range(100):
    updates, state = tx.update(params, state, params)
    now = gx.get_hyperparams(tx, state)
    seen.append((float(now["learning_rate"]), float(now["b1"])))
figure, axes = plt.subplots(figsize=(7, 2.4))
axes.plot([rate for rate, _ in seen], label="learning_rate")
axes.plot([b1 for _, b1 in seen], label="b1")
axes.set(xlabel="updates")
axes.legend()
plt.show()

# %% [markdown]
# ## The clock
#
# The state counts updates, so a restored state goes on where it stopped. If only the parameters were kept, `resume_at` sets the clock. A schedule
# under `vmap` is many schedules: here five peaks at once.

# %%
resumed = gx.resume_at(tx, tx.init(params), 50)
_, resumed = tx.update(params, resumed, params)
print("after resume_at(50):", float(gx.get_hyperparams(tx, resumed)["learning_rate"]), "and", seen[50][0])

peaks = jnp.linspace(0.2, 1.0, 5)
k = jnp.arange(0, 1001, 100)
print(jax.vmap(lambda peak: gx.warmup_cosine_decay_schedule(0.0, peak, 200, 1000)(k))(peaks).round(2))
assert np.isclose(float(gx.get_hyperparams(tx, resumed)["learning_rate"]), seen[50][0])
