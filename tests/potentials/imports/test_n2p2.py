import shutil

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule

from potentials.architectures.behler_parrinello import BehlerParrinello, Config
from potentials.checkpoint import load_potential, save_potential
from potentials.derivatives import energy_forces_stress
from potentials.exports import exports
from potentials.imports import imports
from potentials.layers.symmetry_functions import SymmetryFunction
from potentials.layers.symmetry_functions.grids import Grid
from potentials.neighbours import graph_for
from tests.potentials.architectures.test_behler_parrinello import dataset
from tests.potentials.layers.acsf_reference import FOLDER, needs_reference

LI = FOLDER / "li_nnp_mlearn"
ILL_CONDITIONED = (43, 90, 96, 133)  # over-fitted at short triples: moving atoms by 1e-9 Å, the digits of a file, changes forces of 90 by 7e-5 eV/Å
DATA = FOLDER.parents[1] / "data" / "mlearn_li" / "training.xyz.gz"


@needs_reference
@pytest.mark.skipif(not DATA.is_file(), reason=f"no structures in {DATA}")
def test_the_published_lithium_potential_gives_its_published_predictions():
    from potentials.data.read import read_labelled

    potential = imports.get("n2p2")(LI)
    with np.load(LI / "predictions_training.npz") as data:
        stored = dict(data)
    start = np.concatenate([[0], np.cumsum(stored["natoms"])])
    for k, s in enumerate(read_labelled(DATA)):
        if k % 10:
            continue
        atoms = Atoms(s.numbers, s.positions, cell=s.cell, pbc=s.pbc)
        r = energy_forces_stress(potential, graph_for(atoms, potential), stress=True)
        assert float(r.energy[0]) == pytest.approx(stored["energy_eV"][k], abs=1e-8 * len(atoms))
        limit = 3e-4 if k in ILL_CONDITIONED else 1e-6
        np.testing.assert_allclose(r.forces, stored["forces_eV_A"][start[k] : start[k + 1]], atol=limit)
        np.testing.assert_allclose(r.stress[0] * atoms.get_volume(), stored["dE_dstrain_eV"][k], atol=max(1e-4, 10 * limit if k in ILL_CONDITIONED else 0))
        assert r.outputs.extrapolation[:, 0].max() == 0  # its own training data


def trained(config):
    torch.manual_seed(2)
    potential = BehlerParrinello(config).double()
    data = dataset(potential.cutoff)
    potential.set_reference_energies({1: -13.6, 6: -1030.0, 8: -2042.0})
    potential.fit_to([data.batch(range(6))])
    return potential


ALL = (1, 6, 8)
SETS = {
    "grid": Config(ALL, cutoff=4.0, grid=Grid(n_radial=3, n_angular=1, zetas=(1.0, 2.5)), hidden=(5, 4), activation=("tanh", "softplus"), scaling="centre-range"),
    "sigma": Config(ALL, cutoff=4.5, cutoff_fn="poly5", inner=0.2, grid=Grid("imbalzano", 2, 1, wide=True), hidden=(4,), scaling="sigma"),
    "weighted": Config(ALL, cutoff=4.0, cutoff_fn="tanh3", grid=Grid("equidistant", 3, 4, weighted=True), hidden=(4,), scaling="range", scale_min=-1.0),
    "unscaled": Config(ALL, cutoff=4.0, grid=Grid("gastegger-centred", 2, 0), hidden=(3,), scaling="none"),
    "by centre": Config(ALL, hidden=(3, 3), scaling="centre", functions=(
        *(SymmetryFunction("G2", 4.0, a, eta=0.1 * b, centre=b) for a in ALL for b in ALL), SymmetryFunction("G1", 3.0, 1),
        SymmetryFunction("G4", 3.7, 1, 6, eta=0.02, rs=0.3, zeta=4.0, lam=-1.0, centre=8))),
}  # fmt: skip


@pytest.mark.parametrize("name", SETS)
def test_what_is_exported_comes_back_as_the_same_potential(name, tmp_path):
    potential = trained(SETS[name])
    files = exports.get("n2p2")(potential, tmp_path)
    assert {f.name for f in files} == {"input.nn", "scaling.data", "weights.001.data", "weights.006.data", "weights.008.data"}
    again = imports.get("n2p2")(tmp_path)
    atoms = molecule("CH3CH2OH")
    atoms.rattle(0.1, seed=3)
    graph = graph_for(atoms, potential)
    mine, theirs = energy_forces_stress(potential, graph), energy_forces_stress(again, graph_for(atoms, again))
    assert float(theirs.energy) == pytest.approx(float(mine.energy), abs=1e-9)  # of -3000 eV
    torch.testing.assert_close(theirs.forces, mine.forces, rtol=0, atol=1e-10)


@needs_reference
def test_the_published_potential_survives_file_and_export(tmp_path):
    potential = imports.get("n2p2")(LI)
    save_potential(tmp_path / "li.pt", potential)
    exports.get("n2p2")(load_potential(tmp_path / "li.pt"), tmp_path)
    again = imports.get("n2p2")(tmp_path / "input.nn")
    atoms = Atoms("Li3", [[0, 0, 0], [2.9, 0, 0], [1.2, 2.6, 0.4]])
    one, other = (energy_forces_stress(p, graph_for(atoms, p)) for p in (potential, again))
    torch.testing.assert_close(other.forces, one.forces, rtol=0, atol=1e-10)


@pytest.mark.parametrize("config, message", [
    (Config((1,), functions=(SymmetryFunction("G3", 4.0, 1, kappa=1.0),)), "no symmetry function of the kind G3"),
    (Config((1,), functions=(SymmetryFunction("G2", 4.0, 1), SymmetryFunction("G2", 4.0, 1, cutoff_fn="exp"))), "one cutoff function for all"),
    (Config((1,), grid=Grid(n_angular=0), activation="silu"), "n2p2 has no activation 'silu'"),
    (Config((1,), grid=Grid(n_angular=0)), "never trained"),
])  # fmt: skip
def test_what_n2p2_cannot_hold_is_refused(config, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        exports.get("n2p2")(BehlerParrinello(config), tmp_path)
    assert not list(tmp_path.iterdir())


DAMAGES = [
    ("input.nn", lambda t: t.replace("elements ", "elementz "), "lacks the keyword elements"),
    ("input.nn", lambda t: t + "\nsymfunction_short H 2 H 0.1 0.0\n", "expected 1 neighbour elements and 3 numbers"),
    ("input.nn", lambda t: t + "\nsymfunction_short H 21 H 0.1 0.0 4\n", "type 21 is not read"),
    ("input.nn", lambda t: t + "\nsymfunction_short H 2 H nan 0.0 4\n", "not a finite number"),
    ("input.nn", lambda t: t + "\nnnp_type 4G-HDNNP\n", "uses nnp_type"),
    ("input.nn", lambda t: t.replace("cutoff_type 1", "cutoff_type 17"), "cutoff_type 17 is unknown"),
    ("input.nn", lambda t: t.replace("t p l", "t x l"), "no activation 'x'"),
    ("scaling.data", lambda t: t.rsplit("\n", 2)[0] + "\n", "lines of O, and input.nn names"),
    ("scaling.data", lambda t: t.replace("   1    2 ", "   1    7 "), "does not follow the one before"),
    ("weights.008.data", lambda t: t.rsplit("\n", 2)[0], "numbers; a network of"),
    ("weights.006.data", lambda t: t.replace(" a         1 ", " b         1 "), "do not stand in n2p2's order"),
    ("weights.001.data", None, "There is no file"),
]  # fmt: skip


@pytest.mark.parametrize("file, damage, message", DAMAGES, ids=[f"{f}: {m}" for f, _, m in DAMAGES])
def test_damaged_files_are_refused_by_name(file, damage, message, tmp_path):
    exports.get("n2p2")(trained(SETS["grid"]), tmp_path)
    path = tmp_path / file
    if damage is None:
        path.unlink()
    else:
        path.write_text(damage(path.read_text()))
    with pytest.raises(ValueError, match=message) as error:
        imports.get("n2p2")(tmp_path)
    assert str(tmp_path) in str(error.value)


def test_a_folder_that_is_none_is_refused(tmp_path):
    with pytest.raises(ValueError, match="an n2p2 potential is a folder"):
        imports.get("n2p2")(tmp_path / "nothing")
    shutil.rmtree(tmp_path)
