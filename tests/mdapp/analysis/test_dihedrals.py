"""Torsions that were set are the torsions that are measured."""
from __future__ import annotations

import mdtraj
import numpy as np
import pytest
from ase import Atoms

from mdapp.analysis.dihedrals import Ramachandran, backbone_torsions, free_energy, ramachandran, torsion_deg


def ace_ala_nme() -> tuple[mdtraj.Topology, np.ndarray]:
    """Backbone of capped alanine, heavy atoms only, drawn in a plane: all torsions 180 degrees. Topology, positions (10, 3) in Å."""
    topology = mdtraj.Topology()
    chain = topology.add_chain()
    rows = [("ACE", ["CH3", "C", "O"]), ("ALA", ["N", "CA", "CB", "C", "O"]), ("NME", ["N", "CH3"])]
    for number, (name, atoms) in enumerate(rows, 1):
        residue = topology.add_residue(name, chain, resSeq=number)
        for atom in atoms:
            topology.add_atom(atom, mdtraj.element.Element.getBySymbol(atom[0]), residue)
    chain_atoms = [0, 1, 3, 4, 6, 8, 9]  # CH3 C N CA C N CH3
    positions = np.zeros((10, 3))
    for k, atom in enumerate(chain_atoms):
        positions[atom] = (1.25 * k, 0.7 * (k % 2), 0.0)
    positions[2], positions[7], positions[5] = positions[1] + (0, 1.2, 0), positions[6] - (0, 1.2, 0), positions[4] + (0, 0.6, 1.3)
    return topology, positions


def test_capped_alanine_has_one_residue_with_both_angles():
    topology, _ = ace_ala_nme()
    torsions = backbone_torsions(topology)
    assert torsions.residues == ("ALA2",)
    assert torsions.phi.tolist() == [[1, 3, 4, 6]] and torsions.psi.tolist() == [[3, 4, 6, 8]]


def test_phi_and_psi_that_are_set_are_measured():
    topology, positions = ace_ala_nme()
    torsions = backbone_torsions(topology)
    wanted = np.random.default_rng(1).uniform(-179, 179, size=(40, 2))
    frames = []
    for phi, psi in wanted:
        atoms = Atoms("X10", positions)
        atoms.set_dihedral(1, 3, 4, 6, phi, indices=[5, 6, 7, 8, 9])
        atoms.set_dihedral(3, 4, 6, 8, psi, indices=[7, 8, 9])
        frames.append(atoms.positions)
    found = ramachandran(np.arange(40.0), np.array(frames), torsions)
    assert found.phi_deg[:, 0] == pytest.approx(wanted[:, 0]) and found.psi_deg[:, 0] == pytest.approx(wanted[:, 1])


def test_agrees_with_mdtraj_on_random_atoms():
    rng = np.random.default_rng(2)
    positions = rng.normal(size=(30, 8, 3)) * 2
    atoms = np.array([rng.permutation(8)[:4] for _ in range(10)])
    trajectory = mdtraj.Trajectory(positions / 10, None)
    assert torsion_deg(positions, atoms) == pytest.approx(np.degrees(mdtraj.compute_dihedrals(trajectory, atoms, periodic=False)), abs=0.02)  # float32


def test_water_has_no_backbone():
    topology = mdtraj.Topology()
    residue = topology.add_residue("HOH", topology.add_chain())
    for name in ("O", "H1", "H2"):
        topology.add_atom(name, mdtraj.element.Element.getBySymbol(name[0]), residue)
    torsions = backbone_torsions(topology)
    assert torsions.residues == () and len(torsions.phi) == 0


def test_helix_and_strand_are_told_apart_and_shares_sum_to_one(tmp_path):
    topology, _ = ace_ala_nme()
    angles = np.array([[-60, -45], [-65, -40], [-120, 130], [-75, 150], [175, -175], [55, 45], [150, -100]], dtype=float)
    series = Ramachandran(np.arange(7.0), ("ALA2",), angles[:, :1], angles[:, 1:])
    shares = series.populations()
    assert shares["alpha"] == pytest.approx(2 / 7) and shares["beta and PPII"] == pytest.approx(3 / 7)
    assert shares["left-handed"] == pytest.approx(1 / 7)
    assert shares["other"] == pytest.approx(1 / 7)
    series.to_csv(tmp_path / "r.csv")
    lines = (tmp_path / "r.csv").read_text().splitlines()
    assert lines[0] == "time_ps,phi_ALA2_deg,psi_ALA2_deg" and lines[1] == "0,-60.000,-45.000" and len(lines) == 8


def test_free_energy_of_a_known_density():
    phi = np.repeat([-65.0, 55.0], [1000, 100])
    edges, energy = free_energy(phi, np.zeros(1100))
    seen = np.sort(energy[np.isfinite(energy)])
    assert seen == pytest.approx([0.0, np.log(10)]) and len(edges) == 37
