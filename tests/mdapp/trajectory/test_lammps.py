"""LAMMPS dumps as trajectories: elements from where they are known, whatever the order of lines."""
from __future__ import annotations

import gzip

import numpy as np
import pytest
from ase.build import molecule
from ase.io import write

from mdapp.cli import main
from mdapp.errors import StructureError
from mdapp.trajectory import read_frames

WATER = molecule("H2O")
WATER.set_cell([8.0, 8, 8])
WATER.pbc = True
SHIFTS = 0.1 * np.arange(4)[:, None, None]


def dump(columns: str = "id type x y z", elements: bool = False, head: str = "", shuffled: bool = True) -> str:
    """Four frames of one water molecule, oxygen of type 2."""
    text, rng = head, np.random.default_rng(1)
    for k, shift in enumerate(SHIFTS):
        rows = []
        for i, (symbol, r) in enumerate(zip(WATER.symbols, WATER.positions + shift[0])):
            values = {"id": i + 1, "type": 2 if symbol == "O" else 1, "element": symbol, "q": -0.8 if symbol == "O" else 0.4, **dict(zip("xyz", r)),
                      "vx": 1.0, "vy": 2.0, "vz": 3.0}
            rows.append(" ".join(str(values[name]) for name in columns.split()))
        order = rng.permutation(3) if shuffled else range(3)
        text += f"ITEM: TIMESTEP\n{100 * k}\nITEM: NUMBER OF ATOMS\n3\nITEM: BOX BOUNDS pp pp pp\n0 8\n0 8\n0 8\nITEM: ATOMS {columns}\n" + "\n".join(rows[i] for i in order) + "\n"
    return text


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write("water.xyz", WATER, format="xyz")
    write("water.pdb", WATER)
    (tmp_path / "water.data").write_text("water\n\n3 atoms\n2 atom types\n0 8 xlo xhi\n0 8 ylo yhi\n0 8 zlo zhi\n\nMasses\n\n1 1.008\n2 15.999\n\nAtoms # charge\n\n"
                                         "1 2 -0.8 0 0 0\n2 1 0.4 0 0 1\n3 1 0.4 0 1 0\n")
    return tmp_path


@pytest.mark.parametrize("name, columns, options", [
    ("a.lammpstrj", "id type x y z", {"elements": ("H", "O")}), ("a.dump", "id element x y z", {}), ("a.lammpstrj.gz", "id type element x y z q", {}),
    ("noname", "id type element x y z", {}), ("a.dump", "id type x y z", {"topology": "water.xyz"}), ("a.dump", "id type x y z", {"topology": "water.pdb"}),
    ("a.dump", "id type x y z", {"topology": "water.data"}),
])
def test_frames_of_a_dump_are_in_the_order_of_ids(here, name, columns, options):
    text = dump(columns)
    if name.endswith(".gz"):
        with gzip.open(name, "wt") as file:
            file.write(text)
    else:
        (here / name).write_text(text)
    found = list(read_frames(name, **options))
    assert [f.step for f in found] == [0, 100, 200, 300] and found[0].numbers.tolist() == [8, 1, 1]
    np.testing.assert_allclose([f.positions for f in found], WATER.positions + SHIFTS, atol=1e-12)
    np.testing.assert_array_equal(found[0].cell, 8 * np.eye(3))
    if "q" in columns.split():
        assert found[0].extras["charges"].tolist() == [-0.8, 0.4, 0.4]
    assert len(list(read_frames(name, stride=2, **options))) == 2


def test_velocities_and_times_come_in_the_units_that_the_dump_says(here):
    from ase import units

    (here / "a.dump").write_text(dump("id element x y z vx vy vz").replace("ITEM: TIMESTEP", "ITEM: UNITS\nmetal\nITEM: TIME\n0.25\nITEM: TIMESTEP"))
    frame = next(read_frames("a.dump"))
    np.testing.assert_allclose(frame.velocities[0] * units.fs, [0.001, 0.002, 0.003], rtol=1e-12)  # Å/ps
    assert frame.time_fs == 250.0
    (here / "b.dump").write_text(dump("id element x y z vx vy vz"))
    assert np.isnan(next(read_frames("b.dump")).momenta).all()  # in which units is not said


def test_a_dump_without_elements_says_what_to_give(here, capsys):
    (here / "a.lammpstrj").write_text(dump())
    assert main(["analyse", "a.lammpstrj", "--no-plots"]) == 5
    said = capsys.readouterr().err
    assert "types, but no elements" in said and "--elements O,H" in said and "--topology" in said and "lammps." not in said
    assert main(["analyse", "a.lammpstrj", "--no-plots", "-q", "--elements", "H,O", "--frame-time", "10fs"]) == 0
    with pytest.raises(StructureError, match="no element"):
        list(read_frames("a.lammpstrj", elements=("H", "Qq")))
    with pytest.raises(StructureError, match="3 atoms, and 6 elements are known"):
        write("six.xyz", [*[molecule("C2H4")]])
        list(read_frames("a.lammpstrj", topology="six.xyz"))


def test_a_dump_that_is_cut_is_read_up_to_there(here):
    from mdapp.config import AnalyseConfig
    from mdapp.jobs.analyse import analyse

    text = dump("id element x y z")
    (here / "cut.dump").write_text(text[:-30])
    report = analyse(AnalyseConfig(run="cut.dump", plots=False)).reports[0]
    assert report.measured.n_frames == 3 and "ended before the end" in report.remarks[1]
