"""HDF5: the layouts of ANI, the optional labels of SPICE, and files that reach out of themselves."""
import h5py
import numpy as np
import pytest

from potentials.data import DataError, LabelKeys, read_labelled
from potentials.data import ani as ani_module
from potentials.data.units import BOHR, HARTREE

rng = np.random.default_rng(5)
X = rng.standard_normal((4, 3, 3)).astype(np.float32)
E = rng.standard_normal(4) - 76
F = rng.standard_normal((4, 3, 3))


def ani1x(path, **more):
    with h5py.File(path, "w") as file:
        group = file.create_group("H2O1")
        group["atomic_numbers"], group["coordinates"] = np.array([8, 1, 1], np.uint8), X
        group["wb97x_dz.energy"], group["wb97x_dz.forces"] = E, F.astype(np.float32)
        group["wb97x_tz.energy"] = np.where([True, False, True, True], E - 1, np.nan)
        group["wb97x_tz.forces"] = np.where(np.array([True, False, True, True])[:, None, None], 2 * F, np.nan)
        group["ccsd(t)_cbs.energy"] = E - 2
        for key, value in more.items():
            group[key] = value
    return path


def ani2x(path):
    with h5py.File(path, "w") as file:
        group = file.create_group("003")
        group["species"] = np.array([[8, 1, 1], [8, 1, 1], [1, 7, 1], [6, 1, 1]])
        group["coordinates"], group["energies"], group["forces"] = X, E, F
    return path


def test_ani1x_is_read_in_hartree_and_angstrom(tmp_path):
    read = list(read_labelled(ani1x(tmp_path / "a.h5")))
    assert [s.energy for s in read] == pytest.approx(list(E * HARTREE), rel=1e-14)
    for k, s in enumerate(read):
        np.testing.assert_allclose(s.forces, F[k].astype(np.float32) * HARTREE, rtol=1e-6)  # float32 in the file
        np.testing.assert_array_equal(s.positions, X[k])
        assert s.numbers.tolist() == [8, 1, 1] and s.molecule == "H2O"


def test_levels_of_ani1x_are_chosen_by_energy_and_nan_is_passed_over(tmp_path, caplog):
    path = ani1x(tmp_path / "a.h5")
    with caplog.at_level("INFO"):
        read = list(read_labelled(path, keys=LabelKeys(energy="wb97x_tz.energy")))
    assert len(read) == 3 and read[1].energy == pytest.approx((E[2] - 1) * HARTREE) and "1 frames passed over" in caplog.text
    np.testing.assert_allclose(read[1].forces, 2 * F[2] * HARTREE)
    assert all(s.forces is None for s in read_labelled(path, keys=LabelKeys(energy="ccsd(t)_cbs.energy")))


def test_ani2x_is_read_in_pieces(tmp_path, monkeypatch):
    path = ani2x(tmp_path / "a.h5")
    whole = list(read_labelled(path))
    monkeypatch.setattr(ani_module, "CHUNK", 3)
    for s, t in zip(whole, read_labelled(path), strict=True):
        assert s.energy == t.energy and np.array_equal(s.forces, t.forces) and s.source == t.source
    assert [s.molecule for s in whole] == ["H2O", "H2O", "H2N", "CH2"] and whole[2].numbers.tolist() == [1, 7, 1]
    np.testing.assert_allclose(whole[3].forces, F[3] * HARTREE, rtol=1e-14)


@pytest.mark.parametrize("key, value, message", [
    ("wb97x_dz.energy", np.zeros(3), r"'wb97x_dz.energy' has shape \(3,\), expected \(4,\) .group 'H2O1' of a.h5"),
    ("wb97x_dz.forces", np.zeros((4, 2, 3)), r"'wb97x_dz.forces' has shape \(4, 2, 3\), expected \(4, 3, 3\)"),
    ("wb97x_dz.energy", None, "No 'wb97x_dz.energy' in group 'H2O1' of a.h5; there: atomic_numbers, ccsd"),
    ("atomic_numbers", np.array([8, 1]), r"'atomic_numbers' has shape \(2,\), expected \(3,\)"),
    ("coordinates", np.zeros((4, 9)), r"coordinates has shape \(4, 9\)"),
])  # fmt: skip
def test_ani_groups_that_do_not_fit_are_refused(tmp_path, key, value, message):
    path = ani1x(tmp_path / "a.h5")
    with h5py.File(path, "a") as file:
        del file["H2O1"][key]
        if value is not None:
            file["H2O1"][key] = value
    with pytest.raises(DataError, match=message):
        list(read_labelled(path))


# ---------------------------------------------------------------- SPICE

def spice(path, molecules=("water",), n_frames=2, **more):
    with h5py.File(path, "w") as file:
        for name in molecules:
            group = file.create_group(name)
            group["atomic_numbers"], group["conformations"] = np.array([8, 1, 1], np.int16), X[:n_frames]
            group["dft_total_energy"], group["dft_total_gradient"] = E[:n_frames], F[:n_frames]
            for key, value in more.items():
                group[key] = value
    return path


def test_spice_charges_dipoles_and_subset_are_read_where_they_are(tmp_path):
    q, d = np.array([[[-0.8], [0.4], [0.4]]] * 2), np.array([[1.0, 2, 3], [np.nan, 0, 0]])
    path = spice(tmp_path / "a.h5", mbis_charges=q, scf_dipole=d, subset=["SPICE Dipeptides v1.2"])
    first, second = read_labelled(path)
    assert first.charges.tolist() == [-0.8, 0.4, 0.4] and first.subset == "SPICE Dipeptides v1.2"
    np.testing.assert_allclose(first.dipole, np.array([1, 2, 3]) * BOHR)
    assert second.dipole is None and second.energy is not None  # what was not computed for a frame is no reason to lose it


def test_spice_molecules_without_conformations_are_passed_over(tmp_path):
    path = spice(tmp_path / "a.h5", molecules=("a", "b"))
    with h5py.File(path, "a") as file:
        for key in ("conformations", "dft_total_energy", "dft_total_gradient"):
            del file["a"][key]
            file["a"][key] = np.zeros(0, np.float32)
    assert {s.molecule for s in read_labelled(path)} == {"b"}


def test_spice_inputs_without_labels_are_refused_as_such(tmp_path):
    path = spice(tmp_path / "a.h5")
    with h5py.File(path, "a") as file:
        del file["water"]["dft_total_gradient"], file["water"]["dft_total_energy"]
    with pytest.raises(DataError, match="No labels in molecule 'water' of a.h5.*has to be labelled first"):
        list(read_labelled(path))


# ---------------------------------------------------------------- files that reach out

def test_links_to_other_files_are_not_followed(tmp_path):
    spice(tmp_path / "secret.h5")
    with h5py.File(tmp_path / "group.h5", "w") as file:
        file["water"] = h5py.ExternalLink("secret.h5", "/water")
    with pytest.raises(DataError, match="'water' of group.h5 is a link to another file, which is not followed"):
        list(read_labelled(tmp_path / "group.h5"))
    spice(tmp_path / "data.h5")
    with h5py.File(tmp_path / "data.h5", "a") as file:
        del file["water"]["dft_total_energy"]
        file["water"]["dft_total_energy"] = h5py.ExternalLink("secret.h5", "/water/dft_total_energy")
    with pytest.raises(DataError, match="'water/dft_total_energy' of data.h5 is a link to another file"):
        list(read_labelled(tmp_path / "data.h5"))
    with h5py.File(tmp_path / "soft.h5", "w") as file:
        file["elsewhere"] = h5py.ExternalLink("secret.h5", "/")
        file["a"] = h5py.SoftLink("/elsewhere/water")
    with pytest.raises(DataError, match="'a' of soft.h5 leads to another file"):
        list(read_labelled(tmp_path / "soft.h5"))


def test_soft_links_within_a_file_are_followed_and_dangling_ones_refused(tmp_path):
    path = spice(tmp_path / "a.h5", molecules=("b",))
    with h5py.File(path, "a") as file:
        file["a"] = h5py.SoftLink("/b")
    assert [s.molecule for s in read_labelled(path)] == ["a", "a", "b", "b"]
    with h5py.File(path, "a") as file:
        file["c"] = h5py.SoftLink("/nowhere")
    with pytest.raises(DataError, match="'c' of a.h5 cannot be read"):
        list(read_labelled(path))


def test_numbers_kept_in_other_files_are_not_read(tmp_path):
    (tmp_path / "raw").write_bytes(bytes(16))
    spice(tmp_path / "source.h5")
    for name in ("external", "virtual"):
        path = spice(tmp_path / f"{name}.h5")
        with h5py.File(path, "a") as file:
            del file["water"]["dft_total_energy"]
            if name == "external":
                file["water"].create_dataset("dft_total_energy", (2,), "f8", external=[(str(tmp_path / "raw"), 0, 16)])
            else:
                layout = h5py.VirtualLayout((2,), "f8")
                layout[:] = h5py.VirtualSource(str(tmp_path / "source.h5"), "water/dft_total_energy", shape=(2,))
                file["water"].create_virtual_dataset("dft_total_energy", layout)
        with pytest.raises(DataError, match=f"'water/dft_total_energy' of {name}.h5 keeps its numbers in another file"):
            list(read_labelled(path))


def test_data_set_that_claims_more_than_it_stores_takes_no_memory(tmp_path):
    path = spice(tmp_path / "a.h5")
    with h5py.File(path, "a") as file:
        del file["water"]["conformations"]
        file["water"].create_dataset("conformations", (10**9, 3, 3), "f4", chunks=(1000, 3, 3))
    with pytest.raises(DataError, match="'conformations' claims 34 GiB in molecule 'water' of a.h5, but stores 0 bytes"):
        list(read_labelled(path))


def test_cut_files_are_refused(tmp_path):
    content = ani1x(tmp_path / "a.h5").read_bytes()
    (tmp_path / "a.h5").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match="a.h5 cannot be read as HDF5"):
        list(read_labelled(tmp_path / "a.h5"))
    h5py.File(tmp_path / "empty.h5", "w").close()
    with pytest.raises(DataError, match="empty.h5 holds no molecules"):
        list(read_labelled(tmp_path / "empty.h5"))
