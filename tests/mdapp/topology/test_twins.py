"""Like atoms get the numbers that files have, from the hand of their positions."""
from __future__ import annotations

from pathlib import Path

import mdtraj
import numpy as np
import pytest
from ase import Atoms

from mdapp.analysis.torsions import all_torsions
from mdapp.structure import read_structure
from mdapp.topology import topology_of
from mdapp.topology.residues import Chain, Residue
from mdapp.topology.twins import tell_twins

SHARED = Path(__file__).parents[4] / "shared" / "structures"
SHAPE = np.array([[0, 0, 0], [0, 0, -1.5], [1.4, 0, 0.5], [-0.7, 1.2, 0.5]])  # CG, CB, CD1, CD2 of leucine: seen from CB the first is to the left of the second


def leucine(positions) -> dict[int, str]:
    atoms = Atoms("C6", positions=np.vstack([positions, [[0, 1, -2], [3, 3, 3]]]))
    residue = Residue("LEU", {0: "CG", 1: "CB", 2: "CD1", 3: "CD2", 4: "CA", 5: "HD11"})
    return tell_twins([Chain([residue])], atoms)[0].residues[0].atoms


def test_the_pro_r_methyl_is_the_first_and_takes_its_hydrogens_along():
    told, mirrored = leucine(SHAPE), leucine(SHAPE * [1, -1, 1])
    assert {told[2], told[3]} == {mirrored[2], mirrored[3]} == {"CD1", "CD2"} and told[2] != mirrored[2]
    triple = np.dot(SHAPE[1], np.cross(SHAPE[2], SHAPE[3]))
    assert (told[2] == "CD1") == (triple < 0)


def test_a_residue_that_is_no_amino_acid_is_left_alone():
    residue = Residue("UNL", {0: "C1", 1: "C2"})
    assert tell_twins([Chain([residue])], Atoms("C2", positions=[[0, 0, 0], [1.5, 0, 0]]))[0].residues[0].atoms == residue.atoms


def stripped(name: str, seed: int):
    """The file's names and ours for elements and coordinates alone, shuffled, by the file's atom; and how it was shuffled."""
    atoms = read_structure(SHARED / name)
    order = np.random.default_rng(seed).permutation(len(atoms))
    topology = topology_of(Atoms(numbers=atoms.numbers[order], positions=atoms.positions[order], cell=atoms.cell, pbc=atoms.pbc))
    ours = {int(order[atom.index]): (atom.residue.name, atom.name) for atom in topology.atoms}
    written = {k: (own, at) for k, (own, at) in enumerate(zip(atoms.arrays["residuenames"].tolist(), (str(a).strip() for a in atoms.arrays["atomtypes"])))}
    return atoms, written, ours, topology, order


@pytest.mark.skipif(not SHARED.is_dir(), reason="the start structures beside the repository are not here")
@pytest.mark.parametrize("name", ["chignolin.pdb", "trpcage.pdb", "ww_domain.pdb", "villin_1vii_3frames.pdb"])
def test_methyls_and_methylenes_have_the_names_of_the_files(name):
    for seed in (1, 2):
        atoms, written, ours, _, _ = stripped(name, seed)
        checked = 0
        for k, (residue, at) in written.items():
            twin = residue in ("VAL", "LEU") and at in ("CG1", "CG2", "CD1", "CD2") or at in ("HB2", "HB3", "HA2", "HA3") and residue != "ALA"
            twin |= at in ("HG2", "HG3", "HD2", "HD3", "HE2", "HE3") and residue in ("ARG", "GLN", "GLU", "LYS", "MET", "PRO") and (residue, at[:2]) != ("MET", "HE")
            if twin:
                assert ours[k][1] == at, residue
                checked += 1
        assert checked >= 20


@pytest.mark.skipif(not SHARED.is_dir(), reason="the start structures beside the repository are not here")
def test_a_file_that_was_never_shaken_gets_back_every_heavy_name():
    atoms, written, ours, _, _ = stripped("villin_1vii_3frames.pdb", 3)
    wrong = {written[k] for k in written if atoms.numbers[k] > 1 and written[k] != ours[k]}
    assert wrong <= {("PHE", "O"), ("PHE", "OXT")}  # of the end alone, whose two oxygens are one


@pytest.mark.skipif(not SHARED.is_dir(), reason="the start structures beside the repository are not here")
def test_side_chain_torsions_of_stripped_coordinates_are_those_of_the_file():
    _, _, _, topology, order = stripped("villin_1vii_3frames.pdb", 4)
    file = mdtraj.load(str(SHARED / "villin_1vii_3frames.pdb"))[0]

    for chi in ("chi1", "chi2"):
        names, four = all_torsions(file.topology, (chi,))
        own_names, own_four = all_torsions(topology, (chi,))
        angle = lambda quartets: mdtraj.compute_dihedrals(file, quartets)[0]
        theirs = dict(zip(names, angle(np.asarray(four))))
        ours = dict(zip(own_names, angle(order[np.asarray(own_four)])))
        assert len(ours) == len(theirs) > 20
        assert np.allclose(np.sort(list(ours.values())), np.sort(list(theirs.values())), atol=1e-4)
