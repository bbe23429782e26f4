"""LAMMPS dumps: order, boxes, kinds of coordinates, elements, units, energies, and what is refused."""
import gzip

import numpy as np
import pytest

from potentials.data import DataError, LabelKeys, LammpsConfig, Units, read_labelled
from potentials.data.units import BOHR, HARTREE, KJ_PER_MOL

KCAL = 4.184 * KJ_PER_MOL
WATER = LammpsConfig(units="metal", elements=("O", "H"))
X = np.array([[0.5, 1.0, 1.5], [1.2, 1.6, 1.4], [4.9, 5.5, 2.0]])
F = np.array([[1.0, -2.0, 3.0], [0.5, 0.25, -0.125], [-1.5, 1.75, -2.875]])


def frame(columns="id type x y z fx fy fz", rows=None, box="ITEM: BOX BOUNDS pp pp pp\n0 6\n0 7\n0 8", step=0, head=""):
    rows = [f"{i} {t} {x[0]} {x[1]} {x[2]} {f[0]} {f[1]} {f[2]}" for i, t, x, f in zip((1, 2, 3), (1, 2, 2), X, F)] if rows is None else rows
    return head + f"ITEM: TIMESTEP\n{step}\nITEM: NUMBER OF ATOMS\n{len(rows)}\n{box}\nITEM: ATOMS {columns}\n" + "".join(f"{r}\n" for r in rows)


def read(folder, text, config=WATER, name="a.lammpstrj", **words):
    (folder / name).write_text(text)
    return list(read_labelled(folder / name, lammps=config, **words))


def test_atoms_come_in_the_order_of_their_ids(tmp_path):
    lines = frame().splitlines()
    shuffled = "\n".join(lines[:-3] + [lines[-1], lines[-3], lines[-2]]) + "\n"
    for s in read(tmp_path, frame() + shuffled):
        np.testing.assert_array_equal(s.positions, X)
        np.testing.assert_array_equal(s.forces, F)
        assert s.numbers.tolist() == [8, 1, 1] and s.energy is None and s.pbc.all() and s.molecule == "H2O"
        np.testing.assert_array_equal(s.cell, np.diag([6, 7, 8]))


def test_gzip_reads_the_same(tmp_path):
    (tmp_path / "a.dump.gz").write_bytes(gzip.compress(frame().encode()))
    (s,) = read_labelled(tmp_path / "a.dump.gz", lammps=WATER)
    np.testing.assert_array_equal(s.forces, F)


@pytest.mark.parametrize("style, energy, length", [("real", KCAL, 1.0), ("metal", 1.0, 1.0), ("electron", HARTREE, BOHR)])
def test_every_style_has_its_units(tmp_path, style, energy, length):
    for config, head in ((LammpsConfig(style, ("O", "H")), ""), (LammpsConfig(elements=("O", "H")), f"ITEM: UNITS\n{style}\n")):
        (s,) = read(tmp_path, frame(head=head), config)
        np.testing.assert_allclose(s.forces, F * energy / length, rtol=1e-14)
        np.testing.assert_allclose(s.positions, X * length, rtol=1e-14)
        np.testing.assert_allclose(np.diag(s.cell), np.array([6, 7, 8]) * length, rtol=1e-14)


@pytest.mark.parametrize("names, scaled", [("x y z", False), ("xu yu zu", False), ("xs ys zs", True), ("xsu ysu zsu", True)])
@pytest.mark.parametrize("tilt", [(0.0, 0.0, 0.0), (1.5, -0.7, 0.9), (-2.0, 0.5, -1.0)])
def test_coordinates_of_every_kind_are_the_same_place(tmp_path, names, scaled, tilt):
    """A cell with lower corner (-1, -2, -3); its bounds in the dump are those of the box around it."""
    xy, xz, yz = tilt
    cell, low = np.array([[6.0, 0, 0], [xy, 7, 0], [xz, yz, 8]]), np.array([-1.0, -2, -3])
    corners = low + np.array([[a, b, c] for a in (0, 1) for b in (0, 1) for c in (0, 1)]) @ cell
    bounds = np.stack([corners.min(0), corners.max(0)], axis=1)
    bounds[:, 0] = np.minimum(bounds[:, 0], low)
    box = "ITEM: BOX BOUNDS xy xz yz pp pp ff\n" + "\n".join(f"{lo:.12f} {hi:.12f} {t}" for (lo, hi), t in zip(bounds, tilt))
    told = (X - low) @ np.linalg.inv(cell) if scaled else X
    rows = [f"{i} {t} {x[0]:.15f} {x[1]:.15f} {x[2]:.15f} 0 0 1" for i, t, x in zip((1, 2, 3), (1, 2, 2), told)]
    (s,) = read(tmp_path, frame(f"id type {names} fx fy fz", rows, box))
    np.testing.assert_allclose(s.positions, X, atol=1e-12)
    np.testing.assert_allclose(s.cell, cell, atol=1e-11)
    assert s.pbc.tolist() == [True, True, False]


def test_general_triclinic_box_is_read(tmp_path):
    box = "ITEM: BOX BOUNDS abc origin pp pp pp\n6 0.5 0 -1\n0 7 0.3 -2\n0.2 0 8 -3"
    (s,) = read(tmp_path, frame("id type xs ys zs fx fy fz", ["1 1 0 0 0 0 0 1", "2 2 0.5 0 0 0 0 1"], box))
    np.testing.assert_allclose(s.cell, [[6, 0.5, 0], [0, 7, 0.3], [0.2, 0, 8]])
    np.testing.assert_allclose(s.positions, [[-1, -2, -3], [2, -1.75, -3]])


def test_elements_and_charges_may_be_columns(tmp_path):
    rows = ["2 1 1 1 1 H 0.4 0 0 1", "1 2 0 0 0 O -0.8 0 0 1", "3 1 2 2 2 H 0.4 0 0 1"]
    (s,) = read(tmp_path, frame("id type x y z element q fx fy fz", rows), LammpsConfig("metal"))
    assert s.numbers.tolist() == [8, 1, 1] and s.charges.tolist() == [-0.8, 0.4, 0.4] and s.charge == 0


DATA = """LAMMPS data file

3 atoms
2 atom types

0 6 xlo xhi
0 7 ylo yhi
0 8 zlo zhi

Masses

1 15.9994
2 1.008

Atoms # full

3 1 2 0.41 0 0 0
1 1 1 -0.82 0 0 0
2 1 2 0.41 0 0 0
"""


def test_data_file_gives_elements_and_charges(tmp_path):
    for name, write in (("w.data", lambda p, t: p.write_text(t)), ("w.data.gz", lambda p, t: p.write_bytes(gzip.compress(t.encode())))):
        write(tmp_path / name, DATA)
        (s,) = read(tmp_path, frame(), LammpsConfig("real", topology=str(tmp_path / name)))
        assert s.numbers.tolist() == [8, 1, 1] and s.charges.tolist() == [-0.82, 0.41, 0.41] and s.charge == 0


@pytest.mark.parametrize("change, message", [
    (("Masses\n\n1 15.9994\n2 1.008\n\n", ""), "has no masses that tell the elements"),
    (("15.9994", "72.0"), "has a mass of 72, which is no element's"),
    (("Atoms # full", "Atoms # fool"), "cannot be read as a LAMMPS data file"),
    (("3 1 2 0.41", "7 1 2 0.41"), "has atoms that .*w.data does not know"),
])  # fmt: skip
def test_data_files_that_do_not_tell_are_refused(tmp_path, change, message):
    (tmp_path / "w.data").write_text(DATA.replace(*change))
    with pytest.raises(DataError, match=message):
        read(tmp_path, frame(), LammpsConfig("real", topology=str(tmp_path / "w.data")))


def test_energies_come_from_an_npz_by_step(tmp_path):
    np.savez(tmp_path / "e.npz", timestep=[0, 20, 10], pe_kcal=[-1.0, -3.0, -2.0])
    config = LammpsConfig("real", ("O", "H"), energies=str(tmp_path / "e.npz"), energies_key="pe_kcal")
    read_back = read(tmp_path, "".join(frame(step=k) for k in (0, 10, 20, 30)), config)
    assert [s.energy and round(s.energy / KCAL, 9) for s in read_back] == [-1, -2, -3, None]


def test_energies_come_from_a_log(tmp_path):
    table = "Step Temp PotEng\n0 1.0 -5.0\n10 2.0 -6.0\nWARNING: something\nLoop time of 1 on 1 procs\n7 7 7\n"
    (tmp_path / "log.lammps").write_text("LAMMPS\nunits metal\n" + table + table.replace("-6.0", "-6.5").replace("0 1.0 -5.0\n", ""))
    config = LammpsConfig("metal", ("O", "H"), energies=str(tmp_path / "log.lammps"))
    assert [s.energy for s in read(tmp_path, frame() + frame(step=10), config)] == [-5.0, -6.5]  # printed twice: the last
    with pytest.raises(DataError, match="has no energy for any step of a.lammpstrj; its steps begin with 0, 10"):
        read(tmp_path, frame(step=3), config)
    with pytest.raises(DataError, match="No column 'c_pe' in log.lammps; there: Step, Temp, PotEng"):
        read(tmp_path, frame(), LammpsConfig("metal", ("O", "H"), energies=str(tmp_path / "log.lammps"), energies_key="c_pe"))


def test_forces_of_a_fix_may_be_named(tmp_path):
    rows = ["1 1 0 0 0 1 2 3", "2 2 1 1 1 4 5 6"]
    (s,) = read(tmp_path, frame("id type x y z f_mean[1] f_mean[2] f_mean[3]", rows), keys=LabelKeys(forces="f_mean"))
    assert s.forces.tolist() == [[1, 2, 3], [4, 5, 6]]


def test_units_and_elements_must_be_said(tmp_path):
    with pytest.raises(DataError, match="does not say its units. Say lammps.units = 'real' | 'metal'"):
        read(tmp_path, frame(), None)
    with pytest.raises(DataError, match="its units are 'lj', which have no fixed size"):
        read(tmp_path, frame(head="ITEM: UNITS\nlj\n"), LammpsConfig(elements=("Ar", "Ar")))
    with pytest.raises(DataError, match="says that its units are 'metal', but lammps.units is 'real'"):
        read(tmp_path, frame(head="ITEM: UNITS\nmetal\n"), LammpsConfig("real", ("O", "H")))
    with pytest.raises(DataError, match="has types, but no elements: list them in the order of the types"):
        read(tmp_path, frame(), LammpsConfig("metal"))
    with pytest.raises(DataError, match="has atoms of type 2, but elements are known for types 1 only"):
        read(tmp_path, frame(), LammpsConfig("metal", ("O",)))
    with pytest.raises(ValueError, match="elements names no element with 'OW'"):
        LammpsConfig("metal", ("OW", "HW"))
    (s,) = read(tmp_path, frame(), LammpsConfig(elements=("O", "H")), units=Units("hartree", "bohr"))
    assert s.positions[0, 0] == 0.5 * BOHR


LINES = frame().splitlines(keepends=True)


@pytest.mark.parametrize("text, message", [
    ("", "holds no frames"),
    ("hello\n", "expected a line 'ITEM: ...' in frame 0, got 'hello'"),
    ("".join(LINES[:-1]), "ends within frame 0 of a.lammpstrj, after 2 of 3 atoms"),
    ("".join(LINES[:7]), "ends within frame 0"),
    (frame() + "".join(LINES[:3]), "ends within frame 1"),
    (frame() + "".join(LINES[:2]), "ends within frame 1"),
    (frame().replace("ATOMS\n3", "ATOMS\n99999999999"), "after 3 of 99999999999 atoms"),
    (frame().replace("ATOMS\n3", "ATOMS\n-3"), "the number of atoms of frame 0 is '-3', not a whole number"),
    (frame().replace("fx fy fz", "vx vy vz"), "No forces in frame 0 .*looked for columns fx, fy, fz; there: id, type, x, y, z, vx, vy, vz"),
    (frame().replace("x y z fx", "a b c fx"), "No coordinates in frame 0"),
    (frame().replace("0.25", "nan"), "forces is not a finite number in frame 0"),
    (frame().replace("0.25", "O"), "frame 0 of a.lammpstrj holds something that is no number"),
    (frame().replace("0.25", ""), "has 23 words for 3 atoms"),
    (frame().replace("\n2 2", "\n1 2"), "has two atoms with id 1"),
    (frame().replace("0 6", "0 six"), "the box bounds are not numbers"),
    (frame().replace("0 6\n", "0 6 1\n").replace("0 7\n", "0 7 1\n").replace("0 8\n", "0 8 1\n"), "do not fit 'BOX BOUNDS pp pp pp'"),
    (frame().replace("0 6\n", "0 0\n"), "periodic .* along a cell vector of length 0"),
])  # fmt: skip
def test_broken_dumps_are_refused_in_a_sentence(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        read(tmp_path, text)


def test_cut_gzip_is_refused_after_whole_frames(tmp_path):
    packed = gzip.compress("".join(frame(step=k, rows=[f"{i} 1 {(i * 7919) % 1000 / 7:.5f} 0 {k} 0 0 {i}" for i in range(1, 500)]) for k in range(20)).encode())
    (tmp_path / "a.lammpstrj.gz").write_bytes(packed[: len(packed) // 2])
    frames = read_labelled(tmp_path / "a.lammpstrj.gz", lammps=LammpsConfig("metal", ("Ar",)))
    assert len(next(frames).numbers) == 499
    with pytest.raises(DataError, match=r"a.lammpstrj.gz cannot be read as a LAMMPS dump after \d+ whole frames"):
        list(frames)


def test_settings_for_lammps_mean_nothing_to_other_formats(tmp_path):
    (tmp_path / "a.xyz").write_text("")
    with pytest.raises(DataError, match="a.xyz is read as extxyz, to which the settings of .lammps. mean nothing"):
        read_labelled(tmp_path / "a.xyz", lammps=WATER)
