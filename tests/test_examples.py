"""Every example does what it says, in a short mode."""
import configparser
import importlib.util
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase.io import read

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"


def mdapp(*words, path=()):
    """The command in a process of its own, from the repository's root; its output when it ends with 0."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([*map(str, path), str(ROOT)])}
    done = subprocess.run([sys.executable, *words], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_peptide_is_a_sound_start_with_all_five_elements():
    from mdapp.structure import check_start, read_structure

    atoms = read_structure(EXAMPLES / "peptide.xyz")
    assert sorted(set(atoms.symbols)) == ["C", "H", "N", "O", "S"] and len(atoms) == 50
    assert atoms.info["charge"] == 0
    assert [f for f in check_start(atoms, (1, 6, 7, 8, 16), 0.5, False, 5.0, "potential") if f.level != "note"] == []


def test_the_peptide_is_what_its_name_says():
    from mdapp.structure import read_structure
    from mdapp.topology import find_bonds, topology_of

    atoms = read_structure(EXAMPLES / "peptide.xyz")
    topology = topology_of(atoms, find_bonds(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc))
    assert [r.name for r in topology.residues] == ["ACE", "SER", "ALA", "MET", "NME"]


def test_run_from_a_config_file(tmp_path):
    mdapp("-m", "mdapp", "run", "--config", "examples/peptide_nvt/run.toml", "--time", "20fs", "--every", "20", "--output", str(tmp_path / "run"), "--threads", "1")
    import mdtraj

    trajectory = mdtraj.load(str(tmp_path / "run" / "trajectory.h5"))
    assert trajectory.n_atoms == 50 and list(trajectory.time) == pytest.approx([0.0, 0.01, 0.02])


def test_run_toml_states_what_it_is_about():
    from mdapp.config import RunConfig
    from mdapp.toml import fill, read_settings

    config = fill(RunConfig, read_settings(str(EXAMPLES / "peptide_nvt" / "run.toml"), "run"), "run.toml")
    assert (config.method, config.temperature, config.timestep, config.steps, config.every) == ("nvt-langevin", 300.0, 0.5, 20_000, 100)


def test_training_example_learns(tmp_path):
    """A fifth of its steps: the errors fall, and best.pt can be used."""
    from mdapp.config import EvaluateConfig
    from mdapp.jobs.evaluate import evaluate

    mdapp("-m", "mdapp", "train", "examples/train_so3krates/train.toml", "--max-steps", "80", "--output", str(tmp_path / "out"), "-q")
    errors = errors_of(evaluate(EvaluateConfig(data=(str(EXAMPLES / "train_so3krates" / "ethanol_gfn2_validation.extxyz"),), potential=(str(tmp_path / "out" / "best.pt"),),
                                               device="cpu", threads=1)))
    forces = np.concatenate([a.get_forces() for a in read(EXAMPLES / "train_so3krates" / "ethanol_gfn2_validation.extxyz", ":")])
    assert errors["forces_mae_meV_A"] < 1000 * np.abs(forces).mean()  # better than forces of zero


@pytest.mark.slow
def test_training_example_reaches_what_it_promises(tmp_path):
    from mdapp.config import EvaluateConfig
    from mdapp.jobs.evaluate import evaluate

    mdapp("-m", "mdapp", "train", "examples/train_so3krates/train.toml", "--output", str(tmp_path / "out"), "-q")
    found = evaluate(EvaluateConfig(data=(str(EXAMPLES / "train_so3krates" / "ethanol_gfn2_validation.extxyz"),), potential=(str(tmp_path / "out" / "best.pt"),),
                                    device="cpu", threads=1))
    errors = errors_of(found)
    assert errors["forces_mae_meV_A"] < 300 and errors["energy_mae_meV_atom"] < 25  # 241 and 17 when it was written


def errors_of(result):
    (found,) = result.summary["data"].values()
    return found["errors"]


def test_training_frames_are_labelled_by_gfn2():
    tblite = pytest.importorskip("tblite.ase", reason="tblite is not installed (extra `reference`)")
    for atoms in read(EXAMPLES / "train_so3krates" / "ethanol_gfn2_train.extxyz", "::20"):
        energy, forces = atoms.get_potential_energy(), atoms.get_forces()
        atoms.calc = tblite.TBLite(method="GFN2-xTB", accuracy=0.2, verbosity=0)
        assert atoms.get_potential_energy() == pytest.approx(energy, abs=1e-5)  # eV; positions have 8 decimals
        np.testing.assert_allclose(atoms.get_forces(), forces, atol=1e-4)


def test_training_and_validation_frames_differ():
    first, second = (read(EXAMPLES / "train_so3krates" / f"ethanol_gfn2_{part}.extxyz", ":") for part in ("train", "validation"))
    assert len(first) == 60 and len(second) == 20
    assert not {a.get_potential_energy() for a in first} & {a.get_potential_energy() for a in second}


@pytest.fixture
def installed_plugin(tmp_path):
    """The plug-in as pip would install it: its folder, and the metadata that its setup.cfg asks for."""
    declared = configparser.ConfigParser()
    declared.read(EXAMPLES / "plugin_potential" / "setup.cfg")
    info = tmp_path / "site" / "soft_sphere-0.1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {declared['metadata']['name']}\nVersion: {declared['metadata']['version']}\n")
    groups = (f"[{group}]\n{lines.strip()}\n" for group, lines in declared["options.entry_points"].items())
    (info / "entry_points.txt").write_text("\n".join(groups))
    return [tmp_path / "site", EXAMPLES / "plugin_potential"]


def test_plugin_potential_passes_its_own_tests():
    assert "3 passed" in mdapp("-m", "pytest", "-p", "no:cacheprovider", "examples/plugin_potential/tests", "-c", os.devnull, path=[EXAMPLES / "plugin_potential"])


def test_plugin_potential_is_found_by_its_name(installed_plugin, tmp_path):
    out = tmp_path / "run"
    said = mdapp("-m", "mdapp", "run", "examples/plugin_potential/spheres.extxyz", "--potential", "soft-sphere", "--timestep", "2fs", "--steps", "50", "--every", "10",
                 "--seed", "1", "--output", str(out), path=installed_plugin)
    assert "soft-sphere" in said and (out / "trajectory.h5").exists()


def test_plugin_architecture_can_be_saved_and_loaded(installed_plugin, tmp_path):
    file = tmp_path / "soft.pt"
    mdapp("-c", "from potentials.architectures import architectures as a; from potentials.checkpoint import Card, save_potential as save\n"
                f"P = a.get('soft-sphere'); save({str(file)!r}, P(P.Config(epsilon=0.5)), Card(level_of_theory='none'))", path=installed_plugin)
    said = mdapp("-c", f"from potentials import load_potential; print(load_potential({str(file)!r}).config)", path=installed_plugin)
    assert "epsilon=0.5" in said


@pytest.fixture
def plugin_monitor():
    """The example as a module; its guard is taken off the list again, so that no other test meets it."""
    from mdapp.monitors import monitors

    spec = importlib.util.spec_from_file_location("plugin_monitor", EXAMPLES / "plugin_monitor.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["plugin_monitor"] = module
    spec.loader.exec_module(module)
    yield module
    monitors._members.pop("handedness")
    del sys.modules["plugin_monitor"]


def moment(atoms, step=0):
    from mdapp.frame import Frame

    zero = np.zeros_like(atoms.positions)
    return Frame(step, step * 10.0, atoms.numbers, atoms.get_masses(), atoms.positions.copy(), zero, zero, np.zeros((3, 3)), np.zeros(3, bool), 0.0, 0.0, 300.0, 0.0)


def test_plugin_monitor_sees_a_mirror_image_and_nothing_else(plugin_monitor):
    from mdapp.topology import find_bonds

    atoms = read(EXAMPLES / "peptide.xyz")
    bonds = find_bonds(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc)
    start = moment(atoms)
    watch = plugin_monitor.HandednessGuard(persist_fs=20.0).begin(start, bonds)
    assert len(watch.centres) == 3  # the alpha carbons of Ser, Ala and Met
    shaken = replace(start, step=1, time_fs=10.0, positions=start.positions + np.random.default_rng(0).normal(0, 0.08, start.positions.shape))
    assert watch.look(shaken).level == "ok"
    mirror = replace(start, positions=start.positions * (1, 1, -1))
    assert watch.look(replace(mirror, step=2, time_fs=20.0)).level == "ok"  # a fleeting one
    verdict = watch.look(replace(mirror, step=4, time_fs=40.0))
    assert verdict.level == "stop" and "mirror image" in verdict.reason and verdict.atoms[0] in watch.centres


def test_plugin_monitor_memory_goes_through_a_restart(plugin_monitor):
    from mdapp.topology import find_bonds

    atoms = read(EXAMPLES / "peptide.xyz")
    bonds = find_bonds(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc)
    start = moment(atoms)
    mirror = replace(start, step=1, time_fs=10.0, positions=start.positions * (1, 1, -1))
    first = plugin_monitor.HandednessGuard(persist_fs=20.0).begin(start, bonds)
    first.look(mirror)
    second = plugin_monitor.HandednessGuard(persist_fs=20.0).begin(mirror, bonds)  # a restart may begin on a frame that is wrong already
    second.restore(first.state())
    assert second.look(replace(mirror, step=3, time_fs=30.0)).level == "stop"


def test_plugin_monitor_watches_a_run(tmp_path):
    said = mdapp("examples/plugin_monitor.py", "examples/peptide.xyz", "so3krates.pt", "5fs", str(tmp_path / "run"))
    assert "handedness" in said and (tmp_path / "run" / "summary.json").exists()
