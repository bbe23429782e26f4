"""Protonation, bridges, hands and peptide bonds, over all forms and over real files."""
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from peptides import build

from mdapp.structure import read_structure
from mdapp.topology import find_bonds, topology_of
from mdapp.topology.states import residue_states

SHARED = Path(__file__).parents[4] / "shared" / "structures"
CHANGES = {  # form: residue, atoms that get (+) or lose (-) a hydrogen, charge
    "HIE": ("HIS", "", 0), "HID": ("HIS", "-NE2 +ND1", 0), "HIP": ("HIS", "+ND1", 1), "ASP": ("ASP", "", -1), "ASH": ("ASP", "+OD2", 0), "GLU": ("GLU", "", -1),
    "GLH": ("GLU", "+OE2", 0), "LYS": ("LYS", "", 1), "LYN": ("LYS", "-NZ", 0), "CYS": ("CYS", "", 0), "CYM": ("CYS", "-SG", -1), "TYR": ("TYR", "", 0),
    "TYM": ("TYR", "-OH", -1), "ARG": ("ARG", "", 1), "ARN": ("ARG", "-NH1", 0), "SER": ("SER", "", 0),
}  # fmt: skip


def states_of(numbers, bonds, positions=None, seed=None):
    """States of a graph, its atoms shuffled where there is a seed."""
    order = np.arange(len(numbers)) if seed is None else np.random.default_rng(seed).permutation(len(numbers))
    positions = np.random.default_rng(0).normal(size=(len(numbers), 3)) if positions is None else positions
    atoms = Atoms(numbers=np.asarray(numbers)[order], positions=positions[order])
    return residue_states(topology_of(atoms, np.argsort(order)[bonds]), atoms.positions)


def edited(builder, words):
    """The builder's graph with hydrogens added and taken away at named atoms of its middle residue."""
    numbers, bonds = builder.arrays()
    numbers, bonds, drop = numbers.tolist(), bonds.tolist(), set()
    for word in words.split():
        heavy = next(k for k, (number, _, name) in enumerate(builder.names) if number == 2 and name == word[1:])
        if word[0] == "+":
            numbers.append(1)
            bonds.append([heavy, len(numbers) - 1])
        else:
            drop.add(next(b for a, b in bonds if a == heavy and numbers[b] == 1))
    kept = [k for k in range(len(numbers)) if k not in drop]
    new = {old: k for k, old in enumerate(kept)}
    return np.array([numbers[k] for k in kept]), np.array([[new[a], new[b]] for a, b in bonds if a in new and b in new])


@pytest.mark.parametrize("form", CHANGES)
def test_every_protonation_state_is_told_by_its_graph_in_any_order(form):
    residue, words, charge = CHANGES[form]
    numbers, bonds = edited(build(["GLY", residue, "ALA"]), words)
    for seed in (None, 1, 2):
        found = states_of(numbers, bonds, seed=seed)
        assert [s.form for s in found] == ["GLY", form, "ALA"] and [s.charge for s in found] == [0, charge, 0]
        assert found[1].residue.startswith(residue)  # names in files stay those of the PDB


def test_charged_ends_count():
    builder = build(["ALA", "GLY", "ALA"], head=None, tail=None)
    assert [s.charge for s in states_of(*builder.arrays())] == [1, 0, -1]


def test_a_bridge_names_both_partners():
    builder = build(["CYS", "GLY", "CYS"], disulfides=((0, 2),))
    found = states_of(*builder.arrays(), seed=3)
    assert [s.form for s in found] == ["CYX", "GLY", "CYX"]
    assert found[0].disulfide == found[2].residue and found[2].disulfide == found[0].residue and not found[1].disulfide


@pytest.mark.skipif(not SHARED.is_dir(), reason="the start structures beside the repository are not here")
@pytest.mark.parametrize(("name", "charge"), [("chignolin.pdb", -2), ("trpcage.pdb", -1), ("ww_domain.pdb", 3), ("villin_1vii_3frames.pdb", 2), ("alanine_dipeptide.xyz", 0)])
def test_real_peptides_stripped_and_shuffled_are_l_trans_and_carry_their_charge(name, charge):
    atoms = read_structure(SHARED / name)
    bonds = find_bonds(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc)
    found = states_of(atoms.numbers, bonds, atoms.positions, seed=4)
    assert {s.hand for s in found} - {""} == {"L"} and all(s.hand or s.form == "GLY" for s in found)
    assert {s.omega for s in found} - {""} == {"trans"}
    assert sum(s.charge for s in found) == charge
    mirrored = states_of(atoms.numbers, bonds, atoms.positions * [1, 1, -1], seed=4)
    assert {s.hand for s in mirrored} - {""} == {"D"} and {s.omega for s in mirrored} - {""} == {"trans"}


@pytest.mark.skipif(not SHARED.is_dir(), reason="the start structures beside the repository are not here")
def test_a_turned_peptide_bond_is_cis():
    atoms = read_structure(SHARED / "alanine_dipeptide.xyz")
    bonds = find_bonds(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc)
    topology = topology_of(atoms, bonds)
    at = {(a.residue.name, a.name): a.index for a in topology._atoms}
    ace = [a.index for a in topology._atoms if a.residue.name == "ACE" and a.name != "C"]
    four = at["ALA", "CA"], at["ALA", "N"], at["ACE", "C"], at["ACE", "CH3"]
    atoms.set_dihedral(*four, 5.0, indices=ace)
    assert residue_states(topology, atoms.positions)[0].omega == "cis"
