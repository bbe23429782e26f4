r"""Automatic sets of symmetry functions: parameters from a cutoff and a few counts.

======================  ==========================================================================================================
scheme                  parameters
======================  ==========================================================================================================
"gastegger-centred"     r_m equidistant from `r_low` to r_c: R_s = 0, η_m = 1 / (2 r_m²); angular alike
"gastegger-shifted"     R_s = r_m, η = 1 / (2 Δr²) with Δr the spacing; angular centred
"imbalzano"             with n intervals, m = 0..n: centred η_m = (n^{m/n} / r_c)², and shifted R_m = r_c / n^{m/n} with
                        η_m = 1 / (R_{n-m} - R_{n-m-1})²; angular: η of the centred ones
"equidistant"           R_s equidistant from `r_low` to r_c, η = 5 ln 10 / (4 Δr²): a Gaussian is 10^(-5/4) one spacing away; one
                        angular η = 2 ln 10 / r_c², ζ from 1 to 31 (NNMD's scheme)
"mlearn"                the set of the published mlearn networks: nine η, R_s = 0..4 Å, and nine η with λ and ζ
======================  ==========================================================================================================

Angular functions take every η with λ = ±1 and every ζ of `zetas`. Radial functions come for each neighbour element, angular ones for
each pair, in the order of the elements; weighted sets have one of each.

M. Gastegger et al., J. Chem. Phys. 148, 241709 (2018); G. Imbalzano et al., J. Chem. Phys. 148, 241730 (2018), Eqs. 6-9;
Y. Zuo et al., J. Phys. Chem. A 124, 731 (2020).
"""
from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from potentials.layers.symmetry_functions.records import SymmetryFunction

BOHR = 1 / 1.8897261328  # Å, as in the published set
MLEARN_ETAS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)  # Bohr^-2


@dataclass(frozen=True)
class Grid:
    """An automatic set; see the module's head."""

    scheme: Literal["gastegger-centred", "gastegger-shifted", "imbalzano", "equidistant", "mlearn"] = "gastegger-shifted"
    n_radial: int = 8  # radial functions of each neighbour element ("imbalzano": intervals, each gives one centred and one shifted)
    n_angular: int = 2  # values of η of the angular functions of each pair, before λ and ζ ("equidistant": angular functions in all)
    zetas: tuple[float, ...] = (1.0, 4.0)
    r_low: float = 0.8  # Å, where the radial grid begins
    wide: bool = False  # G5 in the place of G4
    weighted: bool = False  # one set for all neighbour elements, weighted by atomic number or by learned weights

    def __post_init__(self) -> None:
        if self.n_radial < 1 or self.n_angular < 0:
            raise ValueError(f"n_radial must be 1 or more and n_angular 0 or more, got {self.n_radial} and {self.n_angular}.")
        if not self.r_low >= 0 or (self.scheme == "gastegger-centred" and self.r_low == 0):
            raise ValueError(f"r_low must be 0 or more, and above 0 for gastegger-centred, got {self.r_low} Å.")
        if not self.zetas or min(self.zetas) < 1:
            raise ValueError(f"zetas must be numbers of 1 or more, got {list(self.zetas)}.")


def functions_of(grid: Grid, elements: Sequence[int], cutoff: float, cutoff_fn: str = "cosine", inner: float = 0.0) -> tuple[SymmetryFunction, ...]:
    """The functions of a grid for these elements, radial ones first.

    Raises
    ------
    ValueError : the radial grid begins beyond the cutoff.
    """
    if grid.r_low >= cutoff:
        raise ValueError(f"r_low must be below the cutoff, got {grid.r_low} and {cutoff} Å.")
    radial, angular = _radial(grid, cutoff), _angular(grid, cutoff)
    common = {"cutoff": cutoff, "cutoff_fn": cutoff_fn, "inner": inner}
    if grid.weighted:
        narrow = "W5" if grid.wide else "W4"
        return (*(SymmetryFunction("W2", eta=eta, rs=rs, **common) for eta, rs in radial),
                *(SymmetryFunction(narrow, eta=eta, lam=lam, zeta=zeta, **common) for eta, lam, zeta in angular))  # fmt: skip
    kind = "G5" if grid.wide else "G4"
    pairs = [(a, b) for k, a in enumerate(elements) for b in elements[k:]]
    return (*(SymmetryFunction("G2", neighbour=z, eta=eta, rs=rs, **common) for z in elements for eta, rs in radial),
            *(SymmetryFunction(kind, neighbour=a, second=b, eta=eta, lam=lam, zeta=zeta, **common) for a, b in pairs for eta, lam, zeta in angular))  # fmt: skip


def _between(low: float, high: float, n: int) -> list[float]:
    return [high] if n == 1 else [low + (high - low) * m / (n - 1) for m in range(n)]


def _radial(grid: Grid, r_c: float) -> list[tuple[float, float]]:
    """(η, R_s) of each radial function."""
    n = grid.n_radial
    points = _between(grid.r_low, r_c, n)
    spacing = points[1] - points[0] if n > 1 else r_c - grid.r_low
    if grid.scheme == "gastegger-centred":
        return [(1 / (2 * r * r), 0.0) for r in points]
    if grid.scheme == "gastegger-shifted":
        return [(1 / (2 * spacing**2), r) for r in points]
    if grid.scheme == "equidistant":
        return [(5 * math.log(10) / (4 * spacing**2), r) for r in points]
    if grid.scheme == "mlearn":
        return [(eta / BOHR**2, float(rs)) for eta in MLEARN_ETAS for rs in range(5) if rs < r_c]
    centred = [((n ** (m / n)) / r_c) ** 2 for m in range(n + 1)]
    places = [r_c / n ** (m / n) for m in range(n + 1)]
    shifted = [(1 / (places[n - m] - places[n - m - 1]) ** 2, places[n - m]) for m in range(n)] if n > 1 else []
    return [(eta, 0.0) for eta in centred] + shifted


def _angular(grid: Grid, r_c: float) -> list[tuple[float, float, float]]:
    """(η, λ, ζ) of each angular function."""
    n = grid.n_angular
    if n == 0:
        return []
    if grid.scheme == "equidistant":
        eta = 2 * math.log(10) / r_c**2
        return [(eta, 1.0 if m % 2 == 0 else -1.0, 1.0 if m < 2 or n < 3 else 1 + 30 * m / (n - 2)) for m in range(n)]
    if grid.scheme == "mlearn":
        return [(eta / BOHR**2, lam, zeta) for eta in MLEARN_ETAS for lam in (-1.0, 1.0) for zeta in (1.0, 2.0, 4.0, 16.0)]
    if grid.scheme == "imbalzano":
        etas = [((n ** (m / n)) / r_c) ** 2 for m in range(n)]
    else:
        etas = [1 / (2 * r * r) for r in _between(max(grid.r_low, 0.3 * r_c), r_c, n)]
    return [(eta, lam, zeta) for eta in etas for lam in (1.0, -1.0) for zeta in grid.zetas]
