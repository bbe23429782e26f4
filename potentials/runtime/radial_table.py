"""Radial filters read from a table: the networks of a distance become splines of it.

What a filter network makes of a pair's radial basis depends on one number, the distance. All these functions of a potential
together (768 at SO3LR's size) are, to single precision, linear combinations of about thirty; these are tabulated as cubic
splines and multiplied out by one matrix product. Built in float64; the largest deviation from the networks is measured between
the knots and must stay below a limit. The plain twin is the potential itself.
"""
from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from potentials.layers.attention import Filter
from potentials.potential import Potential
from potentials.runtime.code_cache import identity_of

SPACING = 0.005  # Å between knots: a cubic spline is then off by less than 1e-7 for filters of the usual roughness
FIRST = 0.2  # Å, the first knot; atoms never come as close
TOLERANCE = 2e-6  # of a filter's value (they are of the order of 1): what single precision makes of the networks themselves


@dataclass(frozen=True)
class TableError:
    """How far the table is from the networks, in the precision of the potential."""

    largest: float  # absolute, over all filters and distances
    rms: float
    functions: int  # filters in all
    terms: int  # splines that they are combined from


def has_radial_filters(potential: Potential) -> bool:
    """Are there filters of a distance that a table could hold?"""
    return hasattr(potential, "radial_basis") and any(isinstance(m, Filter) and not isinstance(m.radial, Columns) for m in potential.modules())


class SplineBasis(torch.nn.Module):
    """All radial filters of a distance: d (n_pairs,) -> (n_pairs, n_filters). Below the first and beyond the last knot they stay as there."""

    def __init__(self, coefficients: Tensor, mixing: Tensor, spacing: float):
        super().__init__()
        self.spacing = spacing
        self.n_intervals, _, self.n_terms = coefficients.shape
        self.register_buffer("coefficients", coefficients.flatten(1), persistent=False)  # (n_intervals, 4 n_terms), ascending powers
        self.register_buffer("mixing", mixing, persistent=False)  # (n_terms, n_filters)

    def forward(self, d: Tensor) -> Tensor:
        return self.terms(d) @ self.mixing

    def terms(self, d: Tensor) -> Tensor:
        """The splines that filters are combined from, (n_pairs, n_terms)."""
        u = ((d - FIRST) / self.spacing).clamp(0, self.n_intervals * (1 - 1e-6))
        k = u.detach().floor()
        t = (u - k)[:, None]
        c0, c1, c2, c3 = self.coefficients.index_select(0, k.long()).split(self.n_terms, dim=1)
        return c0 + t * (c1 + t * (c2 + t * c3))


class Columns(torch.nn.Module):
    """One filter's share of what SplineBasis gives."""

    def __init__(self, begin: int, end: int):
        super().__init__()
        self.begin, self.end = begin, end

    def forward(self, rbf: Tensor) -> Tensor:
        return rbf[:, self.begin : self.end]


def with_radial_table(potential: Potential, tolerance: float = TOLERANCE) -> tuple[Potential, TableError]:
    """A copy of a potential that reads its radial filters from a table, and the error of that.

    Parameters
    ----------
    potential : one with a `radial_basis` and `Filter` layers (both So3krates); it is not changed.
    tolerance : the largest absolute deviation of a filter's value, before rounding to the precision of the potential.

    Raises
    ------
    ValueError : nothing to tabulate, or the tolerance cannot be met.
    """
    tabulated, error = with_shared_table([potential], tolerance)
    return tabulated[0], error


def with_shared_table(potentials: Sequence[Potential], tolerance: float = TOLERANCE) -> tuple[list[Potential], TableError]:
    """The same of several potentials with one cutoff, whose filters are all combined from one set of splines.

    Raises
    ------
    ValueError : nothing to tabulate, cutoffs that differ, or the tolerance cannot be met.
    """
    for potential in potentials:
        if not has_radial_filters(potential):
            raise ValueError(f"{type(potential).__name__} has no radial filters that a table could hold. Leave it out.")
    if len({p.cutoff for p in potentials}) > 1:
        raise ValueError(f"Potentials that share a table need one cutoff, got {', '.join(f'{p.cutoff:g}' for p in potentials)} Å.")
    weight = next(m for m in potentials[0].modules() if isinstance(m, Filter)).radial.first.weight
    exact = [_Exact(p) for p in potentials]
    n = round((potentials[0].cutoff - FIRST) / SPACING)
    spacing = (potentials[0].cutoff - FIRST) / n
    knots = FIRST + torch.arange(n + 1, dtype=torch.float64) * spacing
    values, slopes = (torch.cat(parts, dim=1) for parts in zip(*(e.with_slopes(knots) for e in exact)))
    between = (knots[:-1] + knots[1:]) / 2
    truth = torch.cat([e(between) for e in exact], dim=1)
    table = _combined(values, slopes * spacing, between, truth, spacing, tolerance)
    made, off, begin = [], [], 0
    for potential, width in zip(potentials, (e.n_filters for e in exact)):
        mine = SplineBasis(table.coefficients.view(n, 4, -1), table.mixing[:, begin : begin + width], spacing)
        made.append(_reading(potential, mine.to(device=weight.device, dtype=weight.dtype), tolerance))
        with torch.no_grad():
            off.append((made[-1].radial_basis(between.to(weight)).double().cpu() - truth[:, begin : begin + width]).abs())  # type: ignore[operator]
        begin += width
    errors = torch.cat(off, dim=1)
    return made, TableError(float(errors.max()), float(errors.square().mean().sqrt()), truth.shape[1], table.n_terms)


def _combined(values: Tensor, slopes: Tensor, between: Tensor, truth: Tensor, spacing: float, tolerance: float) -> SplineBasis:
    """Splines, as few as will do, through values and slopes per interval at the knots (n + 1, n_filters), and how filters are mixed from them."""
    _, sizes, directions = torch.linalg.svd(torch.cat([values, slopes]), full_matrices=False)
    for n_terms in range(8, len(sizes) + 1, 4):
        mixing = directions[:n_terms]  # (n_terms, n_filters), orthonormal rows
        table = SplineBasis(_hermite(values @ mixing.T, slopes @ mixing.T), mixing, spacing)
        if float((table(between) - truth).abs().max()) < tolerance:
            return table
    raise ValueError(f"A table of radial filters is off by more than {tolerance:g}; they are too rough for knots {SPACING} Å apart. Leave it out.")


def _reading(potential: Potential, table: SplineBasis, tolerance: float) -> Potential:
    """A copy of the potential that reads its filters from a table."""
    fast = copy.deepcopy(potential)
    fast.radial_basis = table
    begin = 0
    for module in (m for m in fast.modules() if isinstance(m, Filter)):
        width = module.radial.last.out_features
        module.radial = Columns(begin, begin + width)  # type: ignore[assignment]
        begin += width
    fast.identity = f"{identity_of(potential)} radial table {tolerance:g} {SPACING:g} of {table.n_terms}"  # type: ignore[assignment]
    return fast


class _Exact:
    """The filters as the potential's networks give them, in float64 on the CPU."""

    def __init__(self, potential: Potential):
        self.basis = copy.deepcopy(potential.radial_basis).double().cpu()
        self.networks = [copy.deepcopy(m.radial).double().cpu() for m in potential.modules() if isinstance(m, Filter)]
        self.n_filters = sum(network.last.out_features for network in self.networks)

    def __call__(self, d: Tensor) -> Tensor:
        with torch.no_grad():
            rbf = self.basis(d)
            return torch.cat([network(rbf) for network in self.networks], dim=1)

    def with_slopes(self, d: Tensor) -> tuple[Tensor, Tensor]:
        """Values and derivatives, (n, n_filters) each: J u is the derivative of v^T J u to v."""
        with torch.enable_grad():
            d = d.detach().clone().requires_grad_(True)
            rbf = self.basis(d)
            values = torch.cat([network(rbf) for network in self.networks], dim=1)
            v = torch.zeros_like(values, requires_grad=True)
            (v_J,) = torch.autograd.grad(values, d, v, create_graph=True)
            (slopes,) = torch.autograd.grad(v_J, v, torch.ones_like(d))
        return values.detach(), slopes.detach()


def _hermite(values: Tensor, slopes: Tensor) -> Tensor:
    """Powers of t in [0, 1] of the cubics with these ends: (n + 1, m) twice, slopes per interval -> (n, 4, m)."""
    a, b, da, db = values[:-1], values[1:], slopes[:-1], slopes[1:]
    return torch.stack([a, da, 3 * (b - a) - 2 * da - db, 2 * (a - b) + da + db], dim=1)
