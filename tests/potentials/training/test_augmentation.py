import numpy as np
import pytest
import torch
from ase.build import molecule

from potentials.data import LabelledStructure
from potentials.data.dataset import build_dataset, split
from potentials.training.augmentation import random_rotations, turned, turned_at_random


def dataset(n=4, cell=4.0):
    rng = np.random.default_rng(5)
    atoms = molecule("CH3OH")

    def one(k):
        return LabelledStructure(
            numbers=atoms.numbers, positions=atoms.positions + 0.1 * rng.normal(size=(6, 3)), energy=float(k), forces=rng.normal(size=(6, 3)),
            stress=rng.normal(size=(3, 3)), cell=cell * np.eye(3), pbc=np.ones(3, dtype=bool), charge=0.0, molecule="ab"[k % 2], source="made here",
            dipole=rng.normal(size=3),
        )  # fmt: skip

    return build_dataset([one(k) for k in range(n)], 3.0)


def test_rotations_are_proper_and_uniform_in_all_directions():
    R = random_rotations(20000, np.random.default_rng(0))
    assert np.abs(R @ R.transpose(0, 2, 1) - np.eye(3)).max() < 1e-12 and np.abs(np.linalg.det(R) - 1).max() < 1e-12
    assert np.abs(R.mean(axis=0)).max() < 0.02
    assert np.abs((R**2).mean(axis=0) - 1 / 3).max() < 0.01  # three uniform Euler angles give 0.249 at (z, z)
    assert (np.abs(R[:, 2, 2]) < 0.1).mean() == pytest.approx(0.1, abs=0.01)  # and 0.19 here
    angles = np.arccos(np.clip((np.trace(R, axis1=1, axis2=2) - 1) / 2, -1, 1))
    expected = (np.pi**2 / 2 + 2) / np.pi  # of the density (1 - cos a) / pi
    assert angles.mean() == pytest.approx(expected, abs=0.02)


def test_pairs_keep_their_lengths_and_labels_turn_along():
    batch = dataset().batch([0, 1, 2])
    R = random_rotations(3, np.random.default_rng(1))
    other = turned(batch, R)
    from potentials.graph import edge_vectors

    r, s = edge_vectors(batch.graph), edge_vectors(other.graph)
    first = batch.graph.structure[batch.graph.edges.centres]
    assert torch.allclose(torch.einsum("eab,eb->ea", torch.as_tensor(R)[first], r), s, atol=1e-12)
    assert torch.allclose(other.forces.norm(dim=1), batch.forces.norm(dim=1))
    assert not torch.allclose(other.forces, batch.forces)
    work, again = (torch.einsum("sab,sa,sb->s", b.stress, b.dipole, b.dipole) for b in (batch, other))
    assert torch.allclose(work, again)  # a scalar of a tensor and a vector


def test_each_structure_turns_by_a_rotation_of_its_own_that_hangs_on_seed_epoch_and_frame_alone():
    data = dataset()
    three, one = turned_at_random(data.batch([2, 0, 1]), np.array([2, 0, 1]), 7, 3), turned_at_random(data.batch([0]), np.array([0]), 7, 3)
    assert torch.equal(three.forces[6:12], one.forces)
    assert not torch.allclose(turned_at_random(data.batch([0]), np.array([0]), 7, 4).forces, one.forces)
    assert not torch.allclose(turned_at_random(data.batch([0]), np.array([0]), 8, 3).forces, one.forces)


def test_a_split_by_block_keeps_the_last_frames_of_each_molecule():
    inside, outside = split(dataset(20), 0.2, 0, "block")
    assert outside.tolist() == [16, 17, 18, 19] and inside.tolist() == list(range(16))
