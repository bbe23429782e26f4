"""Topologies for mdtraj: torsions, orders, PDB files."""
from __future__ import annotations

from pathlib import Path

import mdtraj
import numpy as np
import pytest
from ase import Atoms

from mdapp.errors import OutputError
from mdapp.structure import read_structure
from mdapp.topology import in_residue_order, phi_psi, reordered, topology_of, write_pdb

# ACE-ALA-NME, C7eq-like, Å; built by hand from standard bond lengths and angles
DIPEPTIDE = """22

H 2.000 1.000 -0.000
C 2.000 2.090 0.000
H 1.486 2.454 0.890
H 1.486 2.454 -0.890
C 3.427 2.641 -0.000
O 4.391 1.877 -0.000
N 3.555 3.970 -0.000
H 2.733 4.556 -0.000
C 4.853 4.614 -0.000
H 5.408 4.316 0.890
C 5.661 4.221 -1.232
H 5.123 4.521 -2.131
H 6.630 4.719 -1.206
H 5.809 3.141 -1.241
C 4.713 6.129 0.000
O 3.601 6.653 0.000
N 5.846 6.835 0.000
H 6.737 6.359 -0.000
C 5.846 8.284 0.000
H 4.819 8.648 0.000
H 6.360 8.648 0.890
H 6.360 8.648 -0.890
"""
SHARED = Path(__file__).parents[4] / "shared" / "structures"


@pytest.fixture
def dipeptide(tmp_path) -> Atoms:
    path = tmp_path / "dipeptide.xyz"
    path.write_text(DIPEPTIDE)
    return read_structure(path)


def angles(atoms, topology):
    trajectory = mdtraj.Trajectory(atoms.positions[None] / 10, topology)
    return [np.degrees(compute(trajectory)[1]).ravel() for compute in (mdtraj.compute_phi, mdtraj.compute_psi)]


def test_a_dipeptide_is_ace_ala_nme_with_its_torsions(dipeptide):
    topology = topology_of(dipeptide)
    assert [residue.name for residue in topology.residues] == ["ACE", "ALA", "NME"]
    phi, psi = phi_psi(topology)
    assert phi.tolist() == [[4, 6, 8, 14]] and psi.tolist() == [[6, 8, 14, 16]]
    found = angles(dipeptide, topology)
    assert np.allclose(np.abs(found), 180, atol=0.1)  # built planar
    assert topology.n_bonds == 21


@pytest.mark.parametrize("seed", range(5))
def test_a_shuffle_gives_the_same_torsions(dipeptide, seed):
    rng = np.random.default_rng(seed)
    dipeptide.rattle(0.05, rng=rng)
    expected = angles(dipeptide, topology_of(dipeptide))
    order = rng.permutation(len(dipeptide))
    shuffled = dipeptide[order]
    topology = topology_of(shuffled)
    assert [residue.name for residue in topology.residues] == ["ACE", "ALA", "NME"]
    assert np.allclose(angles(shuffled, topology), expected, atol=1e-2)
    ordered, back = in_residue_order(topology)
    assert np.allclose(angles(shuffled[back], ordered.copy()), expected, atol=1e-2)  # a copy is sound in residue order


def test_reordering_there_and_back_is_nothing(dipeptide):
    topology = topology_of(dipeptide[np.random.default_rng(1).permutation(22)])
    ordered, order = in_residue_order(topology)
    again = reordered(ordered, np.argsort(order))
    assert [(a.name, a.residue.index, a.element.number) for a in again._atoms] == [(a.name, a.residue.index, a.element.number) for a in topology._atoms]
    pairs = [{frozenset((bond.atom1.index, bond.atom2.index)) for bond in t.bonds} for t in (topology, again)]
    assert pairs[0] == pairs[1]


def test_names_of_a_file_are_kept_and_empty_ones_are_not(dipeptide):
    named = dipeptide.copy()
    named.set_array("atomtypes", np.array([f"X{k}" for k in range(22)]))
    named.set_array("residuenames", np.array(["DPP"] * 22))
    named.set_array("residuenumbers", np.full(22, 7))
    topology = topology_of(named)
    assert [str(residue) for residue in topology.residues] == ["DPP7"] and topology.atom(3).name == "X3"
    named.set_array("residuenames", np.array(["UNK"] * 22))
    assert [residue.name for residue in topology_of(named).residues] == ["ACE", "ALA", "NME"]


def test_a_written_pdb_reads_back_with_names_and_bonds(dipeptide, tmp_path):
    shuffled = dipeptide[np.random.default_rng(2).permutation(22)]
    topology = topology_of(shuffled)
    write_pdb(tmp_path / "topology.pdb", shuffled.positions, topology)
    assert [p.name for p in tmp_path.glob("topology*")] == ["topology.pdb"]
    trajectory = mdtraj.load(str(tmp_path / "topology.pdb"))
    assert [residue.name for residue in trajectory.topology.residues] == ["ACE", "ALA", "NME"]
    assert trajectory.topology.n_bonds == 21
    assert np.allclose([np.degrees(c(trajectory)[1]).ravel() for c in (mdtraj.compute_phi, mdtraj.compute_psi)], angles(shuffled, topology), atol=0.2)
    again = read_structure(tmp_path / "topology.pdb")
    assert np.allclose(again.positions, shuffled.positions[in_residue_order(topology)[1]], atol=1e-3)
    with pytest.raises(OutputError):
        write_pdb(tmp_path / "no" / "topology.pdb", shuffled.positions, topology)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the start structures beside the repository are not here")
@pytest.mark.parametrize(("name", "n_alanines"), [("alanine_dipeptide.xyz", 1), ("ac_ala3_nhme.xyz", 3), ("ac_ala15_nhme_folded.xyz", 15)])
def test_alanine_peptides(name, n_alanines):
    atoms = read_structure(SHARED / name)
    for seed in (None, 0, 1):
        order = np.arange(len(atoms)) if seed is None else np.random.default_rng(seed).permutation(len(atoms))
        topology = topology_of(atoms[order])
        assert [residue.name for residue in topology.residues] == ["ACE", *["ALA"] * n_alanines, "NME"]
        assert len(phi_psi(topology)[0]) == len(phi_psi(topology)[1]) == n_alanines
        found = angles(atoms[order], topology)
        assert np.allclose(found, angles(atoms, topology_of(atoms)), atol=1e-2)
    if name.startswith("ac_ala15"):
        assert np.median(found[0]) == pytest.approx(-63, abs=10) and np.median(found[1]) == pytest.approx(-42, abs=10)  # an alpha helix
