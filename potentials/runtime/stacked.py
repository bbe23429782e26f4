"""Several potentials with one architecture as one potential of copies: only the maps that hold weights know which copy they serve.

The structure is repeated once for each member, atoms and pairs of a member in one block, and evaluated as a batch; every linear map takes block k with the
weights of member k, in one batched product. All else is what a batch of structures costs anyway, so that on small systems, where a step is made of many
short operations, four members cost little more than one.
"""
from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from potentials.graph import AtomicGraph, sum_over_neighbours
from potentials.layers.attention import HeadProjection
from potentials.layers.cutoffs import switch
from potentials.layers.energies import ElementEnergies
from potentials.layers.repulsion import COULOMB, ZBLRepulsion
from potentials.potential import Potential
from potentials.runtime.radial_table import SplineBasis

KNOWN = ("so3krates",)  # architectures whose maps act on atoms and on pairs (each once), never on directed edges, whose order is another


def stacked(members: Sequence[Potential]) -> Potential | None:
    """One potential whose batch of equal copies gives copy k the energy of member k; None where these members cannot be joined.

    Parameters
    ----------
    members : of one class and one set of settings.
    """
    if getattr(type(members[0]), "name", None) not in KNOWN or any(type(p) is not type(members[0]) for p in members):
        return None
    joined = copy.deepcopy(members[0])
    joined.domain = None  # of one member
    for name, module in list(joined.named_modules()):
        twins = [p.get_submodule(name) for p in members]
        if type(module) is SplineBasis and any(not torch.equal(module.coefficients, t.coefficients) for t in twins):
            return None
        if type(module) in STACKS:
            parent, _, last = name.rpartition(".")
            setattr(joined.get_submodule(parent), last, STACKS[type(module)](twins))
            continue
        own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
        for key, tensor in own:
            others = [getattr(twin, key) for twin in twins]
            if all(torch.equal(tensor, other) for other in others):
                continue
            if name or key not in ("scales", "shifts"):
                return None
            del joined._parameters[key]
            setattr(joined, key, _Table(torch.stack([o.detach() for o in others])))
    return joined.eval().requires_grad_(False)


class _Linear(torch.nn.Module):
    def __init__(self, twins: Sequence[Any]):
        super().__init__()
        self.register_buffer("weight", torch.stack([t.weight.detach().T for t in twins]).contiguous())  # (m, n_in, n_out)
        self.register_buffer("bias", None if twins[0].bias is None else torch.stack([t.bias.detach() for t in twins])[:, None])

    def forward(self, x: Tensor) -> Tensor:  # (m * n, n_in) -> (m * n, n_out)
        blocks = x.reshape(len(self.weight), -1, x.shape[-1])
        y = torch.bmm(blocks, self.weight) if self.bias is None else torch.baddbmm(self.bias, blocks, self.weight)
        return y.view(*x.shape[:-1], -1)


class _Heads(torch.nn.Module):
    def __init__(self, twins: Sequence[Any]):
        super().__init__()
        self.register_buffer("weight", torch.stack([t.weight.detach().transpose(1, 2) for t in twins]).flatten(0, 1).contiguous())  # (m * heads, in, out)
        self.m = len(twins)

    def forward(self, x: Tensor) -> Tensor:  # (m * n, heads, size)
        heads, size = x.shape[1:]
        blocks = x.reshape(self.m, -1, heads, size).transpose(1, 2).flatten(0, 1)  # (m * heads, n, size)
        return torch.bmm(blocks, self.weight).view(self.m, heads, -1, size).transpose(1, 2).reshape(x.shape)


class _Norm(torch.nn.Module):
    def __init__(self, twins: Sequence[Any]):
        super().__init__()
        self.shape, self.eps = twins[0].normalized_shape, twins[0].eps
        for name in ("weight", "bias"):
            self.register_buffer(name, torch.stack([getattr(t, name).detach() for t in twins])[:, None])

    def forward(self, x: Tensor) -> Tensor:  # (m * n, F)
        y = torch.nn.functional.layer_norm(x, self.shape, eps=self.eps)
        return (y.view(len(self.weight), -1, x.shape[-1]) * self.weight + self.bias).view(x.shape)


class _Table(torch.nn.Module):
    """Rows by an index, of the member whose block the index stands in."""

    def __init__(self, table: Tensor):  # (m, n_rows, ...)
        super().__init__()
        self.register_buffer("table", table.contiguous())

    def forward(self, index: Tensor) -> Tensor:  # (m * n,)
        m, n_rows = self.table.shape[:2]
        rows = (index.view(m, -1) + n_rows * torch.arange(m, device=index.device)[:, None]).flatten()
        return self.table.flatten(0, 1).index_select(0, rows)

    def index_select(self, dim: int, index: Tensor) -> Tensor:
        """As a tensor is asked."""
        assert dim == 0
        return self(index)


class _Embedding(_Table):
    def __init__(self, twins: Sequence[Any]):
        super().__init__(torch.stack([t.weight.detach() for t in twins]))

    @property
    def weight(self) -> Tensor:
        return self.table


class _Elements(_Table):
    def __init__(self, twins: Sequence[Any]):
        super().__init__(torch.stack([t.energies for t in twins]))


class _Splines(torch.nn.Module):
    """Radial filters from a table that all members share (`with_shared_table`), mixed by each in its own way."""

    def __init__(self, twins: Sequence[Any]):
        super().__init__()
        self.register_buffer("mixing", torch.stack([t.mixing for t in twins]))  # (m, n_terms, n_filters)
        self.table = twins[0]

    def forward(self, d: Tensor) -> Tensor:  # (m * n_pairs,) -> (m * n_pairs, n_filters)
        return torch.bmm(self.table.terms(d).view(len(self.mixing), -1, self.mixing.shape[1]), self.mixing).flatten(0, 1)


class _Repulsion(torch.nn.Module):
    """ZBL with constants of each member's own."""

    def __init__(self, twins: Sequence[Any]):
        super().__init__()
        self.off = twins[0].off
        softplus = torch.nn.functional.softplus
        for name in ("a", "c", "p", "d"):
            self.register_buffer(name, softplus(torch.stack([getattr(t, name).detach() for t in twins])))  # (m, 4) or (m, 1)
        self.c /= self.c.sum(1, keepdim=True)

    def forward(self, graph: AtomicGraph, d: Tensor, phi: Tensor) -> Tensor:
        m, n_pairs = len(self.a), graph.edges.n_pairs
        Z = graph.numbers.to(d.dtype)
        Z_p = (Z.view(m, -1) ** self.p).flatten()
        i, j = graph.edges.centres[:n_pairs], graph.edges.neighbours[:n_pairs]
        rz = (d * (Z_p[i] + Z_p[j])).view(m, -1) * self.d
        screening = (self.c[:, None] * torch.exp(-self.a[:, None] * rz[:, :, None])).sum(2).flatten()
        pair = 0.5 * phi * switch(d, 0.0, self.off) * COULOMB * Z[i] * Z[j] / d * screening
        return sum_over_neighbours(torch.cat([pair, pair]), graph)


STACKS: dict[type, Callable[[Sequence[Any]], torch.nn.Module]] = {
    torch.nn.Linear: _Linear, HeadProjection: _Heads, torch.nn.LayerNorm: _Norm, torch.nn.Embedding: _Embedding, ElementEnergies: _Elements,
    ZBLRepulsion: _Repulsion, SplineBasis: _Splines,
}  # fmt: skip
