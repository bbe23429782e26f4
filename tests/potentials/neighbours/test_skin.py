"""Whenever the skin rule calls a list valid, it holds all pairs within the cutoff: of atoms that move and of cells that change."""
import numpy as np
import pytest

from potentials.neighbours import pairs
from potentials.neighbours.skin import Reference, still_valid

CUTOFF, SKIN = 3.0, 0.8


def as_set(found):
    i, j, shifts = found
    return set(zip(i.tolist(), j.tolist(), map(tuple, shifts.tolist())))


def start(rng, pbc):
    cell = np.diag(rng.uniform(2.5, 7.0, size=3)) @ (np.eye(3) + np.tril(rng.uniform(-0.5, 0.5, size=(3, 3)), -1))
    positions = rng.uniform(-0.5, 1.5, size=(8, 3)) @ cell
    return positions, cell, np.array(pbc)


@pytest.mark.parametrize("pbc", [(True, True, True), (False, False, False), (True, True, False), (False, True, False)], ids=str)
def test_no_pair_is_missed_while_the_list_is_valid(pbc):
    rng = np.random.default_rng(sum(1 << k for k, p in enumerate(pbc) if p))
    n_valid = n_stale = 0
    for _ in range(250):
        positions, cell, pbc_ = start(rng, pbc)
        reference = Reference(positions, cell, pbc_)
        kept = as_set(pairs(positions, cell, pbc_, CUTOFF + SKIN))
        strain = 10 ** rng.uniform(-3, -0.9)
        F = np.eye(3) + strain * rng.normal(size=(3, 3))  # shear and rotation included
        new_cell = cell @ F
        new = positions @ F + 10 ** rng.uniform(-2, -0.3) * rng.normal(size=positions.shape)
        needed = as_set(pairs(new, new_cell, pbc_, CUTOFF))
        if still_valid(reference, new, new_cell, CUTOFF, SKIN):
            n_valid += 1
            assert needed <= kept
        else:
            n_stale += 1
    assert n_valid > 25 and n_stale > 25  # both answers were tried


def test_the_worst_case_is_met_exactly():
    """Two atoms that come together along their line: valid up to half the skin each, and no further."""
    apart = np.array([[0.0, 0, 0], [CUTOFF + SKIN + 1e-9, 0, 0]])
    reference = Reference(apart, np.zeros((3, 3)), np.zeros(3, bool))
    for move, valid in ((SKIN / 2 - 1e-6, True), (SKIN / 2 + 1e-6, False)):
        assert still_valid(reference, apart + [[move, 0, 0], [-move, 0, 0]], np.zeros((3, 3)), CUTOFF, SKIN) is valid


def test_a_shrinking_cell_ends_the_list_though_no_atom_moves_in_it():
    """A uniform squeeze by more than skin / (cutoff + skin) brings unseen pairs into the cutoff."""
    rng = np.random.default_rng(2)
    positions, cell, pbc = start(rng, (True, True, True))
    reference = Reference(positions, cell, pbc)
    limit = CUTOFF / (CUTOFF + SKIN)
    for scale, valid in ((limit + 1e-6, True), (limit - 1e-6, False), (1.3, True)):
        assert still_valid(reference, positions * scale, cell * scale, CUTOFF, SKIN) is valid


def test_a_moving_cell_counts_only_what_atoms_move_beyond_it():
    """Atoms 500 Å from the origin: the cell carries them far, and the list stays."""
    rng = np.random.default_rng(4)
    positions, cell, pbc = start(rng, (True, True, True))
    positions = positions + np.round(np.array([500.0, 0, 0]) @ np.linalg.inv(cell)) @ cell
    F = 1.001 * np.eye(3)
    assert np.abs(positions @ F - positions).max() > SKIN / 2
    assert still_valid(Reference(positions, cell, pbc), positions @ F, cell @ F, CUTOFF, SKIN)


def test_what_cannot_be_compared_is_stale():
    rng = np.random.default_rng(6)
    positions, cell, pbc = start(rng, (True, True, True))
    reference = Reference(positions, cell, pbc)
    assert not still_valid(reference, positions[:-1], cell, CUTOFF, SKIN)
    assert not still_valid(reference, np.full_like(positions, np.nan), cell, CUTOFF, SKIN)
    assert not still_valid(reference, positions, cell * np.nan, CUTOFF, SKIN)


def test_without_a_skin_any_motion_ends_the_list():
    rng = np.random.default_rng(8)
    positions, cell, pbc = start(rng, (True, True, True))
    reference = Reference(positions, cell, pbc)
    assert still_valid(reference, positions, cell, CUTOFF, 0.0)
    assert not still_valid(reference, positions + 1e-9 * rng.normal(size=positions.shape), cell, CUTOFF, 0.0)
