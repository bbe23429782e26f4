"""Each check finds what was doctored, names that frame and no other, and leaves healthy data in peace."""
import time
from dataclasses import replace

import numpy as np
import pytest
from ase.build import molecule
from scipy.spatial.transform import Rotation

from data.cleaning.sets import ATOM, HEALTHY, at, changed, inspected, labelled, metal, molecules, scaled, suspected, trajectory
from potentials.data.cleaning import CleaningSettings, Collector, collect, geometry, inspect
from potentials.data.cleaning.checks.duplicates import originals
from potentials.data.units import BOHR, HARTREE, KJ_PER_MOL

KCAL = 4.184 * KJ_PER_MOL  # eV


@pytest.mark.parametrize("name", HEALTHY)
def test_healthy_data_raise_nothing(name):
    assert suspected(HEALTHY[name]()) == {}


def test_healthy_files_together_raise_nothing():
    assert suspected(molecules(seed=3), molecules(seed=4), trajectory(), metal()) == {}


# copies


@pytest.mark.parametrize("turned", ["as it is", "turned and moved", "reordered"])
@pytest.mark.parametrize("make", [molecules, lambda: molecules(("C6H6",), 60)], ids=["molecules", "benzene"])
def test_a_copy_is_found_and_its_original_named(turned, make):
    frames = make()
    s = frames[7]
    if turned == "turned and moved":
        R = Rotation.from_rotvec([0.3, -1.0, 2.0]).as_matrix()
        s = replace(s, positions=s.positions @ R + 4.0, forces=s.forces @ R)
    elif turned == "reordered":
        order = np.random.default_rng(0).permutation(len(s.numbers))
        s = replace(s, numbers=s.numbers[order], positions=s.positions[order], forces=s.forces[order])
    found = inspected([*frames, s])
    copies = [f for f in found.suspicions if f.check == "exact copy"]
    assert [f.frames.tolist() for f in copies] == [[len(frames)]] and copies[0].others.tolist() == [7]
    assert len(found.suspicions) == 1


def test_a_copy_of_a_crystal_may_be_given_by_other_images():
    frames = metal()
    s = frames[3]
    other_images = np.random.default_rng(0).integers(-1, 2, (len(s.numbers), 3)) @ s.cell
    assert suspected([*frames, replace(s, positions=s.positions + other_images)]) == {"exact copy": [len(frames)]}


def test_a_slightly_strained_cell_is_no_copy():
    s = metal(1)[0]
    t = collect([("a", [s, replace(s, cell=1.006 * s.cell, positions=1.006 * s.positions)])])
    assert originals(t, CleaningSettings())[0].tolist() == [-1, -1]


def test_the_same_geometry_with_another_energy_is_a_contradiction():
    frames = molecules()
    found = suspected([*frames, replace(frames[40], energy=frames[40].energy + 0.1)])
    assert found == {"contradiction": [len(frames)]}


def test_single_atoms_of_two_levels_of_theory_contradict_each_other():
    def atoms(shift):
        return [labelled(np.array([z]), np.zeros((1, 3)), e + shift, np.zeros((1, 3))) for z, e in ATOM.items()]

    assert suspected(atoms(0.0), atoms(1.0)) == {"contradiction": [4, 5, 6, 7]}


def test_frames_of_a_slow_trajectory_are_near_copies_of_the_kept_ones():
    frames = trajectory(steps=200, step=0.003)
    t = collect([("a", frames)])
    settings = CleaningSettings()
    other, apart = originals(t, settings)
    copies = np.flatnonzero(other >= 0)
    assert 60 < len(copies) < 199 and suspected(frames)["near copy"] == copies.tolist()
    assert (other[other[copies]] == -1).all()  # originals are kept themselves
    assert (apart[copies] < settings.near_copy).all()


def test_training_copies_of_validation_frames_are_beyond_doubt():
    large = ("CH3CH2OH", "C3H8", "HCOOCH3")  # small ones come near each other by chance
    training, validation = molecules(large, seed=1), molecules(large, seed=2, each=3)
    collector = Collector()
    for s in collector.reading("train.xyz", [*training, validation[5]]):
        collector.add(s)
    for s in collector.reading("valid.xyz", validation, held_out=True):
        collector.add(s)
    found = inspect(collector.table())
    assert np.flatnonzero(found.beyond_doubt()).tolist() == [len(training)]  # the training frame goes, validation stays
    assert [f.check for f in found.suspicions] == ["copy across the split"]


def test_copies_are_found_fast_among_many_frames():
    rng = np.random.default_rng(0)
    t = collect([("a", molecules(("CH3CH2OH",), 50))])
    n, home = 20_000, molecule("CH3CH2OH").positions
    modes = 0.3 * rng.standard_normal((4, *home.shape))  # soft motion
    x = home + np.einsum("nm,mij->nij", rng.standard_normal((n, 4)), modes) + 0.05 * rng.standard_normal((n, *home.shape))
    i, j = geometry._fixed_pairs(9)
    distances = np.zeros((n, t.distances.shape[1]), dtype=np.float32)
    distances[:, : len(i)] = np.linalg.norm(x[:, i] - x[:, j], axis=2)
    distances[-1000:] = distances[:1000] + rng.normal(0, 1e-3, distances[:1000].shape) * (distances[:1000] != 0)
    rows = np.zeros(n, dtype=int)
    columns = {name: getattr(t, name)[rows] for name in t.__dataclass_fields__ if isinstance(getattr(t, name), np.ndarray) and len(getattr(t, name)) == 50}
    many = replace(t, **{**columns, "distances": distances, "sums": rng.random((n, t.sums.shape[1]))})
    began = time.process_time()
    other, _ = originals(many, CleaningSettings())
    assert time.process_time() - began < 20  # 1 s of an idle core; 100 000 frames take 6
    assert (other[-1000:] == np.arange(1000)).all() and (other[:-1000] == -1).all()


# contacts and forces


def test_atoms_too_close_are_found_and_overlaps_are_beyond_doubt():
    frames = molecules()
    close, overlapping = frames[0].positions.copy(), frames[60].positions.copy()
    close[0] = close[1] + 0.55 * np.array([1.52, 0, 0])  # two carbons
    overlapping[0] = overlapping[1] + [0.15, 0, 0]
    frames = changed(changed(frames, 0, positions=close), 60, positions=overlapping)
    found = inspected(frames)
    contacts = next(f for f in found.suspicions if f.check == "too close")
    assert contacts.frames.tolist() == [0, 60] and contacts.beyond_doubt.tolist() == [False, True]
    assert contacts.values[0] == pytest.approx(0.55, abs=1e-6)
    assert np.flatnonzero(found.beyond_doubt()).tolist() == [60]


def test_atoms_too_close_across_a_cell_wall_are_found():
    s = metal(1)[0]
    positions = s.positions.copy()
    positions[0], positions[1] = [0.05, 0, 0], s.cell[0] - [0.5, 0, 0]
    assert suspected([replace(s, positions=positions)])["too close"] == [0]


def test_absurd_and_outlying_forces():
    frames = molecules(width=0.02)
    largest = max(np.linalg.norm(s.forces, axis=1).max() for s in frames)
    pulled = frames[11].forces.copy()
    pulled[0] += [60.0, 0, 0]
    pulled[1] -= [60.0, 0, 0]  # no net force
    assert largest < 15
    assert suspected(changed(frames, 11, forces=pulled)) == {"outlying force": [11]}
    assert suspected(changed(frames, 11, forces=3 * pulled)) == {"absurd force": [11]}


def test_a_net_force_is_found_by_the_quiet_of_the_rest():
    frames = molecules()
    assert suspected(changed(frames, 20, forces=frames[20].forces + 0.2)) == {"net force": [20]}
    noisy = [replace(s, forces=s.forces + 0.03 * np.random.default_rng(k).standard_normal(s.forces.shape)) for k, s in enumerate(frames)]
    assert suspected(noisy) == {}


def test_the_net_force_of_a_cell_is_not_asked_for():
    frames = metal()
    assert suspected(changed(frames, 5, forces=frames[5].forces + 0.1)) == {}


# energies


def test_an_energy_off_its_composition_is_found():
    frames = molecules()
    assert suspected(changed(frames, 33, energy=frames[33].energy + 12.0))["energy off"] == [33]
    assert suspected(changed(frames, 33, energy=frames[33].energy - 12.0))["energy off"] == [33]


def test_a_strained_frame_may_lie_high():
    frames = molecules(("CH3CH2OH",), 60)
    rng = np.random.default_rng(5)
    strained = at("CH3CH2OH", frames[0].positions + 0.2 * rng.standard_normal((9, 3)))
    assert strained.energy > frames[0].energy + 5
    assert "energy off" not in suspected([*frames, strained])


def test_a_composition_off_the_fit_by_element_is_found():
    frames = [replace(s, energy=s.energy + 4.0) if s.molecule == "HCOOH" else s for s in molecules()]
    assert suspected(frames) == {"composition off": [k for k, s in enumerate(frames) if s.molecule == "HCOOH"]}


def test_two_levels_of_theory_in_one_molecule_are_told_apart():
    frames = molecules(("CH3CH2OH",), 100)
    mixed = [replace(s, energy=s.energy + 6.0) if k % 4 == 0 else s for k, s in enumerate(frames)]
    assert suspected(mixed) == {"mixed levels": list(range(0, 100, 4))}


def test_two_files_of_different_levels_are_told_apart_and_the_file_is_named():
    other = [replace(s, energy=s.energy - 5.2) for s in molecules(("CH3CH2OH",), 60, seed=9)]
    found = [f for f in inspected(molecules(("CH3CH2OH",), 100), other).suspicions if f.check == "mixed levels"]
    assert found[0].frames.tolist() == list(range(100, 160)) and "1.xyz" in found[0].sentence and "0.xyz" not in found[0].sentence


def test_isomers_of_one_composition_are_no_levels_of_theory():
    frames = molecules(("CH3CH2OH", "CH3OCH3"), 60)
    apart = [replace(s, energy=s.energy + 3.0) if s.molecule == "CH3OCH3" else s for s in frames]
    assert "mixed levels" not in suspected(apart)


def test_a_hot_cluster_above_a_cold_one_is_no_level_of_theory():
    assert "mixed levels" not in suspected([*molecules(("CH3CH2OH",), 60, width=0.02), *molecules(("CH3CH2OH",), 60, width=0.12)])


def test_levels_named_apart_are_a_suspicion_and_are_not_compared():
    collector = Collector()
    for name, level, shift in (("a", "PBE", 0.0), ("b", "B3LYP", 9.0)):
        for s in collector.reading(name, [replace(s, energy=s.energy + shift) for s in molecules(seed=len(level))], level=level):
            collector.add(s)
    checks = [f.check for f in inspect(collector.table()).suspicions]
    assert checks.count("mixed levels") >= 1 and "energy off" not in checks and "composition off" not in checks


# units and signs

WRONG = {
    "forces against energies": [
        (dict(energy=1 / KCAL), "energies in kcal/mol beside"), (dict(forces=1 / KCAL), "forces in kcal/mol/Å beside"),
        (dict(energy=1 / HARTREE), "energies in hartree beside"), (dict(forces=BOHR / HARTREE), "forces in hartree/bohr beside"),
        (dict(energy=1 / KJ_PER_MOL), "energies in kJ/mol beside"), (dict(forces=-1.0), "the sign is wrong, as where gradients"),
        (dict(forces=BOHR), "forces in eV/bohr taken"),
    ],
    "unit of energy": [
        (dict(energy=1 / HARTREE, forces=BOHR / HARTREE, length=1.0), "hartree"), (dict(energy=1 / KCAL, forces=1 / KCAL), "kcal/mol"),
        (dict(energy=1 / KJ_PER_MOL, forces=1 / KJ_PER_MOL), "kJ/mol"),
    ],
    "unit of length": [(dict(length=1 / BOHR), "bohr taken for Å"), (dict(length=BOHR), "Å taken for bohr"), (dict(length=0.1), "nm taken for Å")],
    "unit of force": [(dict(energy=1 / KCAL, forces=1 / KCAL), "kcal/mol/Å taken for eV/Å")],
}  # fmt: skip


@pytest.mark.parametrize("make", [trajectory, lambda: molecules(("CH3CH2OH",), 200), molecules], ids=["trajectory", "sample", "molecules"])
@pytest.mark.parametrize("check, wrong, words", [(check, *case) for check, cases in WRONG.items() for case in cases])
def test_wrong_units_are_named(check, wrong, words, make):
    found = [f for f in inspected(scaled(make(), **wrong)).suspicions if f.check == check]
    assert len(found) == 1 and words in found[0].sentence and found[0].files == (0,)


def test_the_file_in_wrong_units_is_named_beside_a_sound_one():
    found = [f for f in inspected(trajectory(), scaled(trajectory(seed=5), energy=1 / KCAL)).suspicions if f.check == "forces against energies"]
    assert [f.files for f in found] == [(1,)] and "1.xyz" in found[0].sentence


def test_an_energy_that_jumps_up_and_back_with_no_work_done_is_found():
    frames = trajectory()
    found = suspected(changed(frames, 70, energy=frames[70].energy + 1.0))
    assert found["energy against work"] == [70]


# labels


def test_frames_without_labels_and_charged_ones_are_noted_and_are_no_suspicion():
    frames = changed(changed(changed(molecules(), 3, energy=None), 4, forces=None), 5, charge=1.0)
    found = {f.check: (f.frames.tolist(), f.note) for f in inspected(frames).findings}
    assert found == {"no energy": ([3], True), "no forces": ([4], True), "charged": ([5], True)}


@pytest.mark.parametrize("field", ["energy", "forces", "positions"])
def test_what_is_not_finite_is_beyond_doubt(field):
    frames = molecules()
    value = getattr(frames[9], field)
    found = inspected(changed(frames, 9, **{field: value * np.nan}))
    assert np.flatnonzero(found.beyond_doubt()).tolist() == [9] and [f.check for f in found.suspicions] == ["not finite"]


def test_rare_and_unwanted_elements_are_found():
    frames = molecules()
    numbers = frames[2].numbers.copy()
    numbers[0] = 14
    table = collect([("a", changed(frames, 2, numbers=numbers))])
    checks = {f.check: f.frames.tolist() for f in inspect(table, elements=(1, 6, 7, 8)).suspicions}
    assert checks["rare element"] == [2] and checks["other elements"] == [2]


# settings and the table


@pytest.mark.parametrize("wrong", [dict(too_close=0.0), dict(overlap=0.7), dict(exact_copy=0.1), dict(near_copy=-1.0)])
def test_thresholds_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        CleaningSettings(**wrong)


def test_thresholds_are_settings():
    frames = molecules()
    assert suspected(frames, settings=CleaningSettings(too_close=0.95))["too close"]
    assert suspected(frames, settings=CleaningSettings(largest_force=1.0, force_ratio=1e9))["absurd force"]


def test_memory_of_a_frame_does_not_grow_with_its_atoms_but_for_the_samples():
    small, large = (collect([("a", [labelled(np.ones(n, int), 2.0 * np.random.default_rng(n).random((n, 3)) * n, None, None)])]) for n in (4, 120))
    assert small.distances.nbytes == large.distances.nbytes and small.sums.nbytes == large.sums.nbytes


def test_no_frames_and_one_frame_are_no_trouble():
    assert inspected([]).findings == ()
    assert suspected(molecules(("H2O",), 1)) == {}
