"""A wrapped molecule comes back in one piece."""
from __future__ import annotations

import numpy as np
import pytest

from mdapp.analysis.whole import make_whole, spanning_tree


def test_a_chain_longer_than_half_the_box_is_made_whole():
    rng = np.random.default_rng(1)
    chain = np.cumsum(rng.normal(size=(20, 3)) * 0.3 + [1.0, 0.2, 0.0], axis=0)  # 20 Å long in a box of 12
    bonds = rng.permuted(np.stack([np.arange(19), np.arange(1, 20)], axis=1), axis=1)
    frames = chain + rng.uniform(-40, 40, size=(10, 1, 3))
    cells = np.broadcast_to([[12.0, 0, 0], [2, 13, 0], [-3, 1, 14]], (10, 3, 3))
    wrapped = (frames @ np.linalg.inv(cells) % 1.0) @ cells
    whole = make_whole(wrapped, spanning_tree(20, bonds), cells, np.ones(3, dtype=bool))
    assert whole - whole[:, :1] == pytest.approx(frames - frames[:, :1])


def test_a_ring_and_a_lonely_atom_make_a_tree():
    tree = spanning_tree(5, np.array([[0, 1], [1, 2], [2, 3], [3, 0]]))
    assert len(tree) == 3 and len(set(tree[:, 1])) == 3 and 4 not in tree


def test_free_molecules_are_left_alone():
    frames = np.random.default_rng(2).normal(size=(2, 4, 3)) * 100
    assert make_whole(frames, spanning_tree(4, np.array([[0, 3]])), np.zeros((2, 3, 3)), np.zeros(3, dtype=bool)) is frames
