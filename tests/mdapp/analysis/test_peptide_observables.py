"""Shapes, hydrogen bonds, secondary structure, contacts, torsions and conformers, against MDTraj and motions that are known."""
from __future__ import annotations

from pathlib import Path

import mdtraj
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mdapp.analysis.blocks import BlockMeans
from mdapp.analysis.bond_statistics import angles_of, bond_statistics
from mdapp.analysis.chunks import chunks_of, tally_all
from mdapp.analysis.clusters import clusters, rmsd_matrix
from mdapp.analysis.contacts import contact_map
from mdapp.analysis.dihedrals import Ramachandran
from mdapp.analysis.free_energy import KJ_PER_MOL_K, basin_free_energies, basin_populations, free_energy_surface
from mdapp.analysis.hydrogen_bonds import hydrogen_bonds
from mdapp.analysis.rmsd import rmsd
from mdapp.analysis.rmsf import RmsfTally, rmsf
from mdapp.analysis.secondary_structure import secondary_structure
from mdapp.analysis.shape import GyrationTally, RmsdTally, end_to_end, gyration_series, rmsd_series
from mdapp.analysis.statistics import mean_with_error
from mdapp.analysis.torsions import all_torsions, circular_mean, torsion_series

from .series import frames_of

SHARED = Path(__file__).parents[4] / "shared" / "structures"
needs_structures = pytest.mark.skipif(not SHARED.is_dir(), reason="the start structures beside the repository are not here")


@pytest.fixture(scope="module")
def helix():
    """Folded Ac-Ala15-NHMe with noise: elements and coordinates alone, shuffled; our frames and the same for mdtraj."""
    from mdapp.structure import read_structure
    from mdapp.topology import in_residue_order, topology_of

    atoms = read_structure(SHARED / "ac_ala15_nhme_folded.xyz")
    atoms = atoms[np.random.default_rng(1).permutation(len(atoms))]
    positions = atoms.positions + 0.08 * np.random.default_rng(2).standard_normal((12, len(atoms), 3))
    positions[0] = atoms.positions
    topology, order = in_residue_order(topology_of(atoms))
    return frames_of(positions, atoms.numbers), mdtraj.Trajectory(0.1 * positions[:, order], topology, time=np.arange(12) * 0.001), order


@needs_structures
def test_our_frames_and_mdtraj_give_the_same_numbers(helix):
    frames, trajectory, order = helix
    assert rmsd_series(frames).rmsd_A == pytest.approx(rmsd_series(trajectory).rmsd_A, abs=1e-4)
    masses = np.array([a.element.mass for a in trajectory.topology.atoms])
    off = np.linalg.norm(mdtraj.compute_center_of_mass(trajectory) - trajectory.xyz.mean(axis=1), axis=1)  # mdtraj measures from the middle of the atoms
    theirs = 10 * np.sqrt(mdtraj.compute_rg(trajectory, masses) ** 2 - off**2)
    assert gyration_series(frames, np.arange(len(order))).radius_A == pytest.approx(theirs, abs=2e-3)
    heavy = np.array([k for k, atom in enumerate(trajectory.topology.atoms) if atom.element.symbol != "H"])
    assert rmsd_series(frames, order[heavy]).rmsd_A == pytest.approx(10 * mdtraj.rmsd(trajectory, trajectory, 0, heavy), abs=2e-3)
    ends = end_to_end(frames)
    assert ends.ends == ("ACE1-CH3", "NME17-C")
    assert ends.distance_A == pytest.approx(end_to_end(trajectory).distance_A, abs=1e-4)


@needs_structures
@pytest.mark.parametrize("dense", [True, False])
@pytest.mark.parametrize("criterion, theirs", [("baker-hubbard", "baker_hubbard"), ("wernet-nilsson", "wernet_nilsson")])
def test_hydrogen_bonds_are_those_of_mdtraj(helix, criterion, theirs, dense, monkeypatch):
    frames, trajectory, order = helix
    if not dense:
        monkeypatch.setattr("mdapp.analysis.hydrogen_bonds.DENSE", 0)
    found = hydrogen_bonds(frames, criterion)
    for k in (0, 5):
        one = getattr(mdtraj, theirs)(trajectory[k], **({"freq": 0.0} if theirs == "baker_hubbard" else {}))
        one = one[0] if theirs == "wernet_nilsson" else one
        assert {tuple(bond) for bond, at in zip(found.bonds.tolist(), found.events) if k in at} == {tuple(b) for b in order[one].tolist()}
        assert found.count[k] == len(one) > 5
    assert "-N-H...ALA" in found.labels[0] or "-N-H...ACE" in found.labels[0]
    assert found.share == pytest.approx([len(at) / 12 for at in found.events]) and found.mean_count.value == pytest.approx(found.share.sum())


@pytest.mark.parametrize("dense", [True, False])
def test_hydrogen_bonds_of_water_go_through_walls(dense, monkeypatch):
    if not dense:
        monkeypatch.setattr("mdapp.analysis.hydrogen_bonds.DENSE", 0)
    dimer = np.array([[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0], [2.9, 0, 0], [3.2, 0.8, 0.4], [3.2, -0.8, 0.4]])
    shifts = np.random.default_rng(13).uniform(0, 10, (30, 1, 3))
    numbers = [8, 1, 1] * 2
    for criterion in ("baker-hubbard", "wernet-nilsson"):
        found = hydrogen_bonds(frames_of((dimer + shifts) % 8.0, numbers, cell=[8.0] * 3), criterion, water=True)
        assert found.bonds.tolist() == [[0, 1, 3]] and found.share.tolist() == [1.0] and found.share_error.tolist() == [0.0]
    assert len(hydrogen_bonds(frames_of((dimer + shifts) % 8.0, numbers, cell=[8.0] * 3)).bonds) == 0  # water is left out unless it is asked for


@needs_structures
def test_a_helix_is_a_helix_with_contacts_of_its_turns(helix):
    frames, trajectory, _ = helix
    found = secondary_structure(frames)
    assert found.residues[0] == "ALA2" and len(found.residues) == 15
    assert found.content()["H"].value > 0.6 and found.shares()["H"][0][5] > 0.8
    assert np.array_equal(found.codes, secondary_structure(trajectory).codes)
    touching = contact_map(frames)
    pairs = [(2, 6), (4, 8), (0, 12)]
    assert touching.distance_A[tuple(zip(*pairs))] == pytest.approx(10 * mdtraj.compute_contacts(trajectory, pairs, periodic=False)[0].mean(axis=0), abs=1e-3)
    assert touching.share[4, 8] == 1 and touching.share[0, 12] == 0 and np.isnan(touching.share[4, 6])


@needs_structures
def test_torsions_are_those_of_mdtraj_and_all_are_trans(helix):
    frames, trajectory, _ = helix
    found = torsion_series(frames)
    omega = found.of("omega")
    assert len(omega.names) == 16 and omega.cis_share().max() == 0
    assert (omega.names[0], omega.names[-1]) == ("omega ACE1-ALA2", "omega ALA16-NME17")
    assert np.allclose(np.cos(np.radians(omega.angles_deg[:, 1:-1])), np.cos(mdtraj.compute_omega(trajectory)[1]), atol=1e-3)
    phi = found.of("phi")
    assert phi.names[0] == "phi ALA2" and np.allclose(phi.angles_deg, np.degrees(mdtraj.compute_phi(trajectory)[1]), atol=0.05)
    assert np.median([mean.value_deg for mean in phi.means()]) == pytest.approx(-63, abs=10) and min(mean.order for mean in phi.means()) > 0.9


@needs_structures
def test_one_reading_serves_several_observables_in_pieces(helix):
    frames, trajectory, _ = helix
    pieces = iter([trajectory[:5], trajectory[5:6], trajectory[6:]])
    by_rmsd, by_size, moves = tally_all([RmsdTally(), GyrationTally(), RmsfTally()], pieces)
    assert by_rmsd.rmsd_A == pytest.approx(rmsd_series(trajectory).rmsd_A) and len(by_size.time_ps) == 12
    assert moves.rmsf_A == pytest.approx(rmsf(trajectory).rmsf_A)


@needs_structures
def test_side_chains_have_their_chi_angles():
    trajectory = mdtraj.load(str(SHARED / "chignolin.pdb"))
    names, atoms = all_torsions(trajectory.topology, ("chi1", "chi2"))
    assert sum(name.startswith("chi1") for name in names) == len(mdtraj.compute_chi1(trajectory)[0]) and atoms.shape == (len(names), 4)
    assert any("TYR" in name for name in names)


def test_fluctuations_are_the_noise_that_was_put_in():
    rng = np.random.default_rng(3)
    shape = 4 * rng.standard_normal((25, 3))
    moved = shape + 0.1 * rng.standard_normal((2000, 25, 3))
    turned = np.einsum("fix,fxy->fiy", moved, Rotation.random(2000, rng=np.random.default_rng(4)).as_matrix()) + 7
    found = rmsf(frames_of(turned, [6] * 25), np.arange(25), shape)
    exact = 0.1 * np.sqrt(3 * (1 - 6 / 75))  # six of 75 degrees of freedom went into the superposition
    assert np.sqrt(np.mean(found.rmsf_A**2)) == pytest.approx(exact, rel=0.01)
    assert found.error_A.mean() == pytest.approx(exact / np.sqrt(6 * 2000), rel=0.2)  # of the root of a sum of three squares


def test_rmsf_is_that_of_mdtraj():
    rng = np.random.default_rng(5)
    positions = 4 * rng.standard_normal((12, 3)) + 0.1 * rng.standard_normal((50, 12, 3))
    trajectory = mdtraj.Trajectory(0.1 * positions, None)
    found = rmsf(frames_of(positions, [6] * 12), np.arange(12))
    fitted = trajectory.superpose(trajectory[0])
    theirs = 10 * fitted.xyz.std(axis=0)
    assert found.rmsf_A == pytest.approx(np.sqrt(np.sum(theirs.astype(float) ** 2, axis=1)), rel=1e-3)


def test_two_shapes_make_two_clusters():
    rng = np.random.default_rng(6)
    shapes = 3 * rng.standard_normal((2, 10, 3))
    which = (np.arange(90) // 15) % 3 == 2
    positions = shapes[which.astype(int)] + 0.02 * rng.standard_normal((90, 10, 3))
    for method in ("gromos", "average"):
        found = clusters(frames_of(positions, [6] * 10), 0.5, np.arange(10), method)
        assert np.array_equal(found.labels == 1, which) and len(found.centres) == 2
        assert found.populations()[1].value == pytest.approx(1 / 3) and found.transitions == 3
    thinned = clusters(frames_of(positions, [6] * 10), 0.5, np.arange(10), most=20)
    assert len(thinned.frames) <= 20 and np.array_equal(thinned.labels == 1, which[thinned.frames])
    assert rmsd_matrix(positions[:6])[0] == pytest.approx(rmsd(positions[:6], positions[0]), abs=2e-3)


def test_circular_mean_knows_the_circle():
    angles = 179 + 10 * np.random.default_rng(7).standard_normal(4000)
    found = circular_mean((angles + 180) % 360 - 180)
    assert abs((found.value_deg - 179 + 180) % 360 - 180) < 4 * found.error_deg and found.error_deg == pytest.approx(10 / np.sqrt(4000), rel=0.15)
    assert found.order == pytest.approx(np.exp(-np.radians(10) ** 2 / 2), abs=2e-3)


def test_free_energy_of_two_basins_with_its_error():
    rng = np.random.default_rng(8)
    there = rng.random(6000) < 0.2
    phi = np.where(there, 55.0, -65.0)[:, None]
    angles = Ramachandran(np.arange(6000.0), ("ALA2",), phi, np.where(there, 45.0, -45.0)[:, None])
    exact = -KJ_PER_MOL_K * 300 * np.log(0.2 / 0.8)
    surface = free_energy_surface(angles, 300.0, "ALA2")
    seen = np.sort(surface.F_kJ_mol[np.isfinite(surface.F_kJ_mol)])
    assert len(seen) == 2 and seen[1] == pytest.approx(exact, abs=0.3) and surface.minimum_deg == (-65.0, -45.0)
    share = basin_populations(angles)["left-handed"]
    assert share.value == pytest.approx(there.mean()) and share.error == pytest.approx(np.sqrt(0.16 / 6000), rel=0.2)
    value, error = basin_free_energies(angles, 300.0)["left-handed"]
    assert abs(value - exact) < 4 * error and np.nanmax(surface.error_kJ_mol) == pytest.approx(error, rel=0.35)
    with pytest.raises(ValueError, match="No residue 'ALA9'"):
        free_energy_surface(angles, 300.0, "ALA9")


def test_bond_and_angle_distributions_of_a_harmonic_water():
    make = lambda r0, seed: frames_of(_waters(r0, np.random.default_rng(seed)), [8, 1, 1], cell=[9.0] * 3)
    found, again, longer = (bond_statistics(make(r0, seed)) for r0, seed in ((0.97, 1), (0.97, 2), (1.10, 3)))
    bonds, angle = found.bonds["H-O"], found.angles["H-O-H"]
    assert bonds.count == 2 and angle.count == 1 and bonds.mean == pytest.approx(0.97, abs=4 * bonds.mean_error) and bonds.deviation == pytest.approx(0.02, rel=0.1)
    assert angle.mean == pytest.approx(104.5, abs=4 * angle.mean_error) and np.sum(angle.density * np.diff(angle.edges)) == pytest.approx(1)
    assert again.differences(found)["H-O"] < 0.15 and longer.differences(found)["H-O"] > 0.9
    assert angles_of(4, np.array([[0, 1], [0, 2], [0, 3]])).tolist() == [[1, 0, 2], [1, 0, 3], [2, 0, 3]]


def _waters(r0, rng, n=500):
    """Waters with Gaussian bonds (0.02 Å) and angles (4°), drifting through the walls of a box of 9 Å."""
    a, b = r0 + 0.02 * rng.standard_normal((2, n))
    angle = np.radians(104.5 + 4 * rng.standard_normal(n))
    zero = np.zeros(n)
    water = np.stack([np.stack([zero, zero, zero], 1), np.stack([a, zero, zero], 1), np.stack([b * np.cos(angle), b * np.sin(angle), zero], 1)], axis=1)
    return (water + 9 * rng.random((n, 1, 3))) % 9.0


def test_block_means_are_means_and_their_errors_those_of_the_series():
    x = np.random.default_rng(10).standard_normal((100, 3))
    few = BlockMeans()
    for part in np.array_split(x, 7):
        few.add(part)
    assert few.mean == pytest.approx(x.mean(axis=0)) and few.error == pytest.approx([mean_with_error(c).error for c in x.T])
    a = np.empty((20000, 5))
    a[0] = 0
    noise = np.random.default_rng(12).standard_normal(a.shape)
    for k in range(1, len(a)):
        a[k] = 0.9 * a[k - 1] + noise[k]
    many = BlockMeans()
    for part in np.array_split(a, 31):
        many.add(part)
    assert many.mean == pytest.approx(a.mean(axis=0)) and 64 <= len(many.series) < 128
    assert many.error == pytest.approx([mean_with_error(c).error for c in a.T], rel=0.35)  # the error of an error of 80 blocks


def test_chunks_refuse_what_is_no_trajectory():
    with pytest.raises(ValueError, match="no frames"):
        list(chunks_of([]))
    with pytest.raises(TypeError, match="got int"):
        list(chunks_of([1, 2]))
    odd = frames_of(np.zeros((1, 3, 3)), [8, 1, 1]) + frames_of(np.zeros((1, 2, 3)), [8, 1])
    with pytest.raises(ValueError, match="Frame 1 holds other atoms"):
        list(chunks_of(odd))
    with pytest.raises(ValueError, match="No peptide"):
        torsion_series(frames_of(np.eye(3)[None], [8, 1, 1]))
    with pytest.raises(ValueError, match="No peptide"):
        secondary_structure(frames_of(np.eye(3)[None], [8, 1, 1]))


def test_frames_are_read_as_they_are_needed():
    read = []

    def frames():
        for frame in frames_of(np.zeros((700, 2, 3)), [6, 6]):
            read.append(frame.step)
            yield frame

    sizes = []
    for chunk in chunks_of(frames()):
        sizes.append(len(chunk))
        assert len(read) <= sum(sizes) + 1
    assert sizes == [256, 256, 188]
