"""What two large models take of each device, as `gradxform.plan` has it: `python -m tests.pages plans` writes it into the page."""

import gradxform as gx
from gradxform.planning import MODELS, Plan
from gradxform.planning._report import duration

DEVICES = (64, 256, 1024, 4096, 16384)
MODEL_NAMES = ("llama-70b", "llama-405b")
SPREAD = '`muon(spread="fsdp")`'  # on a mesh without "tensor"
HEAD = (
    "devices", "optimizer", "state", "all", "memory traffic", "products", "links within a node", "links between nodes", "a step at least",
)  # fmt: skip


def optimizers() -> dict[str, gx.GradientTransformation]:
    """By what they are called in the table."""
    adamw = gx.adamw(1e-3)
    hidden = {"layers/*": "muon", "default": "adamw"}  # not the embedding, nor the last layer
    return {
        "`adamw`": adamw,
        '`store(adamw, "8bit")`': gx.store(adamw, "8bit"),
        "`adafactor`": gx.adafactor(1e-3),
        SPREAD: gx.partition({"muon": gx.muon(0.02, spread="fsdp"), "adamw": adamw}, hidden),
    }


def planned(model: str, devices: int, name: str, tx: gx.GradientTransformation) -> Plan:
    mesh = {"data": devices // 64, **({"fsdp": 64} if name == SPREAD else {"fsdp": 8, "tensor": 8})}
    return gx.plan(tx, MODELS[model].shapes(), mesh, MODELS[model].specs(mesh), zero=("data", "fsdp"))


def render() -> str:
    return "\n\n".join(section(name) for name in MODEL_NAMES)


def section(model: str) -> str:
    rows = [row(n, name, planned(model, n, name, tx)) for n in DEVICES for name, tx in optimizers().items()]
    lines = [f"| {' | '.join(cells)} |" for cells in [HEAD, ["---:", "---", *["---:"] * (len(HEAD) - 2)], *rows]]
    return f"### {model}: {MODELS[model].count / 1e9:.1f} billion parameters\n\n" + "\n".join(lines)


def row(devices: int, name: str, found: Plan) -> list[str]:
    gib = lambda n: f"{n / 2**30:.2f} GiB" if n < 2**30 else f"{n / 2**30:.1f} GiB"
    times = [duration(seconds) if seconds else "" for seconds in found.seconds.values()]
    return [f"{devices:,}", name, gib(found.state_bytes), gib(found.bytes), *times, f"**{duration(found.step_seconds)}**"]
