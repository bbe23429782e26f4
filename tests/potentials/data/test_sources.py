"""A data set of several files, each read by its own keys, units and filters."""
import numpy as np
import pytest
from ase import Atoms
from ase.io import write

from potentials.data import DataError, FileConfig, FilterConfig, Frames, LabelKeys, Units
from potentials.data.units import HARTREE
from potentials.training.config import DataConfig, read_config
from potentials.typed import ConfigError, from_mapping

NUMBERS = np.array([8, 1, 1])


@pytest.fixture
def files(tmp_path):
    """An extended xyz in eV with E and F, an .npz in hartree, and isolated atoms with three frames."""
    frames = []
    for k in range(3):
        atoms = Atoms("OH2", np.random.default_rng(k).standard_normal((3, 3)))
        atoms.info["E"], atoms.arrays["F"] = -10.0 - k, np.full((3, 3), float(k))
        frames.append(atoms)
    oxygen = Atoms("O")
    oxygen.info.update(E=-4.0, config_type="IsolatedAtom")
    write(tmp_path / "a.xyz", [oxygen, *frames], format="extxyz")
    np.savez(tmp_path / "b.npz", R=np.ones((4, 3, 3)), E=np.arange(4.0), F=np.ones((4, 3, 3)), z=NUMBERS)
    return tmp_path


def test_each_file_has_its_own_keys_units_and_filters(files):
    a = FileConfig(str(files / "a.xyz"), keys=LabelKeys(energy="E", forces="F"))
    b = FileConfig(str(files / "b.npz"), units=Units("hartree"), filters=FilterConfig(every=2))
    frames = Frames([a, b], filters=FilterConfig(max_force_eV_A=2.0))
    assert [s.energy for s in frames] == [-4.0, -10.0, -11.0, 0.0, 2.0 * HARTREE]  # a file's own filters take the place of the common ones
    assert frames.fallen == {"max_force_eV_A": 1, "every": 2}
    assert len(list(frames)) == 5 and frames.fallen["every"] == 2  # afresh at each iteration


def test_what_a_file_does_not_say_is_as_for_the_set(files):
    common = FileConfig("", keys=LabelKeys(energy="E", forces="F"), units=Units("hartree"))
    read = list(Frames([str(files / "a.xyz"), FileConfig(str(files / "b.npz"), units=Units("eV"))], common))
    assert read[1].energy == -10 * HARTREE and read[5].energy == 1.0


def test_counts_are_in_the_log(files, caplog):
    with caplog.at_level("INFO"):
        list(Frames([FileConfig(str(files / "b.npz"), units=Units())], filters=FilterConfig(every=2)))
    assert "b.npz: 2 frames taken, 2 fell to every." in caplog.text


def test_filters_that_leave_nothing_are_refused(files):
    with pytest.raises(DataError, match="b.npz: no frame is left, 4 fell to elements. Loosen the filters"):
        list(Frames([FileConfig(str(files / "b.npz"), units=Units())], filters=FilterConfig(elements=("C",))))


def test_toml_names_files_by_text_or_by_table(files):
    (files / "c.toml").write_text(f"""
        [train]
        epochs = 1
        [train.data]
        keys = {{ energy = "E", forces = "F" }}
        train = ["{files}/a.xyz", {{ path = "{files}/b.npz", keys = {{}}, units = {{ energy = "hartree" }} }}]
        filters = {{ max_atoms = 3, charge = [0, 1] }}
        [[train.data.validation]]
        path = "{files}/b.npz"
        keys = {{ energy = "E" }}
        filters = {{ limit = 1 }}
    """)
    data = read_config(files / "c.toml").data
    assert [s.energy for s in data.frames(data.train)] == [-4, -10, -11, -12, *(np.arange(4) * HARTREE)]
    assert len(list(data.frames(data.validation))) == 1 and data.filters.charge == (0.0, 1.0)
    assert len(list(data.frames(f"{files}/a.xyz", FilterConfig(limit=2)))) == 3  # isolated atoms beside


@pytest.mark.parametrize("values, message", [
    ({"train": [{"path": "a.npz", "unit": {}}]}, r"train: unknown key 'unit' .did you mean 'units'"),
    ({"train": [{"path": "a.npz", "units": {"energy": "kcal"}}]}, "units: Unknown unit of energy 'kcal'.*did you mean 'kcal/mol'"),
    ({"train": [{"units": {}}]}, "train: missing key 'path'"),
    ({"train": "a", "lammps": {"units": "lj"}}, "units: got 'lj'.*allowed: real, metal, electron"),
    ({"train": "a", "filters": {"max_force": 3}}, "unknown key 'max_force' .did you mean 'max_force_eV_A'"),
])  # fmt: skip
def test_wrong_settings_are_named(values, message):
    with pytest.raises(ConfigError, match=message):
        from_mapping(DataConfig, values, "[train.data]")


def test_named_keys_must_be_in_the_first_frame_but_not_in_single_atoms_or_later_ones(files):
    keys = LabelKeys(energy="E", forces="F")
    frames = [Atoms("OH", np.eye(2, 3)), Atoms("OH", np.eye(2, 3))]
    for atoms in frames:
        atoms.info["E"] = -1.0
    frames[0].arrays["F"] = np.ones((2, 3))
    write(files / "later.xyz", frames, format="extxyz")
    assert [s.forces is None for s in Frames([FileConfig(str(files / "later.xyz"), keys=keys)])] == [False, True]
    write(files / "first.xyz", frames[::-1], format="extxyz")
    with pytest.raises(DataError, match="No forces in frame 0 of first.xyz: looked for 'F'; there: E"):
        list(Frames([FileConfig(str(files / "first.xyz"), keys=keys)]))
