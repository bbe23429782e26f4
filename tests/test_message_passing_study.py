"""The study of message passing: its models are valid, and its checks tell a gradient from what is none."""
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from ase.build import bulk

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

import _lammps_runs  # noqa: E402
import _message_passing_checks as checks  # noqa: E402
import _message_passing_models as models  # noqa: E402

from potentials.architectures.message_passing import Config, MessagePassing  # noqa: E402
from potentials.training.config import TrainConfig  # noqa: E402
from potentials.typed import from_mapping  # noqa: E402


@pytest.mark.parametrize("name", models.MODELS)
def test_every_model_is_a_training_that_can_begin(name, tmp_path):
    config = from_mapping(TrainConfig, models.settings_of(name, tmp_path, 0.5), name)
    assert config.output == str(tmp_path / name)
    if config.fine_tune is None:
        potential = MessagePassing(from_mapping(Config, config.potential.config, name))
        assert config.rotations != potential.equivariant
        assert not config.loss.learns_energy


def test_changes_are_merged_into_tables_and_none_takes_away():
    assert models.merged({"a": 1, "b": {"c": 2, "d": 3}, "e": 4}, {"b": {"c": 5}, "e": None}) == {"a": 1, "b": {"c": 5, "d": 3}}


def small(head):
    torch.manual_seed(0)
    p = MessagePassing(Config(elements=(18,), head=head, cutoff=5.0, num_features=8, num_layers=2, num_radial_basis_fn=8, avg_num_neighbors=12.0)).double().eval()
    p.force_unit.fill_(0.05)
    return p.requires_grad_(False)


@pytest.fixture
def argon():
    atoms = bulk("Ar", "fcc", 5.3, cubic=True)
    atoms.rattle(0.2, seed=1)
    return atoms


def test_work_round_a_path_and_the_jacobian_tell_a_gradient_from_a_direct_force(argon):
    cluster = argon.copy()
    cluster.pbc = False
    energy, vector = ((abs(checks.work_round_a_square(small(h), argon)), checks.jacobian_asymmetry(small(h), cluster)) for h in ("energy", "vector"))
    assert energy[0] < 1e-10 and energy[1] < 1e-6
    assert vector[0] > 1e-8 and vector[1] > 1e-4


def test_net_force_and_torque_are_those_of_the_heads(argon):
    cluster = argon.copy()
    cluster.pbc = False
    assert checks.net_force(small("pair"), argon) < 1e-12 > checks.net_torque(small("pair"), cluster)
    assert checks.net_torque(small("vector"), cluster) > 1e-6 and checks.net_force(small("free"), argon) > 1e-3
    assert checks.rotation_error(small("vector"), argon, 3) < 1e-12 and checks.rotation_error(small("free"), argon, 3) > 0.1


def test_the_exact_pair_law_is_that_of_the_force_field():
    d = np.linspace(3.2, 6.0, 8)
    assert np.abs(checks.pair_curve(checks.exact_argon(), d) - checks.exact_pair_curve(d)).max() < 1e-12
    assert checks.curve_error(checks.exact_argon()) < 1e-10


def test_dynamics_go_on_to_the_same_bits_where_they_stopped(argon, tmp_path):
    atoms = argon * (2, 2, 2)
    p = small("energy")
    whole = checks.NVE(p, atoms, tmp_path / "whole.json", every=5).run(0.06)
    checks.NVE(p, atoms, tmp_path / "parts.json", every=5).run(0.02)
    parts = checks.NVE(p, atoms, tmp_path / "parts.json", every=5).run(0.06)
    assert np.allclose(whole, parts, atol=1e-9) and len(whole) == 6


def test_slopes_are_those_of_a_line():
    t = np.arange(0, 50, 0.1)
    assert checks.slopes(np.column_stack([t, 90 + 0.3 * t, -5 + 0.02 * t])) == pytest.approx((0.3, 0.02))


DATA = """LAMMPS data file

3 atoms
2 bonds

-9 9 xlo xhi
-9 9 ylo yhi
-9 9 zlo zhi

Masses

1 15.9994
2 1.008

Atoms # full

2 1 2 0.41 0 0 0 0 0 0
1 1 1 -0.82 0 0 0 0 0 1
3 1 2 0.41 0 0 0 0 0 0

Velocities

1 0 0 0

Bonds

1 1 1 2
2 1 1 3

Angles

1 1 2 1 3
"""


def test_a_frame_becomes_a_data_file_with_whole_molecules():
    text = _lammps_runs.with_positions(DATA, np.array([[0.0, 10.0]] * 3), np.array([[9.9, 5, 5], [0.8, 5, 5], [9.5, 5.9, 5]]))
    rows = [line.split() for line in text[text.index("Atoms # full") : text.index("Bonds")].splitlines()[2:-1]]
    assert [row[:4] for row in rows] == [["1", "1", "1", "-0.82"], ["2", "1", "2", "0.41"], ["3", "1", "2", "0.41"]]
    assert float(rows[1][4]) == pytest.approx(10.8) and "0 10 xlo xhi" in text and "Velocities" not in text and "2 1 1 3" in text


def test_long_waves_are_the_part_of_coulombs_field_that_a_small_box_has_not():
    """The field of all waves of the large box, less that of those that fit the small one: by Ewald's sum over both, undamped."""
    from potentials.layers.ewald import DampedEwald

    rng = np.random.default_rng(0)
    cell, q, r = np.diag([11.0, 12.0, 13.0]), rng.normal(size=20), rng.random((20, 3)) * 11
    q -= q.mean()
    few = DampedEwald(1e-6)
    few.whole_vectors = lambda cell: torch.tensor(np.array(_ball(np.diag(cell.numpy()), 5.9)), dtype=torch.float64)
    exact = few.forces(torch.tensor(q), torch.tensor(r), torch.tensor(cell)).numpy()
    found = checks.long_waves(q, r, cell, 5.9)
    assert np.abs(exact).max() > 0.1 and np.allclose(found, exact, rtol=1e-6)


def _ball(edges, length):
    """Whole numbers of waves longer than a length, one of each pair."""
    grid = [m for m in np.ndindex(9, 9, 9)]
    waves = [np.array(m) - 4 for m in grid]
    return [m for m in waves if tuple(m) > (0, 0, 0) and np.linalg.norm(m / edges) < 0.999 / length]
