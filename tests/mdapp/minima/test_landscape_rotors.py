"""Methyls that turn on a path do not hide the saddle of what they are tied to."""
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase.build import molecule
from ase.io import read

from mdapp.minima.identity import Identity
from mdapp.minima.landscape.rotors import turning_ends, without_turning
from mdapp.minima.landscape.saddles import joined, saddles_between
from mdapp.minima.landscape.surface import Surface
from mdapp.relax import BatchOptions, relax_batch
from potentials.calculator import batch_evaluator, load_calculator

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("name, symbols", [
    ("CH3CH2OH", "HHH"),  # neither the CH2 nor the hydroxyl
    ("CH3CONH2", "HHHHH"),  # a methyl and the NH2
    ("isobutane", "HHHHHHHHH"),
    ("C2H6", "HHHHHH"),
    ("H2O", ""), ("CH4", ""), ("CF4", ""),  # nothing that they would turn against
])
def test_ends_that_turn_by_themselves(name, symbols):
    atoms = molecule(name)
    ends = turning_ends(Identity.of(atoms))
    assert "".join(atoms.symbols[ends]) == symbols


@pytest.fixture(scope="module")
def dipeptide():
    """Ac-Ala-NHMe: its surface, and the minima C7eq and PII, which differ in the turn of a methyl too."""
    atoms = read(ROOT / "examples" / "minima_dipeptide" / "alanine_dipeptide.xyz")
    identity = Identity.of(atoms)
    bonds = {tuple(sorted(pair)) for pair in identity.bonds.tolist()}
    near = lambda k: [j for j in range(len(atoms)) if tuple(sorted((j, k))) in bonds]
    number = atoms.numbers
    ca = next(k for k in range(len(atoms)) if number[k] == 6 and sorted(number[near(k)]) == [1, 6, 6, 7])
    n, c = (next(j for j in near(ca) if number[j] == 7), next(j for j in near(ca) if 8 in number[near(j)]))
    before, after = next(j for j in near(n) if number[j] == 6 and j != ca), next(j for j in near(c) if number[j] == 7)
    evaluate = batch_evaluator(load_calculator("so3krates.pt", dtype="float64"))

    def beyond(first: int, second: int) -> list[int]:
        found, left = {second}, [second]
        while left:
            for k in near(left.pop()):
                if k not in found and k != first:
                    found.add(k)
                    left.append(k)
        return sorted(found)

    starts = []
    for phi, psi in ((-81, 72), (-118, 153)):
        start = atoms.copy()
        start.set_dihedral(before, n, ca, c, phi, indices=beyond(n, ca))
        start.set_dihedral(n, ca, c, after, psi, indices=beyond(ca, c))
        starts.append(start)
    ends = dict(relax_batch(starts, evaluate, BatchOptions("internal", fmax=0.01)))
    assert all(end.converged for end in ends.values())
    return Surface(atoms, evaluate), identity, [ends[k].atoms.positions for k in (0, 1)], [ends[k].energy for k in (0, 1)]


def test_letting_down_moves_the_ends_alone_and_not_up(dipeptide):
    surface, identity, (x, _), _ = dipeptide
    ends = turning_ends(identity)
    rng = np.random.default_rng(1)
    shaken = x.copy()
    shaken[ends] += 0.1 * rng.standard_normal((len(ends), 3))
    direction = rng.standard_normal(x.shape)
    positions, left = without_turning(surface, shaken, direction, ends)
    others = np.setdiff1d(np.arange(len(x)), ends)
    assert np.array_equal(positions[others], shaken[others]) and not np.array_equal(positions[ends], shaken[ends])
    assert np.array_equal(left[others], direction[others]) and not left[ends].any()
    before, after = surface(np.stack([shaken, positions]))[0]
    assert after < before - 0.1
    only = np.zeros_like(x)
    only[ends] = direction[ends]
    assert without_turning(surface, x, only, ends) is None  # a methyl's turn is a path of its own
    assert without_turning(surface, x, direction, ends[:0]) is None


def test_two_basins_are_joined_over_their_own_low_saddle(dipeptide):
    """From the top of the path, raised by a methyl, the search used to climb to that methyl's own saddle, which joins PII with itself."""
    surface, identity, (c7eq, pii), (low, high) = dipeptide
    crossed = saddles_between(surface, identity, pii, c7eq)
    assert joined(identity, [pii, c7eq], list(crossed.saddles))
    saddle = next(s for s in crossed.saddles if joined(identity, [pii, c7eq], [s]))
    assert high - low < saddle.energy - low < 0.11
    assert saddle.frequencies_cm1[0] < 0 < saddle.frequencies_cm1[1] and crossed.evaluations < 800
