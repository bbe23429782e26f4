"""Residues from bonds alone, over all twenty amino acids, caps, termini and atom orders."""
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from peptides import build

from mdapp.structure import read_structure
from mdapp.topology import find_bonds
from mdapp.topology.residues import perceive
from mdapp.topology.sidechains import SIDE_CHAINS

SHARED = Path(__file__).parents[4] / "shared" / "structures"


def perceived(numbers, bonds):
    """For each atom: (residue's running number, residue, atom)."""
    result, k = {}, 0
    for chain in perceive(numbers, bonds):
        for residue in chain.residues:
            result.update({atom: (k, residue.name, name) for atom, name in residue.atoms.items()})
            k += 1
    assert sorted(result) == list(range(len(numbers)))
    return [result[atom] for atom in range(len(numbers))]


@pytest.mark.parametrize("residue", SIDE_CHAINS)
@pytest.mark.parametrize(("head", "tail"), [("ACE", "NME"), (None, None), ("ACE", "NH2")])
def test_every_amino_acid_gets_the_names_of_the_pdb(residue, head, tail):
    builder = build(["GLY", residue, "ALA"], head, tail)
    assert perceived(*builder.arrays()) == builder.names


@pytest.mark.parametrize("residue", SIDE_CHAINS)
def test_a_shuffle_changes_no_residue_and_no_set_of_names(residue):
    builder = build([residue, "SER", residue])
    numbers, bonds = builder.arrays()
    expected = sorted(builder.names)
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(len(numbers))
        place = np.argsort(order)
        names = perceived(numbers[order], place[bonds])
        assert sorted(names) == expected
        for atom, name in zip(order, names):  # the backbone is told without doubt
            if name[2] in ("N", "CA", "C", "O", "H", "CB"):
                assert name == builder.names[atom]


def test_disulfides_do_not_join_residues():
    builder = build(["CYS", "GLY", "CYS"], disulfides=((0, 2),))
    assert perceived(*builder.arrays()) == builder.names


def test_an_unknown_side_chain_is_unk_and_the_chain_goes_on():
    builder = build(["ALA", "ALA", "ALA"])
    numbers, bonds = builder.arrays()
    beta = [k for k, name in enumerate(builder.names) if name[2] == "CB"][1]
    hydrogen = next(int(b) for a, b in bonds if a == beta and numbers[b] == 1)
    numbers[hydrogen] = 9  # fluoroalanine
    names = perceived(numbers, bonds)
    assert [name for _, name in sorted({(k, residue) for k, residue, _ in names})] == ["ACE", "ALA", "UNK", "ALA", "NME"]


def test_a_ring_of_amino_acids_is_opened_once():
    builder = build(["ALA", "GLY", "SER", "VAL"], None, None)
    numbers, bonds = builder.arrays()
    first, last = builder.names.index((0, "ALA", "N")), builder.names.index((3, "VAL", "C"))
    drop = {builder.names.index((0, "ALA", "H2")), builder.names.index((0, "ALA", "H3")), builder.names.index((3, "VAL", "OXT"))}
    kept = [k for k in range(len(numbers)) if k not in drop]
    new = {old: k for k, old in enumerate(kept)}
    ring = [(new[a], new[b]) for a, b in bonds.tolist() if a in new and b in new] + [(new[first], new[last])]
    names = perceived(numbers[kept], np.array(ring))
    assert [residue for _, residue in sorted({(k, residue) for k, residue, _ in names})] == ["ALA", "GLY", "SER", "VAL"]


def test_water_ions_and_other_molecules():
    numbers = np.array([8, 1, 1, 11, 17, 6, 1, 1, 1, 1])
    bonds = np.array([[0, 1], [0, 2], [5, 6], [5, 7], [5, 8], [5, 9]])
    names = perceived(numbers, bonds)
    assert [residue for _, residue, _ in names[:6]] == ["HOH", "HOH", "HOH", "NA", "CL", "UNL"]
    assert [name for _, _, name in names[:3]] == ["O", "H1", "H2"]
    assert [name for _, _, name in names[5:]] == ["C1", "H1", "H2", "H3", "H4"]


@pytest.mark.skipif(not SHARED.is_dir(), reason="the start structures beside the repository are not here")
@pytest.mark.parametrize("name", ["chignolin.pdb", "trpcage.pdb", "ww_domain.pdb", "villin_1vii_3frames.pdb", "ace_ala_ala_nme.pdb", "alanine_dipeptide_in_water.pdb"])
def test_the_graph_alone_gives_the_sequence_and_names_of_real_files(name):
    atoms = read_structure(SHARED / name)
    found = perceived(atoms.numbers, find_bonds(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc))
    own = {"HIE": "HIS", "HID": "HIS", "HIP": "HIS"}
    written = [own.get(residue, residue) for residue in atoms.arrays["residuenames"].tolist()]
    assert [residue for _, residue, _ in found] == written
    backbone = [(a, b) for (_, residue, a), b in zip(found, atoms.arrays["atomtypes"].tolist()) if residue not in ("ACE", "NME") and b != "H"]
    assert all(a == b for a, b in backbone)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the start structures beside the repository are not here")
@pytest.mark.parametrize("name", ["chignolin.pdb", "trpcage.pdb", "ww_domain.pdb", "villin_1vii_3frames.pdb", "ace_ala_ala_nme.pdb"])
def test_shuffled_and_stripped_files_get_back_the_heavy_names_of_every_residue(name):
    """Elements and coordinates alone, in any order: the names of the file, but for twins (OD1 and OD2) and for what force fields call their caps and ends."""
    atoms = read_structure(SHARED / name)
    order = np.random.default_rng(7).permutation(len(atoms))
    shuffled = atoms[order]
    found = perceived(shuffled.numbers, find_bonds(shuffled.numbers, shuffled.positions, shuffled.cell.array, shuffled.pbc))
    aliases = {("ILE", "CD"): "CD1", ("NME", "CH3"): "C", ("ACE", "C1"): "CH3"}
    written, names = {}, {}
    for k, (number, residue, atom) in enumerate(found):
        own, at = atoms.arrays["residuenames"][order[k]].strip(), atoms.arrays["atomtypes"][order[k]].strip()
        if shuffled.numbers[k] > 1:
            key = int(atoms.arrays["residuenumbers"][order[k]])
            written.setdefault(key, set()).add(aliases.get((own, at), at))
            names.setdefault(key, set()).add(aliases.get((residue, atom), atom))
    assert names == written and len(names) > 3
    assert len({number for number, _, _ in found}) == len(names)  # one residue of ours for one of the file's
