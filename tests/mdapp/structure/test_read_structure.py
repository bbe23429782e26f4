"""One door for structures: what passes, what is refused and how it is said."""
from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.io import write

from mdapp.errors import StructureError
from mdapp.structure import check_start, read_structure

SHARED = Path(__file__).parents[4] / "shared" / "structures"
SHARED_FILES = sorted(p.name for p in SHARED.glob("*") if p.suffix in (".xyz", ".pdb")) if SHARED.is_dir() else []
WATER = "3\ncomment\nO 0 0 0\nH 0.96 0 0\nH -0.24 0.93 0\n"


def put(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def pdb_line(serial, name, residue, number, xyz, element="", alternate=" ", occupancy=1.0, chain="A", record="ATOM"):
    x, y, z = xyz
    return f"{record:6s}{serial:5d} {name:4s}{alternate}{residue:>3s} {chain}{number:4d}    {x:8.3f}{y:8.3f}{z:8.3f}{occupancy:6.2f}{0:6.2f}          {element:>2s}\n"


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.xyz", "", "is empty"),
        ("a.xyz", "\n \n\n", "holds no structure"),
        ("a.xyz", "hello\n", "should be the number of atoms"),
        ("a.xyz", "0\n\n", "no atoms"),
        ("a.xyz", "-3\n\nH 0 0 0\n", "positive whole number"),
        ("a.xyz", "4\nc\nO 0 0 0\nH 1 0 0\nH 0 1 0\n   \n", "claims 4 atoms, but only 3"),
        ("a.xyz", "2\nc\nO 0 0 0\nH 1 0 0\nH 0 1 0\n", "more atom lines than its count"),
        ("a.xyz", "1000000000000\nc\nH 0 0 0\n", "more than a file of"),
        ("a.xyz", "9" * 5000 + "\nc\nH 0 0 0\n", "positive whole number"),
        ("a.xyz", "1\nc\nH nan 0 0\n", "not finite"),
        ("a.xyz", "1\nc\nH 0 inf 0\n", "not finite"),
        ("a.xyz", "1\nc\nXx 0 0 0\n", "line 3: 'Xx 0 0 0' does not begin with a known element"),
        ("a.xyz", "1\nc\nX 0 0 0\n", "known element"),
        ("a.xyz", "1\nc\nH 0 0\n", "cannot be read"),
        ("a.xyz", "1\nc\nH 0 0 1e300\n", "in Ångström"),
        ("a.extxyz", '1\nLattice="0 0 0 0 5 0 0 0 5" pbc="T T T"\nH 0 0 0\n', "no vector there"),
        ("a.extxyz", '1\nLattice="5 0 0 5 0 0 0 0 5" pbc="T T T"\nH 0 0 0\n', "volume 0"),
        ("a.extxyz", '1\nLattice="nan 0 0 0 5 0 0 0 5" pbc="T T T"\nH 0 0 0\n', "finite"),
        ("a.extxyz", '1\npbc="T F F"\nH 0 0 0\n', "no vector there"),
        ("a.extxyz", "1\ncharge=many\nH 0 0 0\n", "charge must be"),
        ("a.extxyz", "1\nProperties=species:S:1:pos:R:3:masses:R:1\nH 0 0 0 -1\n", "masses"),
        ("a.pdb", "REMARK nothing\n", "holds no structure"),
        ("a.pdb", "ATOM      1  N   ALA A   1      xxxxxxx -10.035  -3.493\n", "three coordinates"),
        ("a.pdb", "ATOM      1 ??   LIG A   1       1.177 -10.035  -3.493\n", "no element"),
        ("a.gen", "1000000000 C\nH\n1 1 0 0 0\n", "more than a file"),
        ("POSCAR", "c\n1\n1 0 0\n0 1 0\n0 0 1\nH\n100000000000\nDirect\n0 0 0\n", "more than a file"),
        ("a.gro", "c\n99999999\n", "more than a file"),
        ("a.cif", "garbage", "a.cif"),
        ("a.traj", "garbage", "cannot be read as traj"),
        ("a.pkl", "x", "unknown kind of file"),
        ("a.xyz.gz", "x", "unknown kind of file"),
    ],
)
def test_bad_files_are_refused_in_one_sentence(tmp_path, name, text, says):
    with pytest.raises(StructureError) as error:
        read_structure(put(tmp_path, name, text))
    message = str(error.value)
    assert says in message and name in message
    assert message.count("\n") == 0 and len(message) < 400


def test_missing_files_and_folders_are_refused(tmp_path):
    with pytest.raises(StructureError, match="does not exist"):
        read_structure(tmp_path / "nothing.xyz")
    with pytest.raises(StructureError, match="is a folder"):
        read_structure(tmp_path)
    os.mkfifo(tmp_path / "pipe.xyz")
    with pytest.raises(StructureError, match="no ordinary file"):
        read_structure(tmp_path / "pipe.xyz")


@pytest.mark.parametrize(
    "text",
    [
        WATER, WATER.replace("\n", "\r\n"), WATER.replace(" ", "\t"), WATER + "\n\n  \n", WATER.upper().replace("COMMENT", "c"), WATER.rstrip("\n"),
        WATER.replace("O ", "8 ").replace("H ", "1 "), WATER.replace("H 0", "h1 0"), "\ufeff" + WATER, "\n" + WATER, WATER.replace("comment", ""),
        WATER.replace("comment", "E = -1.0 'unbalanced \" {["), WATER.replace("H -0.24 0.93 0", "  H   -2.4e-1  0.93   0   0.1 extra"),
    ],
)  # fmt: skip
def test_harmless_oddities_are_accepted(tmp_path, text):
    atoms = read_structure(put(tmp_path, "wasser @ größe 2.xyz", text))
    assert atoms.get_chemical_formula() == "H2O"
    assert np.allclose(atoms.positions[1], [0.96, 0, 0])
    assert not atoms.pbc.any() and atoms.calc is None


def test_deuterium_is_heavy_hydrogen(tmp_path):
    atoms = read_structure(put(tmp_path, "a.xyz", WATER.replace("H 0.96", "D 0.96")))
    assert atoms.numbers.tolist() == [8, 1, 1]
    assert np.allclose(atoms.get_masses(), [15.999, 2.014, 1.008])


def test_the_index_chooses_and_is_said(tmp_path):
    path = put(tmp_path, "a.xyz", WATER + WATER.replace("0.96", "0.97") + WATER.replace("0.96", "0.98"))
    for index, x in ((0, 0.96), (1, 0.97), (-1, 0.98), (-3, 0.96)):
        atoms = read_structure(path, index)
        assert atoms.positions[1, 0] == x
        assert f"number {index % 3 + 1}" in atoms.info["notes"][0]
    with pytest.raises(StructureError, match="3 structure"):
        read_structure(path, 3)
    assert read_structure(put(tmp_path, "b.xyz", WATER)).info["notes"] == []


@pytest.mark.parametrize("suffix", ["xyz", "extxyz", "pdb", "traj", "cif", "vasp", "gen", "gro", "xsf"])
def test_every_format_brings_the_same_crystal(tmp_path, suffix):
    crystal = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    crystal = crystal[np.argsort(crystal.numbers)]
    path = tmp_path / f"a.{suffix}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write(path, crystal)
    atoms = read_structure(path)
    assert sorted(atoms.numbers) == sorted(crystal.numbers)
    assert np.allclose(atoms.cell.lengths(), 5.64) and atoms.pbc.all()
    offsets = (atoms.positions - crystal.positions)[None]
    if suffix != "cif":  # a CIF may list its atoms in another order
        assert np.abs(offsets).max() < 2e-3  # three decimals in PDB, and in nm in gro


def test_charge_is_found_and_whole(tmp_path):
    for key in ("charge=-1", "total_charge=-1.0"):
        atoms = read_structure(put(tmp_path, "a.xyz", WATER.replace("comment", key)))
        assert atoms.info["charge"] == -1 and isinstance(atoms.info["charge"], int)
    assert "charge" not in read_structure(put(tmp_path, "b.xyz", WATER)).info


def test_pdb_elements_come_from_names_where_the_column_is_missing(tmp_path):
    lines = [("1HH3", "ACE", 1), (" CH3", "ACE", 1), (" CA ", "ALA", 2), ("CA  ", " CA", 3), (" CA ", "LIG", 4), ("HG11", "VAL", 5), ("ZN  ", " ZN", 6),
             ("CL  ", " CL", 7), (" N1 ", "LIG", 4), ("CL1 ", "LIG", 4), ("BR2 ", "LIG", 4), ("SE  ", "MSE", 8), (" SG ", "CYS", 9), (" OW ", "SOL", 10),
             ("NA  ", " NA", 11), (" HA ", "ALA", 2), ("HE21", "GLN", 12)]  # fmt: skip
    text = "".join(pdb_line(k, name, residue, number, (3.0 * k, 0, 0)) for k, (name, residue, number) in enumerate(lines, 1))
    atoms = read_structure(put(tmp_path, "a.pdb", text + "END\n"))
    assert list(atoms.symbols) == "H C C Ca C H Zn Cl N Cl Br Se S O Na H H".split()
    assert "taken from their names" in atoms.info["notes"][0]
    assert atoms.arrays["residuenames"][2] == "ALA" and atoms.arrays["atomtypes"][0] == "1HH3"


def test_pdb_keeps_one_alternate_location_a_residue(tmp_path):
    text = "".join(
        pdb_line(k, name, "SER", 1, xyz, name[1], alternate, occupancy)
        for k, (name, xyz, alternate, occupancy) in enumerate(
            [(" N  ", (0, 0, 0), " ", 1), (" CB ", (1.5, 0, 0), "A", 0.4), (" CB ", (1.6, 0, 0), "B", 0.6), (" OG ", (2.0, 1.4, 0), "A", 0.4),
             (" OG ", (2.1, 1.4, 0), "B", 0.6)], 1)  # fmt: skip
    )
    atoms = read_structure(put(tmp_path, "a.pdb", text))
    assert len(atoms) == 3 and atoms.positions[1, 0] == 1.6 and atoms.positions[2, 0] == 2.1
    assert "2 atoms at alternate locations" in atoms.info["notes"][0]


def test_pdb_models_and_chains(tmp_path):
    model = pdb_line(1, " O  ", "HOH", 1, (0, 0, 0), "O") + "TER\n" + pdb_line(2, " O  ", "HOH", 1, (5, 0, 0), "O")
    path = put(tmp_path, "a.pdb", "".join(f"MODEL {k}\n{model}ENDMDL\n" for k in (1, 2)) + "END\n")
    atoms = read_structure(path, 0)
    assert "2 structures; number 1" in atoms.info["notes"][0]
    assert atoms.arrays["chainindex"].tolist() == [0, 1] and atoms.arrays["residueindex"].tolist() == [0, 1]


CRYST = "CRYST1{:9.3f}{:9.3f}{:9.3f}  90.00  90.00  90.00 P 1           1\n"


@pytest.mark.parametrize(("sides", "says"), [((1, 1, 1), "placeholder"), ((999.9, 999.9, 999.9), "stands for no box"), ((25, 25, 25), "nearly empty")])
def test_boxes_that_are_none_are_dropped_and_said(tmp_path, sides, says):
    body = "".join(pdb_line(k, f" {s}  ", "HOH", 1, xyz, s) for k, (s, xyz) in enumerate([("O", (0, 0, 0)), ("H", (0.96, 0, 0)), ("H", (-0.24, 0.93, 0))], 1))
    atoms = read_structure(put(tmp_path, "a.pdb", CRYST.format(*sides) + body))
    assert not atoms.pbc.any() and atoms.cell.rank == 0
    assert says in atoms.info["notes"][0]


def test_a_box_that_is_filled_or_given_by_extxyz_stays(tmp_path):
    crystal = bulk("Ar", "fcc", a=5.3, cubic=True)
    write(tmp_path / "a.pdb", crystal)
    assert read_structure(tmp_path / "a.pdb").pbc.all()
    water = molecule("H2O", vacuum=12)
    water.pbc = True
    write(tmp_path / "b.extxyz", water)
    atoms = read_structure(tmp_path / "b.extxyz")
    assert atoms.pbc.all() and atoms.info["notes"] == []


def test_constraints_in_a_file_are_said_to_be_ignored(tmp_path):
    from ase.constraints import FixAtoms

    atoms = molecule("H2O")
    atoms.set_constraint(FixAtoms([0]))
    write(tmp_path / "a.extxyz", atoms)
    write(tmp_path / "a.traj", atoms)
    for name in ("a.extxyz", "a.traj"):
        found = read_structure(tmp_path / name)
        assert not found.constraints and "constraints" in found.info["notes"][0]


def test_momenta_and_masses_survive_and_calculators_do_not(tmp_path):
    atoms = molecule("CH4")
    atoms.set_momenta(np.arange(15.0).reshape(5, 3))
    atoms.info["charge"] = 1
    write(tmp_path / "a.extxyz", atoms)
    found = read_structure(tmp_path / "a.extxyz")
    assert np.allclose(found.get_momenta(), atoms.get_momenta()) and found.calc is None and found.info["charge"] == 1


@pytest.mark.skipif(not SHARED_FILES, reason="the start structures beside the repository are not here")
@pytest.mark.parametrize("name", SHARED_FILES)
def test_shared_structures_read_and_pass_the_checks(name):
    atoms = read_structure(SHARED / name)
    assert atoms.pbc.all() == ("water" in name)
    findings = check_start(atoms, (1, 6, 7, 8, 16), 0.5, False, 5.0)
    assert [f for f in findings if f.level != "note"] == []


def test_random_bytes_are_refused_and_nothing_else_happens(tmp_path):
    rng = np.random.default_rng(7)
    text = (WATER * 3).encode()
    for k in range(150):
        damaged = bytearray(text)
        for _ in range(rng.integers(1, 6)):
            damaged[rng.integers(len(damaged))] = rng.integers(256)
        for suffix in ("xyz", "pdb"):
            path = put(tmp_path, f"a{k}.{suffix}", bytes(damaged))
            try:
                atoms = read_structure(path)
            except StructureError:
                continue
            assert isinstance(atoms, Atoms) and np.isfinite(atoms.positions).all() and len(atoms) > 0


def test_masses_that_are_not_those_of_the_elements_are_told_of(tmp_path):
    atoms = molecule("CH4")
    atoms.set_masses([4.04, 3, 3, 3, 3])
    write(tmp_path / "heavy.extxyz", atoms)
    notes = read_structure(tmp_path / "heavy.extxyz").info["notes"]
    assert notes == ["Masses of the file are used: 5 of 5 are not those of their elements, H1 with 3 amu for one."]
    atoms.set_masses(None)
    write(tmp_path / "usual.extxyz", atoms)
    assert read_structure(tmp_path / "usual.extxyz").info["notes"] == []
