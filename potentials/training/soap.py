"""SOAP: Adam in the eigenbasis of each weight matrix's own gradient statistics.

For a matrix W with gradient G, running means of G G^T and G^T G are kept; in their eigenvectors the gradient's entries are nearly
uncorrelated, so that Adam's one rate an entry is the right shape of a step. The bases are refreshed every few steps by one power iteration
and a QR decomposition. Parameters that are no matrices of a linear map (biases, embeddings, scales) get plain AdamW.

A step costs more than AdamW's (a training takes half as long again on a CPU), and brings several times as much: see `scripts/compare_optimisers.py`.

N. Vyas, D. Morwani, R. Zhao, M. Kwun, I. Shapira, D. Brandfonbrener, L. Janson, S. Kakade, SOAP: Improving and Stabilizing Shampoo using Adam, ICLR 2025.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

SMALLEST, LARGEST = 2, 1024  # sides of a matrix that has bases; others go the plain way


class Soap(torch.optim.Optimizer):
    """SOAP for groups with ``matrices=True``, AdamW for the others.

    Parameters
    ----------
    params : groups; (a, b) parameters of a group of matrices are matrices, (n, a, b) are n of them.
    matrix_betas, betas : decay of the running means of gradients and of their squares: of matrices (also of their statistics), of all else.
    refresh : steps between two refreshments of the bases.
    """

    def __init__(
        self, params: Iterable[dict[str, Any]], lr: float = 3e-3, betas: tuple[float, float] = (0.9, 0.999), matrix_betas: tuple[float, float] = (0.95, 0.95),
        eps: float = 1e-8, weight_decay: float = 0.0, refresh: int = 10,
    ):  # fmt: skip
        defaults = dict(lr=lr, betas=betas, matrix_betas=matrix_betas, eps=eps, weight_decay=weight_decay, refresh=refresh, matrices=False)
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            if group["weight_decay"]:
                torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
            if not group["matrices"]:
                self._plain(parameters, group)
                continue
            for alike in _by_shape(parameters):
                self._rotated(alike, group)

    def _plain(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        b1, b2 = group["betas"]
        for p in parameters:
            if not self.state[p]:
                self.state[p] = {"step": torch.zeros(()), "mean": torch.zeros_like(p), "square": torch.zeros_like(p)}
        if not parameters:
            return
        states = [self.state[p] for p in parameters]
        gradients, means, squares = [p.grad for p in parameters], [s["mean"] for s in states], [s["square"] for s in states]
        torch._foreach_add_([s["step"] for s in states], 1)
        torch._foreach_lerp_(means, gradients, 1 - b1)
        torch._foreach_mul_(squares, b2)
        torch._foreach_addcmul_(squares, gradients, gradients, 1 - b2)
        roots = torch._foreach_sqrt(squares)
        for root, state in zip(roots, states):
            root.div_((1 - b2 ** float(state["step"])) ** 0.5).add_(group["eps"])
        for p, mean, root, state in zip(parameters, means, roots, states):
            p.addcdiv_(mean, root, value=-group["lr"] / (1 - b1 ** float(state["step"])))

    def _rotated(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        """One step of all matrices of one shape, whose state stands with the first of them."""
        b1, b2 = group["matrix_betas"]
        G = torch.cat([p.grad.reshape(-1, *p.shape[-2:]) for p in parameters if p.grad is not None])  # (n, a, b)
        state = self.state[parameters[0]]
        begins = not state
        if begins:
            state |= {"step": torch.zeros(()), "mean": torch.zeros_like(G), "square": torch.zeros_like(G)}
            state |= {"left": torch.zeros_like(G @ G.mT), "right": torch.zeros_like(G.mT @ G)}
        state["left"].lerp_(G @ G.mT, 1 - b2)
        state["right"].lerp_(G.mT @ G, 1 - b2)
        if begins:  # the first gradient gives the bases, and no step
            state["left_basis"], state["right_basis"] = _eigenvectors(state["left"]), _eigenvectors(state["right"])
            return
        state["step"] += 1
        t, U, V = int(state["step"]), state["left_basis"], state["right_basis"]
        state["mean"].lerp_(G, 1 - b1)
        rotated = U.mT @ G @ V
        state["square"].mul_(b2).addcmul_(rotated, rotated, value=1 - b2)
        step = (U.mT @ state["mean"] @ V) / (state["square"].sqrt() / (1 - b2**t) ** 0.5 + group["eps"])
        step = (U @ step @ V.mT) * (group["lr"] / (1 - b1**t))
        for p, mine in zip(parameters, step.split([p[..., 0, 0].numel() for p in parameters])):
            p.sub_(mine.view_as(p))
        if t % group["refresh"] == 0:
            state["left_basis"], order = _refreshed(state["left"], U)
            state["square"] = state["square"].take_along_dim(order[:, :, None], 1)
            state["right_basis"], order = _refreshed(state["right"], V)
            state["square"] = state["square"].take_along_dim(order[:, None, :], 2)


def matrices_of(model: torch.nn.Module) -> list[Tensor]:
    """Parameters that are matrices of linear maps, or stacks of such: not embeddings, not what is too thin or too large to have bases."""
    tables = {id(p) for m in model.modules() if isinstance(m, torch.nn.Embedding) for p in m.parameters()}
    found = [p for p in model.parameters() if p.requires_grad and p.ndim in (2, 3) and id(p) not in tables]
    return [p for p in found if SMALLEST <= min(p.shape[-2:]) and max(p.shape[-2:]) <= LARGEST]


def _by_shape(parameters: list[Tensor]) -> list[list[Tensor]]:
    shapes: dict[tuple[Any, ...], list[Tensor]] = {}
    for p in parameters:
        shapes.setdefault((*p.shape[-2:], p.dtype, p.device), []).append(p)
    return list(shapes.values())


def _eigenvectors(gram: Tensor) -> Tensor:
    """Of symmetric matrices, the largest eigenvalue first."""
    tiny = 1e-12 * torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    return torch.linalg.eigh(gram + tiny)[1].flip(-1)


def _refreshed(gram: Tensor, basis: Tensor) -> tuple[Tensor, Tensor]:
    """A power iteration from the old basis, and the order in which its vectors were taken, (n, a)."""
    along = gram @ basis
    order = (basis * along).sum(-2).argsort(-1, descending=True)
    return torch.linalg.qr(along.take_along_dim(order[:, None, :], 2))[0], order
