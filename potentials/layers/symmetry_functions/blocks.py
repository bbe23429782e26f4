"""Symmetry functions that are computed together: one cutoff, one grid of parameters, many channels.

A channel is what a central element sees of a neighbour element (radial) or of two (angular). Channels with the same grid share a
block; a table tells in which slot of the output a channel stands, or that it is not wanted. So a shared set is one block whatever
the number of elements, and a set that differs by element computes nothing for channels that do not have it.
"""
from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from potentials.layers.symmetry_functions import terms
from potentials.layers.symmetry_functions.cutoffs import cutoff_function
from potentials.layers.symmetry_functions.records import RADIAL, WEIGHTED, SymmetryFunction
from potentials.layers.triples import outer_sums, worth_chunks

Channel = tuple[int, ...]  # places of elements in the list: centre; centre, neighbour; centre, neighbour, neighbour


@dataclass(frozen=True)
class Fc:
    """A cutoff function with its numbers."""

    name: str
    cutoff: float  # Å
    inner: float

    def __call__(self, r: Tensor) -> Tensor:
        return cutoff_function(r, self.name, self.cutoff, self.inner)


@dataclass(frozen=True)
class Pairs:
    """Pairs within the radial cutoff, seen from both of their ends: n_pairs edges, then the same turned round. Elements are places in the list of elements."""

    centres: Tensor  # (n_edges,)
    e_centre: Tensor  # (n_edges,)
    e_neighbour: Tensor  # (n_edges,)
    code: Tensor  # (n_edges,) both as one number: centre n + neighbour
    d: Tensor  # (n_pairs,), Å
    n_atoms: int


@dataclass(frozen=True)
class Triples:
    """A centre and two neighbours; centres ascend."""

    centre: Tensor  # (n_triples,)
    code: Tensor  # (n_triples,) places of the elements as one number: (centre n + first) n + second
    cos: Tensor  # (n_triples,)
    first: Tensor  # (n_triples,) distance of the first neighbour, Å
    second: Tensor  # (n_triples,)
    fc: Tensor  # (n_triples, n_cutoffs) product of both neighbours' cutoff functions
    third: Tensor | None  # (n_triples,) distance between the neighbours, without derivative; None where no function asks for it
    n_atoms: int

    def pick(self, chosen: Tensor) -> Triples:
        geometry = torch.cat([torch.stack([self.cos, self.first, self.second], 1), self.fc], 1).index_select(0, chosen)
        centre, code = self.centre.index_select(0, chosen), self.code.index_select(0, chosen)
        cos, first, second, fc = geometry.split((1, 1, 1, self.fc.shape[1]), 1)
        return Triples(centre, code, cos.squeeze(1), first.squeeze(1), second.squeeze(1), fc, None, self.n_atoms)


class Block(torch.nn.Module):
    """What radial and angular blocks share: the table of slots and the place of a function in the output."""

    slot: Tensor

    def __init__(self, kind: str, fc: Fc, channels: Sequence[Channel], n_elements: int, grid: Sequence[tuple[float, ...]]):
        super().__init__()
        self.kind, self.fc, self.grid, self.n_elements = kind, fc, list(grid), n_elements
        self.weighted = kind in WEIGHTED
        neighbours = sorted({c[1:] for c in channels})
        self.slot_of = {c: neighbours.index(c[1:]) for c in channels}
        self.slot_of |= {(c[0], c[2], c[1]): s for c, s in self.slot_of.items() if len(c) == 3}
        self.n_slots = len(neighbours)
        table = [self.slot_of.get(c, -1) for c in itertools.product(range(n_elements), repeat=len(channels[0]))]
        self.all_wanted = min(table) >= 0
        self.register_buffer("slot", torch.tensor(table, dtype=torch.int64), persistent=False)

    @property
    def width(self) -> int:
        """Numbers for each atom, and for each weight where there are weights."""
        return self.n_slots * len(self.grid)

    def place(self, channel: Channel, parameters: tuple[float, ...]) -> int:
        """The column of a function among those of this block."""
        return self.slot_of[channel] * len(self.grid) + self.grid.index(parameters)


class RadialBlock(Block):
    """G1, G2, G3, W2 and the AEV's radial functions; `grid` holds (eta, rs), or (kappa,)."""

    def __init__(self, kind: str, fc: Fc, channels: Sequence[Channel], n_elements: int, grid: Sequence[tuple[float, ...]]):
        super().__init__(kind, fc, channels, n_elements, grid)
        self.register_buffer("parameters_of_grid", torch.tensor(self.grid, dtype=torch.float64), persistent=False)

    def terms(self, r: Tensor) -> Tensor:
        """What a neighbour at the distance r (n,) adds, before its weight: (n, n_grid)."""
        grid = self.parameters_of_grid.to(r.dtype)
        values = terms.oscillations(r, grid[:, 0]) if self.kind == "G3" else terms.gaussians(r, grid[:, 0], grid[:, 1])
        fc = self.fc(r)
        return values * (0.25 * fc if self.kind == "AEV-R" else fc)[:, None]

    def forward(self, p: Pairs, weights: Tensor | None) -> Tensor:
        """Sums over neighbours, (n_atoms, width); weights (n_elements, n_weights) make it (n_atoms, width n_weights)."""
        values, m = self.terms(p.d), len(p.d)
        out = values.new_zeros(p.n_atoms * self.n_slots, values.shape[1] * (weights.shape[1] if weights is not None else 1))
        slot = self.slot.index_select(0, p.e_centre if self.weighted else p.code)
        rows = p.centres * self.n_slots + slot
        for k in (0, 1):
            mine, place = values, rows[k * m : (k + 1) * m]
            if weights is not None:
                g = weights.to(values.dtype).index_select(0, p.e_neighbour[k * m : (k + 1) * m])
                mine = (values[:, :, None] * g[:, None, :]).flatten(1)
            if not self.all_wanted:
                wanted = torch.nonzero(slot[k * m : (k + 1) * m] >= 0)[:, 0]
                place, mine = place.index_select(0, wanted), mine.index_select(0, wanted)
            out = out.index_add(0, place, mine)
        return out.view(p.n_atoms, -1)


class AngularBlock(Block):
    """G4, G5, their weighted kinds and the AEV's angular functions; `grid` holds (eta, rs, zeta, lam or theta).

    The grid is completed to the outer product of its distances' part (eta, rs) and its angle's part (zeta, lam), so that each is
    computed once for a triple.
    """

    def __init__(self, kind: str, fc: Fc, channels: Sequence[Channel], n_elements: int, grid: Sequence[tuple[float, ...]], fc_column: int):
        radial = sorted({g[:2] for g in grid})
        self_zetas, directions = sorted({g[2] for g in grid}), sorted({g[3] for g in grid})
        super().__init__(kind, fc, channels, n_elements, [(*r, z, x) for r in radial for z in self_zetas for x in directions])
        self.fc_column = fc_column
        self.zetas = self_zetas
        self.narrow = kind in ("G4", "W4")
        self.shifted = any(rs != 0 for _, rs in radial)
        self.register_buffer("radial_grid", torch.tensor(radial, dtype=torch.float64), persistent=False)
        self.register_buffer("directions", torch.tensor(directions, dtype=torch.float64), persistent=False)

    def factors(self, cos: Tensor, first: Tensor, second: Tensor, fc: Tensor) -> tuple[Tensor, Tensor]:
        """What a triple adds, as an outer product: its distances' part (n, n_radial) and its angle's (n, n_zeta n_lam); `fc` is that of both sides."""
        eta, rs = self.radial_grid.to(cos.dtype).unbind(1)
        directions = self.directions.to(cos.dtype)
        if self.kind == "AEV-A":
            left = terms.gaussians(0.5 * (first + second), eta, rs)
            return left * (2 * fc)[:, None], terms.aev_angular_factor(cos, directions, self.zetas)
        sides = [first, second]
        if self.narrow:
            third = terms.third_side(first, second, cos)
            fc = fc * self.fc(third)
            sides.append(third)
        left = terms.radial_factor(sides, eta, rs, self.shifted)
        return left * (2 * fc)[:, None], terms.angular_factor(cos, directions, self.zetas)

    def forward(self, t: Triples, weights: Tensor | None) -> Tensor:
        """Sums over pairs of neighbours, (n_atoms, width); weights (n_elements, n_weights) make it (n_atoms, width n_weights)."""
        t, rows = self._wanted(t)
        left, right = self.factors(t.cos, t.first, t.second, t.fc.unbind(1)[self.fc_column])
        if weights is not None:  # after the angle, so that weights run fastest
            g = weights.to(left.dtype)
            g = g.index_select(0, t.code // self.n_elements % self.n_elements) * g.index_select(0, t.code % self.n_elements)
            right = (right[:, :, None] * g[:, None, :]).reshape(len(right), right.shape[1] * g.shape[1])
        return outer_sums(left, right, rows, t.n_atoms * self.n_slots).view(t.n_atoms, -1)

    def _wanted(self, t: Triples) -> tuple[Triples, Tensor]:
        """The triples that count and their rows, those of one row side by side where that pays."""
        if self.n_elements == 1:
            slot, rows = None, t.centre
        else:
            slot = self.slot.index_select(0, t.code // self.n_elements**2 if self.weighted else t.code)
            rows = t.centre * self.n_slots + slot
        chosen = None
        if self.narrow or not self.all_wanted:
            keep = t.third < self.fc.cutoff if self.narrow and t.third is not None else None
            if not self.all_wanted and slot is not None:
                keep = slot >= 0 if keep is None else keep & (slot >= 0)
            if keep is not None:
                chosen = torch.nonzero(keep)[:, 0]
                rows = rows.index_select(0, chosen)
        if self.n_slots > 1 and worth_chunks(len(rows), t.n_atoms * self.n_slots):
            rows, order = torch.sort(rows, stable=True)
            chosen = order if chosen is None else chosen.index_select(0, order)
        return (t if chosen is None else t.pick(chosen)), rows


def grid_point(f: SymmetryFunction) -> tuple[float, ...]:
    """The numbers of a function as its block's grid holds them."""
    if f.kind == "G3":
        return (f.kappa,)
    if f.kind == "G1":
        return 0.0, 0.0
    if f.kind in RADIAL:
        return f.eta, f.rs
    return f.eta, f.rs, f.zeta, f.theta if f.kind == "AEV-A" else f.lam


def channels_of(f: SymmetryFunction, elements: Sequence[int]) -> list[Channel]:
    """The channels that a function asks for; elements by their place in the list."""
    place = {z: k for k, z in enumerate(elements)}
    centres = [place[f.centre]] if f.centre is not None else list(range(len(elements)))
    if f.kind in WEIGHTED:
        return [(c,) for c in centres]
    if f.kind in RADIAL:
        assert f.neighbour is not None
        return [(c, place[f.neighbour]) for c in centres]
    a, b = sorted(place[z] for z in f.pair)
    return [(c, a, b) for c in centres]


def grouped(functions: Sequence[SymmetryFunction], elements: Sequence[int]) -> list[tuple[str, Fc, list[Channel], list[tuple[float, ...]]]]:
    """Kind, cutoff, channels and grid of each block."""
    grids: dict[tuple[str, Fc], dict[Channel, dict[tuple[float, ...], None]]] = defaultdict(lambda: defaultdict(dict))
    for f in functions:
        kind = "G2" if f.kind == "G1" else f.kind
        for channel in channels_of(f, elements):
            grids[kind, Fc(f.cutoff_fn, f.cutoff, f.inner)][channel][grid_point(f)] = None
    blocks = []
    for (kind, fc), by_channel in grids.items():
        alike: dict[tuple[tuple[float, ...], ...], list[Channel]] = defaultdict(list)
        for channel, grid in by_channel.items():
            alike[tuple(sorted(grid))].append(channel)
        blocks += [(kind, fc, channels, list(grid)) for grid, channels in alike.items()]
    return blocks
