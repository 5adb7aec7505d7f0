# %% [markdown]
# # The surfaces, animated
#
# Six optimizers on four surfaces, every learning rate tried in one compiled call; what the pictures that everybody knows can say, and what they cannot.
#
# ![six optimizers on four surfaces](surfaces.gif)
#
# A path over a surface of two parameters shows how an optimizer turns, overshoots and slows down. It says little about a network of a million
# parameters, whose gradients are noisy and whose surface has other shapes. It is a good way to get to know the equations.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

import gradxform as gx

# %% [markdown]
# ## Four surfaces
#
# Each with a place to start, a frame, and its minima. Beale's function has a plateau and a steep rim; Rosenbrock's a bent valley; the saddle is flat
# in the direction that leads down; the long valley is a hundred times steeper across than along, and lies askew.

# %%
beale = lambda x, y: (1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2
rosenbrock = lambda x, y: (1 - x) ** 2 + 100 * (y - x**2) ** 2
saddle = lambda x, y: x**2 - y**2 + y**4 / 4
long_valley = lambda x, y: (0.8 * x + 0.6 * y) ** 2 / 20 + 5 * (0.6 * x - 0.8 * y) ** 2
surfaces = {
    "Beale": (beale, (0.8, 1.6), (-0.5, 4.5, -1.5, 2.5), [(3, 0.5)]),
    "Rosenbrock": (rosenbrock, (-1.2, 2.0), (-2, 2, -1, 3), [(1, 1)]),
    "saddle": (saddle, (-1.3, 0.02), (-1.8, 1.8, -2.2, 2.2), [(0, 2**0.5), (0, -(2**0.5))]),
    "long valley": (long_valley, (-4.0, -0.5), (-5, 2, -3.2, 2.8), [(0, 0)]),
}

# %% [markdown]
# ## Every rate at once
#
# A learning rate may be traced, so `vmap` runs sixty rates side by side, and `scan` three hundred steps. The rate falls to zero along a cosine, so
# that paths end in points.

# %%
optimizers = {
    "sgd": gx.sgd,
    "momentum": lambda rate: gx.sgd(rate, momentum=0.9),
    "adagrad": gx.adagrad,
    "rmsprop": gx.rmsprop,
    "adam": gx.adam,
    "lion": gx.lion,
}
steps = 300


def paths(make, height, start, rates):
    def walk(rate):
        tx = make(gx.cosine_decay_schedule(rate, steps))

        def step(run, _):
            point, state = run
            updates, state = tx.update(jax.grad(lambda p: height(*p))(point), state, point)
            return (gx.apply_updates(point, updates), state), point

        point = jnp.asarray(start, jnp.float32)
        return jax.lax.scan(step, (point, tx.init(point)), None, steps)[1]

    return np.asarray(jax.jit(jax.vmap(walk))(rates))


# %% [markdown]
# Which rate should be shown? Tuned for the lowest height, most paths are scribbles that happen to end well. We take the fastest one that stays in the
# frame and never steps further than 7 % of the frame's diagonal.

# %%
rates = jnp.geomspace(1e-4, 1e2, 61)


def fastest(tracks, frame):
    left, right, low, high = frame
    tracks = np.nan_to_num(tracks, nan=np.inf).clip(-1e9, 1e9)
    x, y = tracks[..., 0], tracks[..., 1]
    inside = ((x >= left) & (x <= right) & (y >= low) & (y <= high)).all(axis=1)
    longest = np.linalg.norm(np.diff(tracks, axis=1), axis=-1).max(axis=1)
    ok = np.flatnonzero(inside & (longest <= 0.07 * np.hypot(right - left, high - low)))
    return int(ok[-1])


shown, chosen = {}, {}
for surface, (height, start, frame, minima) in surfaces.items():
    lowest = min(float(height(*m)) for m in minima)
    for name, make in optimizers.items():
        tracks = paths(make, height, start, rates)
        best = fastest(tracks, frame)
        shown[surface, name] = tracks[best]
        chosen[surface, name] = float(rates[best]), float(height(*tracks[best, -1])) - lowest

print(f"{'':10}" + "".join(f"{surface:>24}" for surface in surfaces))
for name in optimizers:
    print(f"{name:10}" + "".join("   rate {:7.2g}, ends {:5.0e}".format(*chosen[s, name]) for s in surfaces))

# %% [markdown]
# "ends" is the height above the minimum after 300 steps. How much does the rate of one optimizer differ over the surfaces?

# %%
for name in optimizers:
    used = [chosen[s, name][0] for s in surfaces]
    print(f"{name:10} largest rate / smallest rate: {max(used) / min(used):8.1f}")

# %% [markdown]
# Plain gradient descent and momentum step in proportion to the slope, so their rate must be found anew for each surface. The others divide by the
# size of the gradient, and what is left of it is the size of the frame.


# %%
def background():
    figure, panels = plt.subplots(2, 2, figsize=(6.4, 5.2))
    for panel, (surface, (height, start, (left, right, low, high), minima)) in zip(panels.flat, surfaces.items(), strict=True):
        x, y = np.meshgrid(np.linspace(left, right, 150), np.linspace(low, high, 150))
        z = height(x, y)
        panel.contour(x, y, z, levels=z.min() + np.ptp(z) * np.linspace(0, 1, 18) ** 4, colors="#dddddd", linewidths=0.7)
        panel.plot(*start, "k.", markersize=5)
        for minimum in minima:
            panel.plot(*minimum, "k*", markersize=7)
        panel.set_title(surface, fontsize=9)
        panel.set(xlim=(left, right), ylim=(low, high), xticks=[], yticks=[])
    return figure, panels.flat


def drawn(panels):
    """A line and a head for every path, empty as yet."""
    lines = {}
    for panel, surface in zip(panels, surfaces, strict=True):
        for i, name in enumerate(optimizers):
            [line] = panel.plot([], [], color=f"C{i}", linewidth=1.3, label=name)
            [head] = panel.plot([], [], "o", color=f"C{i}", markersize=4)
            lines[surface, name] = line, head
    return lines


def at(lines, step):
    for key, (line, head) in lines.items():
        line.set_data(*shown[key][:step].T)
        head.set_data(*shown[key][step - 1 : step].T)


# %% tags=["thumbnail"]
figure, panels = background()
lines = drawn(panels)
at(lines, steps)
figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=6, fontsize=8)
plt.show()

# %% [markdown]
# The animation at the top of this page is the same figure, step by step.

# %%
figure, panels = background()
figure.set_dpi(64)
lines = drawn(panels)
figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=6, fontsize=8)
images = []
for step in np.unique(np.geomspace(2, steps, 60).astype(int)):
    at(lines, step)
    figure.canvas.draw()
    images.append(Image.fromarray(np.asarray(figure.canvas.buffer_rgba())).convert("RGB").quantize(24))
images[0].save("surfaces.gif", save_all=True, append_images=images[1:] + 15 * images[-1:], duration=80, loop=0)
plt.close(figure)

# %% [markdown]
# `python -m gradxform race surfaces --optimizers 'adam*, muon'` draws the same for any optimizers, your own included.
