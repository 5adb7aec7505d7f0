# %% [markdown]
# # Freezing, LoRA and groups, in Linen, NNX, Equinox and Haiku
#
# Train the last layer only, low-rank corrections, or every part at a rate of its own; one pattern for the parameters of four libraries.
#
# A small network has learned the digits 0 to 4 from many images. It should now learn all ten from a hundred. How much of what it knows should stay?

# %%
import equinox as eqx
import flax.linen as nn
import haiku as hk
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from flax import nnx
from sklearn.datasets import load_digits

import gradxform as gx

images, labels = load_digits(return_X_y=True)
order = np.random.default_rng(0).permutation(len(labels))
x, y = jnp.asarray(images[order] / 16, jnp.float32), jnp.asarray(labels[order])
few, held_out = (x[:100], y[:100]), (x[900:], y[900:])
low = np.flatnonzero(np.asarray(y[100:900]) < 5) + 100
many = x[low], y[low]

# %% [markdown]
# ## The network, in Linen
#
# A function trains whatever parameters it is given with whatever optimizer, on all of the data at once.


# %%
class Net(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(10, name="head")(nn.relu(nn.Dense(64, name="hidden")(x)))


cross_entropy = lambda scores, y: gx.softmax_cross_entropy_with_integer_labels(scores, y).mean()
accuracy = lambda scores: float(jnp.mean(scores.argmax(-1) == held_out[1]))


def train(apply, params, tx, data, steps=200):
    def step(run, _):
        params, state = run
        grads = jax.grad(lambda p: cross_entropy(apply(p, data[0]), data[1]))(params)
        updates, state = tx.update(grads, state, params)
        params = gx.apply_updates(params, updates)
        return (params, state), jnp.mean(apply(params, held_out[0]).argmax(-1) == held_out[1])

    start = params, tx.init(params)
    (params, _), curve = jax.jit(lambda start: jax.lax.scan(step, start, None, steps))(start)
    return params, curve


net = Net()
known, _ = train(net.apply, net.init(jax.random.key(0), x[:1]), gx.adam(0.01), many)
print(f"held-out accuracy on ten digits, knowing five: {accuracy(net.apply(known, held_out[0])):.1%}")

# %% [markdown]
# ## Freezing
#
# Leaves are chosen by patterns on their paths. `selective_transform` gives the frozen ones no update, and keeps no state for them; a pattern that
# matches nothing is an error, so a misspelt name does not silently freeze nothing.

# %%
frozen = {"*/hidden/*": True, "default": False}
head_only = gx.selective_transform(gx.adam(0.01), freeze_mask=frozen)
print(gx.summary(head_only, known))

try:
    gx.selective_transform(gx.adam(0.01), freeze_mask={"*/hiden/*": True, "default": False}).init(known)
except gx.LabelError as error:
    print(error)

# %% [markdown]
# ## Groups at rates of their own
#
# Between frozen and free there is slow. `partition` gives each leaf to the optimizer of its label, and `get_hyperparams` and `set_hyperparams`
# call the numbers by the labels.

# %%
groups = gx.partition({"slow": gx.adam(0.001), "fast": gx.adam(0.01)}, {"*/hidden/*": "slow", "default": "fast"})
rates = gx.get_hyperparams(groups, groups.init(known))
print({name: rate for name, rate in rates.items() if name.endswith("learning_rate")})

# %% [markdown]
# ## LoRA
#
# The kernels stay, and beside each a product of two thin matrices is learned. The parameters are then a tree with two branches, of which one is
# frozen. `down` starts at zero, so the network begins as it was.


# %%
def with_lora(tree, x):
    kernels = tree["base"]["params"]
    change = lambda name: tree["lora"][name]["up"] @ tree["lora"][name]["down"]
    layer = lambda x, name: x @ (kernels[name]["kernel"] + change(name)) + kernels[name]["bias"]
    return layer(nn.relu(layer(x, "hidden")), "head")


def thin(key, rank=4):
    shapes = {name: layer["kernel"].shape for name, layer in known["params"].items()}
    start = lambda key, n, m: {"up": jax.random.normal(key, (n, rank)) * n**-0.5, "down": jnp.zeros((rank, m))}
    return {name: start(jax.random.fold_in(key, i), *shape) for i, (name, shape) in enumerate(shapes.items())}


lora = {"base": known, "lora": thin(jax.random.key(1))}
lora_tx = gx.selective_transform(gx.adam(0.01), freeze_mask={"base/*": True, "default": False})

# %% [markdown]
# ## Which does best?

# %%
ways = {
    "from scratch": (net.apply, net.init(jax.random.key(2), x[:1]), gx.adam(0.01)),
    "all at one rate": (net.apply, known, gx.adam(0.01)),
    "hidden layer slow": (net.apply, known, groups),
    "hidden layer frozen": (net.apply, known, head_only),
    "LoRA, rank 4": (with_lora, lora, lora_tx),
}
curves = {}
for name, (apply, params, tx) in ways.items():
    tuned, curves[name] = train(apply, params, tx, few)
    trained = sum(a.size for a, b in zip(jax.tree.leaves(params), jax.tree.leaves(tuned), strict=True) if not jnp.array_equal(a, b))
    print(f"{name:20} {trained:5} numbers moved, held-out accuracy {curves[name][-1]:.1%}")

# %% tags=["thumbnail"]
figure, axes = plt.subplots()
for name, curve in curves.items():
    axes.plot(curve, label=name)
axes.set(xlabel="updates on 100 images", ylabel="held-out accuracy", ylim=(0.3, 0.95))
axes.legend()
plt.show()

# %% [markdown]
# A task so near to the old one is learned best by moving everything; knowing five digits is a better start than knowing none. The frozen layer and LoRA come
# close with a sixth of the numbers, which is what counts where the network is large and its copies are many.
#
# ## The same in NNX, Equinox and Haiku
#
# The pattern `*/hidden/*` names the same layer everywhere: what a library wraps a parameter in is no part of its path. In NNX the model holds its
# parameters, and `nnx.Optimizer` takes the transformation:


# %%
class NnxNet(nnx.Module):
    def __init__(self, rngs):
        self.hidden, self.head = nnx.Linear(64, 64, rngs=rngs), nnx.Linear(64, 10, rngs=rngs)

    def __call__(self, x):
        return self.head(nnx.relu(self.hidden(x)))


model = NnxNet(nnx.Rngs(0))
before = jnp.array(model.hidden.kernel[...])
optimizer = nnx.Optimizer(model, head_only, wrt=nnx.Param)


@nnx.jit
def nnx_step(model, optimizer):
    value, grads = nnx.value_and_grad(lambda m: cross_entropy(m(few[0]), few[1]))(model)
    optimizer.update(model, grads)
    return value


losses = [float(nnx_step(model, optimizer)) for _ in range(50)]
print(
    f"loss {losses[0]:.2f} -> {losses[-1]:.2f}, hidden layer as it was: {bool(jnp.array_equal(before, model.hidden.kernel[...]))}"
)


# %% [markdown]
# An Equinox model is itself the tree. Its functions and strings are passed over:


# %%
class EqxNet(eqx.Module):
    hidden: eqx.nn.Linear
    head: eqx.nn.Linear

    def __init__(self, key):
        self.hidden, self.head = eqx.nn.Linear(64, 64, key=key), eqx.nn.Linear(64, 10, key=key)

    def __call__(self, x):
        return self.head(jax.nn.relu(self.hidden(x)))


model = EqxNet(jax.random.key(0))
tuned, _ = train(lambda m, x: jax.vmap(m)(x), model, head_only, few, steps=50)
kept = bool(jnp.array_equal(model.hidden.weight, tuned.hidden.weight))
print(f"accuracy {accuracy(jax.vmap(tuned)(held_out[0])):.1%}, hidden layer as it was: {kept}")

# %% [markdown]
# Haiku's parameters are a dictionary of dictionaries:

# %%
haiku_net = hk.without_apply_rng(hk.transform(lambda x: hk.Linear(10, name="head")(jax.nn.relu(hk.Linear(64, name="hidden")(x)))))
params = haiku_net.init(jax.random.key(0), x[:1])
tuned, _ = train(haiku_net.apply, params, head_only, few, steps=50)
kept = bool(jnp.array_equal(params["hidden"]["w"], tuned["hidden"]["w"]))
print(f"accuracy {accuracy(haiku_net.apply(tuned, held_out[0])):.1%}, hidden layer as it was: {kept}")
