"""PyTorch's AdamW, fused and foreach, on the same leaves. It works in place, as a donated step does."""

import jax
import torch
from cases import Tree
from measure import Sampler, clock


def device() -> torch.device:
    """Where JAX runs."""
    return torch.device("cuda" if jax.default_backend() == "gpu" else "cpu")


def leaves(tree: Tree) -> list[torch.nn.Parameter]:
    params = [torch.nn.Parameter(torch.from_numpy(x).to(device())) for x in tree.numpy(seed=0)]
    for param, grad in zip(params, tree.numpy(seed=1), strict=True):
        param.grad = torch.from_numpy(grad).to(device())
    return params


def sampler(tree: Tree, **implementation: bool) -> Sampler:
    optimizer = torch.optim.AdamW(leaves(tree), lr=1e-3, weight_decay=1e-4, **implementation)

    def work(n: int):
        for _ in range(n):
            optimizer.step()
            if device().type == "cuda":
                torch.cuda.synchronize()

    return lambda n: clock(lambda: work(n))


def samplers(tree: Tree) -> dict[str, Sampler]:
    return {"torch fused": sampler(tree, fused=True), "torch foreach": sampler(tree, foreach=True)}


def settings() -> dict:
    return {"torch": torch.__version__, "optimizer": "adamw", "device": device().type, "threads": torch.get_num_threads()}
