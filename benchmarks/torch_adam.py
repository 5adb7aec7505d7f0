"""PyTorch's Adam, fused and foreach, on the same leaves. It works in place; so our step beside it donates its arguments."""

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


def adam_sampler(tree: Tree, **implementation: bool) -> Sampler:
    optimizer = torch.optim.Adam(leaves(tree), lr=1e-3, **implementation)

    def work(n: int):
        for _ in range(n):
            optimizer.step()
            if device().type == "cuda":
                torch.cuda.synchronize()

    return lambda n: clock(lambda: work(n))


def samplers(tree: Tree) -> dict[str, Sampler]:
    return {"torch fused": adam_sampler(tree, fused=True), "torch foreach": adam_sampler(tree, foreach=True)}


def settings() -> dict:
    return {"torch": torch.__version__, "device": device().type, "threads": torch.get_num_threads()}
