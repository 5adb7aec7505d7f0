# %% [markdown]
# # A transformer on text
#
# Muon for the matrices and AdamW for the rest, decay groups, clipping, warm-up, accumulation, an average of the weights, Orbax checkpoints, and a run that is killed and resumed to the bit.
#
# The text is Python's own reference, which every CPython carries; the task is its next character. It is a small model and a short run, put together the
# way large ones are.

# %%
import functools
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from pydoc_data.topics import topics

import cloudpickle
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import orbax.checkpoint as ocp

import gradxform as gx

text = "\n\n".join(topics[name] for name in sorted(topics))
letters = sorted(set(text))
codes = np.array([letters.index(c) for c in text[:400_000]], np.int32)
train, held_out = codes[:360_000], codes[360_000:]
print(f"{len(codes):,} characters, {len(letters)} different ones")

# %% [markdown]
# ## The model
#
# Two layers of attention and of a feed-forward network, with learned places. Its parameters are a tree with speaking names, for the optimizer's groups are
# chosen by them.

# %%
length, width, heads, depth = 48, 48, 3, 2


def init(key):
    normal = lambda i, n, m, scale=1.0: scale * n**-0.5 * jax.random.normal(jax.random.fold_in(key, i), (n, m))
    layer = lambda i: {
        "norm_1": jnp.ones(width),
        "qkv": normal(10 * i + 1, width, 3 * width),
        "attended": normal(10 * i + 2, width, width, 0.5),
        "norm_2": jnp.ones(width),
        "up": normal(10 * i + 3, width, 4 * width),
        "down": normal(10 * i + 4, 4 * width, width, 0.5),
    }
    characters, places = normal(1000, len(letters), width, len(letters) ** 0.5), normal(1001, length, width, 0.5 * length**0.5)
    ends = {"norm": jnp.ones(width), "scores": normal(1002, width, len(letters), 0.1)}
    return {"characters": characters, "places": places, "layers": [layer(i) for i in range(depth)], **ends}


def normed(h, scale):
    return h * jax.lax.rsqrt(jnp.mean(h * h, axis=-1, keepdims=True) + 1e-6) * scale


def logits(params, x):
    h = params["characters"][x] + params["places"]
    for layer in params["layers"]:
        qkv = (normed(h, layer["norm_1"]) @ layer["qkv"]).reshape(*x.shape, 3, heads, -1)
        mixed = jax.nn.dot_product_attention(qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2], is_causal=True)
        h = h + mixed.reshape(h.shape) @ layer["attended"]
        h = h + jax.nn.gelu(normed(h, layer["norm_2"]) @ layer["up"]) @ layer["down"]
    return normed(h, params["norm"]) @ params["scores"]


# %% [markdown]
# The loss of a batch of pieces, and the batches: the one of number k is the same whoever asks, so that a resumed run sees what the killed one would have.


# %%
def loss(params, pieces):
    return gx.softmax_cross_entropy_with_integer_labels(logits(params, pieces[:, :-1]), pieces[:, 1:]).mean()


def pieces(text, starts):
    return text[starts[:, None] + np.arange(length + 1)]


def batch(k):
    return pieces(train, np.random.default_rng(k).integers(len(train) - length - 1, size=8))


judged = jnp.asarray(pieces(held_out, np.linspace(0, len(held_out) - length - 2, 64).astype(int)))
params = init(jax.random.key(0))
print(f"{sum(p.size for p in jax.tree.leaves(params)):,} parameters")

# %% [markdown]
# ## The optimizer
#
# Three groups. Muon takes the matrices between one representation and another, whose updates it makes orthogonal. The tables of characters and the scores get
# AdamW with decay, and norms get Adam without: they are scales, and should not be pulled to zero. The first pattern that fits decides.
#
# Around them: the norm of the whole gradient is clipped, and `accumulate` takes the mean of two mini-batches for one update. So the schedule counts
# updates, half as many as mini-batches.

# %%
updates = 150


def schedule(peak):
    return gx.warmup_cosine_decay_schedule(0.0, peak, warmup_steps=15, decay_steps=updates)


def optimizer(matrices):
    groups = {
        "matrices": matrices,
        "tables": gx.adamw(schedule(0.01), b2=0.98, weight_decay=0.01),
        "scales": gx.adam(schedule(0.01), b2=0.98),
    }
    patterns = {"*norm*": "scales", "layers/*": "matrices", "default": "tables"}
    return gx.accumulate(gx.chain(gx.clip_by_global_norm(1.0), gx.partition(groups, patterns)), 2)


tx = optimizer(gx.muon(schedule(0.03), weight_decay=0.01))
print(gx.summary(tx, params))

# %% [markdown]
# ## The loop, with an average of the weights
#
# A run is parameters, state and average, in one tree. The average moves five hundredths of the way to the weights at every update, which is when
# `accumulate` is back at its first mini-batch.


# %%
def starting(tx):
    return {"params": params, "state": tx.init(params), "average": params}


def trainer(tx):
    @jax.jit
    def step(run, pieces):
        value, grads = jax.value_and_grad(loss)(run["params"], pieces)
        steps, state = tx.update(grads, run["state"], run["params"])
        now = gx.apply_updates(run["params"], steps)
        moved = gx.incremental_update(now, run["average"], 0.05)
        average = jax.tree.map(lambda a, b: jnp.where(state.mini_step == 0, a, b), moved, run["average"])
        return {"params": now, "state": state, "average": average}, value

    return step


judge = jax.jit(loss)


def train_on(tx):
    """A run from the start to the end, and held-out losses of the weights and of their average, every 30 mini-batches."""
    step, run, seen = trainer(tx), starting(tx), []
    for k in range(2 * updates):
        run, _ = step(run, batch(k))
        if (k + 1) % 30 == 0:
            seen.append((k + 1, float(judge(run["params"], judged)), float(judge(run["average"], judged))))
    return run, np.array(seen)


finished, by_muon = train_on(tx)
_, by_adamw = train_on(optimizer(gx.adamw(schedule(0.01), b2=0.98, weight_decay=0.01)))

# %% [markdown]
# ## Kill and resume
#
# That run was lucky: nobody stopped it. The same training in a process of its own saves its run every 50 mini-batches. It is a tree of arrays, so Orbax
# saves it as it is, and `digest` is a fingerprint of every array, to be saved beside it. A process that finds a checkpoint goes on from the last one, after
# `check_restored` has made sure that it is what was saved. The clocks, the moments, the mean that `accumulate` is collecting: all of it is in the state, so nothing
# else needs to be set.


# %%
def train_in(folder):
    step, run, parts = trainer(tx), starting(tx), ocp.args.Composite
    with ocp.CheckpointManager(folder) as manager:
        begin = manager.latest_step() or 0
        if begin:
            shapes = jax.eval_shape(lambda: run)
            found = manager.restore(begin, args=parts(run=ocp.args.StandardRestore(shapes), digest=ocp.args.JsonRestore()))
            run = found.run
            gx.check_restored(tx, run["params"], run["state"], found.digest)
        for k in range(begin, 2 * updates):
            run, value = step(run, batch(k))
            if (k + 1) % 50 == 0:
                digest = gx.digest((run["params"], run["state"]))
                manager.save(k + 1, args=parts(run=ocp.args.StandardSave(run), digest=ocp.args.JsonSave(digest)))
            print(f"mini-batch {k + 1} of {2 * updates}: loss {value:.3f}", flush=True)


# %% [markdown]
# The process gets this function as a file. When it says that it has come to mini-batch 237 it is killed by SIGKILL, which no process can catch: nothing is
# tidied up, and what was in its memory is gone.

# %%
folder = Path(tempfile.mkdtemp())
(folder / "job").write_bytes(cloudpickle.dumps(functools.partial(train_in, folder / "checkpoints")))


def started():
    code = f"import pickle; pickle.load(open({str(folder / 'job')!r}, 'rb'))()"
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


with started() as process:
    for line in process.stdout:
        if line.startswith("mini-batch 237 "):
            process.kill()
            break
print(line.strip())
print("ended by", signal.Signals(-process.returncode).name)

# %% [markdown]
# The same command again. Is what it ends with equal to what the run has that nobody stopped? The last digest that was saved says so, of every bit of the parameters and
# of the state.

# %%
with started() as process:
    lines = process.stdout.read().splitlines()
print(lines[0], lines[-1], f"exit status {process.returncode}", sep="\n")

with ocp.CheckpointManager(folder / "checkpoints") as manager:
    found = manager.restore(2 * updates, args=ocp.args.Composite(digest=ocp.args.JsonRestore()))
print("equal to the bit:", found.digest == gx.digest((finished["params"], finished["state"])))

# %% [markdown]
# ## What Muon and the average do

# %% tags=["thumbnail"]
figure, axes = plt.subplots()
for i, (name, (k, raw, averaged)) in enumerate({"AdamW for all": by_adamw.T, "Muon for matrices": by_muon.T}.items()):
    axes.plot(k, raw, f"C{i}", label=name)
    axes.plot(k, averaged, f"C{i}--", label=f"{name}, average of weights")
axes.set(xlabel="mini-batches of 8 pieces", ylabel="held-out loss")
axes.legend()
plt.show()
for name, seen in {"AdamW": by_adamw, "Muon": by_muon}.items():
    print(f"{name:6} held-out loss {seen[-1][1]:.3f}, of the average {seen[-1][2]:.3f}")

# %% [markdown]
# The average trails behind at first and is level with the weights when the rate has come down: a schedule to zero does much of what an average does.
#
# ## What it has learned
#
# A few hundred characters, drawn one by one.


# %%
@jax.jit
def written(params, beginning, key):
    def draw(window, key):
        new = jax.random.categorical(key, 1.3 * logits(params, window[None])[0, -1])
        return jnp.append(window[1:], new), new

    return jax.lax.scan(draw, beginning, jax.random.split(key, 240))[1]


place = text.index("The ", 360_000)  # in the held-out part
beginning = jnp.asarray(codes[place : place + length])
new = written(finished["average"], beginning, jax.random.key(3))
print("".join(letters[c] for c in [*beginning, *new]))
