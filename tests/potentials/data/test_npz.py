"""Trajectories in .npz: the names of every layout, units, padding, and what is refused."""
import zipfile

import numpy as np
import pytest

from potentials.data import DataError, LabelKeys, Units, read_labelled
from potentials.data.units import KJ_PER_MOL

KCAL = 4.184 * KJ_PER_MOL
WATER = np.array([8, 1, 1])
TOTAL = -2079.0  # eV, all-electron energy of a water molecule


def arrays(n_frames=4, energy_unit=1.0, seed=3):
    """Positions (Å), energies and forces in a unit of `energy_unit` eV."""
    rng = np.random.default_rng(seed)
    R = np.array([[0.0, 0.0, 0.1], [0.0, 0.76, -0.5], [0.0, -0.76, -0.5]]) + 0.02 * rng.standard_normal((n_frames, 3, 3))
    return R, (TOTAL + rng.standard_normal(n_frames)) / energy_unit, rng.standard_normal((n_frames, 3, 3)) / energy_unit


LAYOUTS = {
    "md17": lambda R, E, F: dict(R=R, E=E[:, None], F=F, z=WATER.astype(np.uint8)),
    "rmd17": lambda R, E, F: dict(coords=R, energies=E, forces=F, nuclear_charges=WATER),
    "sgdml": lambda R, E, F: dict(R=R, E=E, F=F, z=WATER, r_unit="Ang", e_unit="kcal/mol", type="d", name="water", E_min=E.min()),
    "so3lr": lambda R, E, F: dict(positions=R, energy=E[:, None], forces=F, atomic_numbers=np.tile(WATER, (len(R), 1))),
    "physnet": lambda R, E, F: dict(R=R, E=E, F=F, Z=np.tile(WATER, (len(R), 1)), N=np.full(len(R), 3), Q=np.zeros(len(R))),
    "gradient": lambda R, E, F: dict(xyz=R, energy=E, gradient=-F, atomic_numbers=WATER),
}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed], ids=["stored", "compressed"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_frames(tmp_path, layout, save):
    R, E, F = arrays(energy_unit=KCAL)
    save(tmp_path / "a.npz", **LAYOUTS[layout](R, E, F))
    read = list(read_labelled(tmp_path / "a.npz"))
    assert len(read) == 4
    for k, s in enumerate(read):
        assert s.energy == pytest.approx(E[k] * KCAL, rel=1e-14)
        np.testing.assert_allclose(s.forces, F[k] * KCAL, rtol=1e-14)
        np.testing.assert_array_equal(s.positions, R[k])
        assert s.numbers.tolist() == [8, 1, 1] and s.charge == 0 and not s.pbc.any()
        assert s.molecule == ("water" if layout == "sgdml" else "H2O")


def test_what_is_not_compressed_is_mapped_to_the_same_numbers(tmp_path):
    rng = np.random.default_rng(0)
    R = np.asfortranarray(rng.standard_normal((900, 3, 3)))  # 65 kB: above the size from which members are mapped
    np.savez(tmp_path / "a.npz", a_name_that_shifts_the_bytes=np.zeros(3), R=R, E=np.full(900, TOTAL), F=R.copy(), z=WATER)
    read = list(read_labelled(tmp_path / "a.npz"))
    np.testing.assert_array_equal([s.positions for s in read], R)
    np.testing.assert_array_equal([s.forces for s in read], R)


def test_padded_atoms_are_left_out(tmp_path):
    R, E, F = arrays()
    numbers = np.array([[8, 1, 1], [8, 1, 0], [8, 1, 1], [8, -1, 0]])
    np.savez(tmp_path / "a.npz", positions=R, energy=E, forces=F, atomic_numbers=numbers, total_charge=[0, -1, 0, -2], num=numbers)
    read = list(read_labelled(tmp_path / "a.npz"))
    assert [s.numbers.tolist() for s in read] == [[8, 1, 1], [8, 1], [8, 1, 1], [8]]
    assert [s.charge for s in read] == [0, -1, 0, -2]
    np.testing.assert_array_equal(read[3].forces, F[3, :1])


def test_cell_charges_and_dipole_are_read(tmp_path):
    R, E, F = arrays()
    q, cell = np.arange(12.0).reshape(4, 3, 1), np.tile(5 * np.eye(3), (4, 1, 1))
    np.savez(tmp_path / "a.npz", R=R, E=E, F=F, z=WATER, q=q, D=np.ones((4, 3)), unit_cell=cell)
    s = list(read_labelled(tmp_path / "a.npz", units=Units(dipole="debye")))[2]
    assert s.pbc.all() and s.charges.tolist() == [6, 7, 8]
    np.testing.assert_array_equal(s.cell, cell[2])
    np.testing.assert_allclose(s.dipole, 0.2081943, rtol=1e-6)  # 1 D in e Å


@pytest.mark.parametrize("unit", ["kcal/mol", "eV", "hartree", "kJ/mol"])
def test_size_of_total_energies_tells_the_unit(tmp_path, caplog, unit):
    R, E, F = arrays(energy_unit=Units(unit).to_eV)
    np.savez(tmp_path / "a.npz", **LAYOUTS["md17"](R, E, F))
    with caplog.at_level("INFO"):
        s = next(read_labelled(tmp_path / "a.npz"))
    assert s.energy == pytest.approx(TOTAL, abs=5) and f"size of {unit}" in caplog.text and "WARNING" not in caplog.text


def test_units_taken_by_custom_are_warned_of_and_may_be_overruled(tmp_path, caplog):
    R, E, F = arrays()
    np.savez(tmp_path / "a.npz", **LAYOUTS["md17"](R, E - TOTAL, F))  # relative energies, which tell nothing
    assert next(read_labelled(tmp_path / "a.npz")).energy == pytest.approx((E[0] - TOTAL) * KCAL)
    assert "kcal/mol and Å are taken, as in MD17. If they are others, say so with units" in caplog.text
    caplog.clear()
    assert next(read_labelled(tmp_path / "a.npz", units=Units("eV"))).energy == E[0] - TOTAL
    assert not caplog.text


def test_unknown_unit_in_the_file_is_named(tmp_path):
    R, E, F = arrays()
    np.savez(tmp_path / "a.npz", R=R, E=E, F=F, z=WATER, r_unit="Ang", e_unit="furlong")
    with pytest.raises(DataError, match="a.npz: Unknown unit of energy 'furlong'.*overruled"):
        next(read_labelled(tmp_path / "a.npz"))
    assert next(read_labelled(tmp_path / "a.npz", units=Units())).energy == E[0]


def test_energies_alone_and_forces_alone_are_read(tmp_path):
    R, E, F = arrays()
    np.savez(tmp_path / "e.npz", R=R, E=E, z=WATER)
    np.savez(tmp_path / "f.npz", R=R, F=F, z=WATER)
    assert next(read_labelled(tmp_path / "e.npz")).forces is None
    assert next(read_labelled(tmp_path / "f.npz")).energy is None


def test_pickled_objects_are_refused_and_never_opened(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "exploded"), "w"))

    R, E, F = arrays()
    np.savez(tmp_path / "a.npz", R=R, E=E, F=F, z=np.array([Bomb()] * 3, dtype=object))
    with pytest.raises(DataError, match="'z' of a.npz holds pickled objects, which are not opened"):
        next(read_labelled(tmp_path / "a.npz"))
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("change, message", [
    (dict(F=np.zeros((4, 2, 3))), r"'F' has shape \(4, 2, 3\), expected \(4, 3, 3\)"),
    (dict(F=np.zeros((3, 3, 3))), r"'F' has shape \(3, 3, 3\), but 'R' has 4 frames"),
    (dict(E=np.zeros(5)), r"'E' has shape \(5,\), but 'R' has 4 frames"),
    (dict(E=np.zeros((4, 2))), r"'E' has shape \(4, 2\), expected"),
    (dict(z=np.array([8, 1])), r"'R' has shape \(4, 3, 3\), expected \(4, 2, 3\) for 2 atomic numbers"),
    (dict(z=np.array([8, 1, 119])), "atomic numbers 1, 8, 119"),
    (dict(R=np.zeros((4, 9))), r"'R' has shape \(4, 9\), expected \(n_frames, n_atoms, 3\)"),
    (dict(z=np.array(["O", "H", "H"])), "'z' holds <U1, not numbers"),
    (dict(E=np.array([-2079.0, np.nan, 0, 0])), "energy is not a finite number in frame 1"),
    (dict(R=np.zeros((0, 3, 3)), E=np.zeros(0), F=np.zeros((0, 3, 3))), "holds no frames"),
])  # fmt: skip
def test_arrays_that_do_not_fit_are_refused_by_name(tmp_path, change, message):
    R, E, F = arrays()
    np.savez(tmp_path / "a.npz", **{**dict(R=R, E=E, F=F, z=WATER), **change})
    with pytest.raises(DataError, match=message):
        list(read_labelled(tmp_path / "a.npz", units=Units()))


def test_missing_arrays_list_what_is_there(tmp_path):
    R, E, F = arrays()
    np.savez(tmp_path / "a.npz", R=R, Etot=E, z=WATER)
    with pytest.raises(DataError, match="No energy and no forces in a.npz; there: Etot, R, z"):
        next(read_labelled(tmp_path / "a.npz"))
    with pytest.raises(DataError, match="No forces in a.npz: looked for 'f'; there: Etot, R, z"):
        next(read_labelled(tmp_path / "a.npz", keys=LabelKeys(energy="Etot", forces="f")))
    assert next(read_labelled(tmp_path / "a.npz", keys=LabelKeys(energy="Etot"))).energy == pytest.approx(E[0])


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed], ids=["stored", "compressed"])
def test_damaged_files_are_refused(tmp_path, save):
    R, E, F = arrays(n_frames=900)
    save(tmp_path / "a.npz", R=R, E=E, F=F, z=WATER)
    whole = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="cut.npz is not a whole .npz file"):
        next(read_labelled(tmp_path / "cut.npz"))
    (tmp_path / "text.npz").write_text("no archive")
    with pytest.raises(DataError, match="text.npz is not a whole"):
        next(read_labelled(tmp_path / "text.npz"))
    (tmp_path / "empty.npz").write_bytes(b"")
    with pytest.raises(DataError, match="empty.npz is not a whole"):
        next(read_labelled(tmp_path / "empty.npz"))


def test_header_that_claims_more_than_there_is_takes_no_memory(tmp_path):
    R, E, F = arrays()
    np.savez(tmp_path / "a.npz", E=E, F=F, z=WATER)
    header = b"\x93NUMPY\x01\x00v\x00" + b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000, 3, 3), }".ljust(117) + b"\n"
    with zipfile.ZipFile(tmp_path / "a.npz", "a") as archive:
        archive.writestr("R.npy", header + bytes(80))
    with pytest.raises(DataError, match=r"'R.npy' of a.npz should have shape \(1000000000000, 3, 3\), but holds 80 bytes"):
        next(read_labelled(tmp_path / "a.npz"))


@pytest.mark.parametrize("extra, message", [
    (dict(stress=np.zeros((3, 6))), r"'stress' has shape \(3, 6\), but 'R' has 4 frames"),
    (dict(stress=np.zeros((5, 3, 3))), r"'stress' has shape \(5, 3, 3\), but 'R' has 4 frames"),
    (dict(stress=np.zeros((4, 3))), r"'stress' has shape \(4, 3\), expected \(4, 6\) or \(4, 9\) or \(4, 3, 3\)"),
    (dict(Q=np.zeros(3)), r"'Q' has shape \(3,\), but 'R' has 4 frames"),
    (dict(Q=np.zeros(25)), r"'Q' has shape \(25,\), but 'R' has 4 frames"),
    (dict(Q=np.array([0, np.nan, 0, 0])), "total charge is not a finite number in frame 1"),
    (dict(multiplicity=np.ones(5)), r"'multiplicity' has shape \(5,\), but 'R' has 4 frames"),
    (dict(multiplicity=np.array([1, np.nan, 1, 1])), "'multiplicity' must be a whole number"),
    (dict(molecule=np.array(["a", "b"])), r"'molecule' has shape \(2,\), but 'R' has 4 frames"),
    (dict(unit_cell=np.zeros((3, 3, 3))), r"'unit_cell' has shape \(3, 3, 3\) in a.npz, which has 4 frames; expected \(3, 3\) or \(4, 3, 3\)"),
    (dict(unit_cell=np.ones((4, 6))), r"'unit_cell' has shape \(4, 6\)"),
    (dict(unit_cell=np.ones((3, 3))), r"frame 0 of a.npz is periodic .* along cell vectors that lie in one plane or line"),
    (dict(unit_cell=np.eye(3), pbc=np.ones((3, 3), bool)), r"'pbc' has shape \(3, 3\) of bool in a.npz, which has 4 frames"),
    (dict(unit_cell=np.eye(3), pbc=np.array(["T", "T", "F"])), "'pbc' has shape"),
])  # fmt: skip
def test_rows_that_are_not_those_of_the_frames_are_refused(tmp_path, extra, message):
    R, E, F = arrays()
    np.savez(tmp_path / "a.npz", R=R, E=E, F=F, z=WATER, **extra)
    with pytest.raises(DataError, match=message):
        list(read_labelled(tmp_path / "a.npz", units=Units()))


EDGES = np.array([[10.0, 11, 12], [20, 21, 22], [30, 31, 33]])


@pytest.mark.parametrize("n_frames, cell, expected", [
    (4, 9 * np.eye(3)[None], [9 * np.eye(3)] * 4),
    (4, np.array([7.0, 8, 9]), [np.diag([7, 8, 9])] * 4),
    (4, np.arange(1.0, 13).reshape(4, 3), [np.diag([1, 2, 3]), np.diag([4, 5, 6]), np.diag([7, 8, 9]), np.diag([10, 11, 12])]),
    (2, np.arange(18.0).reshape(2, 9) + 9 * np.eye(3).ravel(), [np.arange(9).reshape(3, 3) + 9 * np.eye(3), np.arange(9, 18).reshape(3, 3) + 9 * np.eye(3)]),
    (3, 12 * np.eye(3), [12 * np.eye(3)] * 3),  # edges would be zero along two directions, and others in each frame
    (3, np.array([[5.0, 5, -1], [5, -1, 5], [-1, 5, 5]]), [np.array([[5, 5, -1], [5, -1, 5], [-1, 5, 5]])] * 3),
    (3, np.full((3, 3), 12.0), [12 * np.eye(3)] * 3),  # a matrix of three equal vectors would be no cell
    (4, EDGES, [EDGES] * 4),
])  # fmt: skip
def test_cells_of_every_shape(tmp_path, n_frames, cell, expected):
    R, E, F = arrays(n_frames)
    np.savez(tmp_path / "a.npz", R=R, E=E, F=F, z=WATER, unit_cell=cell)
    read = list(read_labelled(tmp_path / "a.npz", units=Units()))
    np.testing.assert_array_equal([s.cell for s in read], expected)
    assert all(s.pbc.all() for s in read)


def test_a_cell_that_may_be_the_edges_of_three_frames_is_refused(tmp_path):
    R, E, F = arrays(3)
    np.savez(tmp_path / "a.npz", R=R, E=E, F=F, z=WATER, unit_cell=EDGES)
    with pytest.raises(DataError, match=r"'unit_cell' has shape \(3, 3\) in a.npz, which has 3 frames: .* Save it as \(3, 3, 3\)"):
        next(read_labelled(tmp_path / "a.npz", units=Units()))


def test_charge_and_multiplicity_may_be_one_for_all_frames(tmp_path):
    R, E, F = arrays()
    np.savez(tmp_path / "a.npz", R=R, E=E, F=F, z=WATER, Q=np.array([[-1]]), multiplicity=2, molecule=np.array("wat"),
             unit_cell=9 * np.eye(3), pbc=np.array([[True, False, True]]))  # fmt: skip
    read = list(read_labelled(tmp_path / "a.npz", units=Units()))
    assert [(s.charge, s.multiplicity, s.molecule, s.pbc.tolist()) for s in read] == [(-1, 2, "wat", [True, False, True])] * 4


def test_a_first_energy_that_is_no_number_hides_no_unit(tmp_path):
    R, E, F = arrays(energy_unit=Units("hartree").to_eV)
    E[0] = np.nan
    np.savez(tmp_path / "a.npz", **LAYOUTS["md17"](R, E, F))
    read = list(read_labelled(tmp_path / "a.npz", nonfinite="keep"))
    assert np.isnan(read[0].energy) and read[1].energy == pytest.approx(TOTAL, abs=5)
