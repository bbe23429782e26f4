"""Real spherical harmonics up to degree 4, and what is built from them without a Clebsch-Gordan tensor.

Orthonormal (the squares of one degree sum to (2l+1)/4pi on the sphere), without the Condon-Shortley sign, m from -l to l.
Each component is a polynomial in the unit vector, written out in `POLYNOMIALS`. They are evaluated together: all
monomials are formed by a few column products, and one matrix product with constant coefficients gives all components.
"""
from __future__ import annotations

import math

import torch
from torch import Tensor

from potentials.layers.constants import WithConstants


def _polynomials() -> dict[int, list[dict[str, float]]]:
    pi, sqrt = math.pi, math.sqrt
    c = sqrt(3 / (4 * pi))
    a, b = sqrt(15 / pi) / 2, sqrt(5 / pi) / 4
    A, B, C, E = sqrt(35 / (2 * pi)) / 4, sqrt(105 / pi) / 2, sqrt(21 / (2 * pi)) / 4, sqrt(7 / pi) / 4
    P, Q, S, T, U = 3 / 4 * sqrt(35 / pi), 3 / 4 * sqrt(35 / (2 * pi)), 3 / 4 * sqrt(5 / pi), 3 / 4 * sqrt(5 / (2 * pi)), 3 / 16 * sqrt(1 / pi)
    return {
        1: [{"y": c}, {"z": c}, {"x": c}],
        2: [{"xy": a}, {"yz": a}, {"zz": 3 * b, "": -b}, {"xz": a}, {"xx": a / 2, "yy": -a / 2}],
        3: [
            {"xxy": 3 * A, "yyy": -A},
            {"xyz": B},
            {"yzz": 5 * C, "y": -C},
            {"zzz": 5 * E, "z": -3 * E},
            {"xzz": 5 * C, "x": -C},
            {"xxz": B / 2, "yyz": -B / 2},
            {"xxx": A, "xyy": -3 * A},
        ],
        4: [
            {"xxxy": P, "xyyy": -P},
            {"xxyz": 3 * Q, "yyyz": -Q},
            {"xyzz": 7 * S, "xy": -S},
            {"yzzz": 7 * T, "yz": -3 * T},
            {"zzzz": 35 * U, "zz": -30 * U, "": 3 * U},
            {"xzzz": 7 * T, "xz": -3 * T},
            {"xxzz": 7 * S / 2, "xx": -S / 2, "yyzz": -7 * S / 2, "yy": S / 2},
            {"xxxz": Q, "xyyz": -3 * Q},
            {"xxxx": P / 4, "xxyy": -6 * P / 4, "yyyy": P / 4},
        ],
    }


POLYNOMIALS = _polynomials()  # degree -> components m = -l ... l, each {monomial: coefficient}
MAX_DEGREE = max(POLYNOMIALS)


class SphericalHarmonics(WithConstants):
    """Y_lm of unit vectors for the given degrees, one after the other: (n, 3) -> (n, M)."""

    def __init__(self, degrees: tuple[int, ...]):
        super().__init__()
        check_degrees(degrees)
        top = max(degrees)
        first = ["x", "y", "z"]
        second = ["xx", "xy", "xz", "yy", "yz", "zz"]
        third = ["xxx", "xxy", "xxz", "xyy", "xyz", "xzz", "yyy", "yyz", "yzz", "zzz"]
        fourth = sorted({"".join(sorted(p + q)) for p in second for q in second})
        monomials = ["", *first, *(second if top > 1 else []), *(third if top > 2 else []), *(fourth if top > 3 else [])]
        coefficients = torch.zeros(len(monomials), sum(2 * l + 1 for l in degrees), dtype=torch.float64)
        for column, polynomial in enumerate(component for l in degrees for component in POLYNOMIALS[l]):
            for monomial, value in polynomial.items():
                coefficients[monomials.index(monomial), column] = value
        self.top = top
        self.constant("coefficients", coefficients)  # (n_monomials, M)
        # a monomial of degree n is one of lower degree times another: the columns to multiply
        self._columns("second", [(first.index(m[0]), first.index(m[1])) for m in second])
        self._columns("third", [(second.index(m[:2]), first.index(m[2])) for m in third])
        self._columns("fourth", [(second.index(m[:2]), second.index(m[2:])) for m in fourth])

    def _columns(self, name: str, pairs: list[tuple[int, int]]) -> None:
        self.register_buffer(f"{name}_left", torch.tensor([p for p, _ in pairs]), persistent=False)
        self.register_buffer(f"{name}_right", torch.tensor([q for _, q in pairs]), persistent=False)

    def forward(self, u: Tensor) -> Tensor:
        monomials = [torch.ones_like(u[:, :1]), u]
        if self.top > 1:
            second = u.index_select(1, self.second_left) * u.index_select(1, self.second_right)
            monomials.append(second)
        if self.top > 2:
            monomials.append(second.index_select(1, self.third_left) * u.index_select(1, self.third_right))
        if self.top > 3:
            monomials.append(second.index_select(1, self.fourth_left) * second.index_select(1, self.fourth_right))
        return torch.cat(monomials, dim=1) @ self.coefficients.to(u.dtype)


class Contraction(WithConstants):
    """s_l(v) = sum_m v_lm^2 / sqrt(2l+1): one invariant a degree, (n, M) -> (n, n_degrees); and its way back, `expand`."""

    def __init__(self, degrees: tuple[int, ...]):
        super().__init__()
        check_degrees(degrees)
        membership = torch.zeros(sum(2 * l + 1 for l in degrees), len(degrees), dtype=torch.float64)
        start = 0
        for column, l in enumerate(degrees):
            membership[start : start + 2 * l + 1, column] = 1
            start += 2 * l + 1
        norm = torch.tensor([1 / math.sqrt(2 * l + 1) for l in degrees], dtype=torch.float64)
        self.constant("membership", membership)
        self.constant("weights", membership * norm)

    def forward(self, v: Tensor) -> Tensor:
        return (v * v) @ self.weights.to(v.dtype)

    def expand(self, per_degree: Tensor) -> Tensor:
        """One number a degree, repeated for its components: (n, n_degrees) -> (n, M)."""
        return per_degree @ self.membership.to(per_degree.dtype).T


def check_degrees(degrees: tuple[int, ...]) -> None:
    """Degrees must be different whole numbers between 1 and 4."""
    if not degrees or len(set(degrees)) != len(degrees) or any(l not in POLYNOMIALS for l in degrees):
        raise ValueError(f"degrees must be different whole numbers from 1 to {MAX_DEGREE}, got {tuple(degrees)}.")
