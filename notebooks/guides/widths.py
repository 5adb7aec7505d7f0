# %% [markdown]
# # One rate for every width
#
# The best rate of a narrow model is too large for a wide one, unless steps and initial weights depend on the width: `scale_by_width`, measured on a transformer.
#
# Rates are searched where runs are cheap and used where they are not. That asks for a model whose best rate stays where it is as the model grows wider. The condition for it
# has two names, µP and the spectral condition: a step must change what each layer puts out by as much at every width.

# %%
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import gradxform as gx
from gradxform.race.problems import text

# %% [markdown]
# ## By how much does a step move each layer?
#
# A network of three matrices, and ten steps of Adam at the same rate at widths 64 to 1,024. With `scale_by_width` each matrix's steps are multiplied by a factor that
# follows from its shape and from that at the base width, here 64; `initial_scale` gives what the initial standard deviations are multiplied by.

# %%
inputs, classes, base = 32, 10, 64
rng = np.random.default_rng(0)
x, y = jnp.asarray(rng.normal(size=(64, inputs)), jnp.float32), rng.integers(classes, size=64)


def shapes(width):
    sizes = {"in": (inputs, width), "hidden": (width, width), "out": (width, classes)}
    return {name: jax.ShapeDtypeStruct(size, jnp.float32) for name, size in sizes.items()}


def layers(params):
    first = x @ params["in"]
    second = jax.nn.relu(first) @ params["hidden"]
    return {"in": first, "hidden": second, "out": jax.nn.relu(second) @ params["out"]}


def loss(params):
    return gx.softmax_cross_entropy_with_integer_labels(layers(params)["out"], y).mean()


def initial(width, scaled, key):
    """Standard deviations of 1 / sqrt(inputs): of the width itself, or of the base width times the scale."""
    scale = gx.initial_scale(shapes(width), shapes(base))
    size = lambda name, s: scale[name] * shapes(base)[name].shape[0] ** -0.5 if scaled else s.shape[0] ** -0.5
    keys = jax.random.split(key, 3)
    return {name: size(name, s) * jax.random.normal(k, s.shape) for (name, s), k in zip(shapes(width).items(), keys, strict=True)}


def moved(width, scaled, key):
    """The root mean square of what ten steps change, for each layer."""
    tx = gx.scale_by_width(gx.adam(3e-3), shapes(base)) if scaled else gx.adam(3e-3)
    params = initial(width, scaled, key)

    def step(carry, _):
        params, state = carry
        updates, state = tx.update(jax.grad(loss)(params), state, params)
        return (gx.apply_updates(params, updates), state), None

    after = jax.lax.scan(step, (params, tx.init(params)), None, 10)[0][0]
    return jax.tree.map(lambda a, b: jnp.sqrt(jnp.mean((a - b) ** 2)), layers(after), layers(params))


# %%
widths, keys = (64, 128, 256, 512, 1024), jax.random.split(jax.random.key(0), 3)
figure, panels = plt.subplots(1, 2, figsize=(7.5, 3), sharey=True)
for panel, scaled in zip(panels, (False, True), strict=True):
    of = [jax.jit(jax.vmap(lambda key, w=width, s=scaled: moved(w, s, key)))(keys) for width in widths]
    for name in ("in", "hidden", "out"):
        sizes = [float(found[name].mean()) for found in of]
        panel.loglog(widths, sizes, "o-", label=name, markersize=4)
        print(f"{'scaled' if scaled else 'plain':6} {name:6} {' '.join(f'{size:6.2f}' for size in sizes)}")
    panel.set(title="with scale_by_width" if scaled else "without", xlabel="width")
    panel.set_xticks(widths, widths)
    panel.minorticks_off()
panels[0].set_ylabel("change after ten steps")
panels[0].legend(fontsize=8)
plt.show()

# %% [markdown]
# Every element of a matrix moves by about the rate in Adam. A product with it sums over as many of these moves as there are inputs, and they agree with one another, since they
# come from the same examples. So its output moves in proportion to the width, and the rate of that matrix must be divided by it. This is the check to make with
# a model of your own: flat lines.
#
# ## A transformer
#
# What each leaf of the race's `text` gets, 256 wide, from a base of 64: rules by optimizer, and the initial size.


# %%
def text_shapes(width):
    return jax.tree.map(lambda v: jax.ShapeDtypeStruct(v.shape, v.dtype), text.init(jax.random.key(0), width))


wide, narrow = text_shapes(256), text_shapes(64)
ones = jax.tree.map(lambda s: jnp.ones(s.shape), wide)
columns = {"initial size": gx.initial_scale(wide, narrow)}
for rule in ("adam", "muon"):
    tx = gx.scale_by_width(gx.scale(1.0), narrow, rule)
    columns[rule] = jax.tree.map(lambda u: u.mean(), tx.update(ones, tx.init(ones))[0])
print(f"{'':26}{'shape':13}" + "".join(f"{name:>14}" for name in columns))
for (path, leaf), *values in zip(jax.tree.leaves_with_path(wide), *map(jax.tree.leaves, columns.values()), strict=True):
    name = jax.tree_util.keystr(path, simple=True, separator="/")
    if "/1/" not in name:
        print(f"{name:26}{leaf.shape!s:13}" + "".join(f"{float(value):14.3g}" for value in values))

# %% [markdown]
# ## The best rate, before and after
#
# This transformer was trained at widths 64, 128 and 256, with heads of 16, by Adam for 200 steps and by Muon for 100, each with five rates a factor 2 apart about the best one at
# width 64, which other seeds had found. Without: the problem's own weights, of variance 1 / inputs, and the bare optimizer. The losses, on text that is not trained on, are kept
# in a file (`python benchmarks/widths.py` measures again).

# %% tags=["thumbnail"]
results = json.loads((Path(gx.__file__).parent.parent / "benchmarks" / "results" / "widths.json").read_text())
figure, panels = plt.subplots(2, 2, figsize=(8, 6), sharex="row", sharey="row")
for row, (name, ways) in zip(panels, results["losses"].items(), strict=True):
    rates = results["search"][name]["five"]
    for panel, way in zip(row, ("plain", "scaled"), strict=True):
        for colour, (width, losses) in zip(("C5", "C0", "C6"), ways[way].items(), strict=True):
            mean = np.mean(losses, axis=1)
            best = mean.argmin()
            panel.semilogx(rates, mean, f"{colour}o-", markersize=3, label=f"width {width}")
            panel.fill_between(rates, np.min(losses, axis=1), np.max(losses, axis=1), color=colour, alpha=0.15, linewidth=0)
            panel.plot(rates[best], mean[best], f"{colour}*", markersize=13)
            print(f"{name}, {way:6} width {width:>3}: best rate {rates[best]:.4g} of {len(losses[0])} seeds, loss {mean[best]:.3f}")
        panel.set(title=f"{name}, {'with scale_by_width' if way == 'scaled' else 'without'}", xlabel="learning rate")
        panel.set_xticks(rates, [f"{rate:.3g}" for rate in rates])
        panel.minorticks_off()
    row[0].set_ylabel("validation loss")
panels[0, 0].legend(fontsize=8)
plt.show()

# %% [markdown]
# Without, Adam's best rate is halved with each doubling of the width, and at the rate that was best at 64 the widest model is worse than the narrowest; with, the best rate
# stays, and there the wider model is the better one. A wide model trained at its own best rate without is not worse than one with: what `scale_by_width` saves is the
# search.
#
# Muon hardly needs it. Its steps have the spectral norm that the condition asks for, at every width; what the rule adds concerns the embedding and the last layer, and is
# little. With it and without, the best rate is the same or a neighbour: at all widths the two lowest losses are those at 0.04 and 0.08, 0.05 apart at most.
#
# ## In a model of your own
#
# The shapes at the base width are all that is needed: `jax.eval_shape(init, key)` of the narrow model. A decay goes behind it, as one within would be scaled, too. The number
# of heads grows with the width, so that what is divided by in attention stays. Where optimizers are mixed, each gets its rule:

# %%
hidden = gx.scale_by_width(gx.muon(0.08), narrow, "muon")
others = gx.scale_by_width(gx.adam(0.01), narrow, "adam")
tx = gx.chain(
    gx.partition({"hidden": hidden, "others": others}, gx.by_path({"layers/*": "hidden", "default": "others"})),
    gx.add_decayed_weights(-1e-4, mask=gx.by_ndim(2)),
)
params = text.init(jax.random.key(0), 256)
updates, _ = jax.jit(tx.update)(ones, tx.init(params), params)
print({name: f"{float(jnp.abs(updates[name]).mean()):.4f}" for name in ("characters", "norm", "scores")})
