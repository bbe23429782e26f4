import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

from potentials.architectures.behler_parrinello import BehlerParrinello, Config
from potentials.architectures.behler_parrinello_embedded import Config as EmbeddedConfig
from potentials.architectures.behler_parrinello_embedded import EmbeddedBehlerParrinello
from potentials.checkpoint import load_potential, save_potential
from potentials.conformance import check_potential
from potentials.data import LabelledStructure
from potentials.data.dataset import build_dataset
from potentials.derivatives import energy_forces_stress
from potentials.graph import batch
from potentials.layers.symmetry_functions import SymmetryFunction
from potentials.layers.symmetry_functions.cutoffs import NAMES as CUTOFFS
from potentials.layers.symmetry_functions.grids import Grid
from potentials.layers.symmetry_functions.scaling import MODES
from potentials.neighbours import graph_for


def made(config, seed=0):
    torch.manual_seed(seed)
    kind = EmbeddedBehlerParrinello if isinstance(config, EmbeddedConfig) else BehlerParrinello
    potential = kind(config).double()
    potential.energy_unit.fill_(0.05)  # eV, as data would have it
    return potential.eval()


def frames(n=6, seed=0):
    rng = np.random.default_rng(seed)
    found = []
    for name in ("CH3OH", "H2O", "CH4") * (n // 3):
        atoms = molecule(name)
        atoms.rattle(0.08, rng=rng)
        found.append(atoms)
    return found


def dataset(cutoff=4.0):
    rng = np.random.default_rng(3)

    def labelled(a):
        return LabelledStructure(
            numbers=a.numbers, positions=a.positions, energy=float(rng.normal()) - 10 * len(a), forces=None, stress=None, cell=np.zeros((3, 3)),
            pbc=np.zeros(3, dtype=bool), charge=0.0, molecule="", source="made here",
        )  # fmt: skip

    return build_dataset([labelled(a) for a in frames()], cutoff)


ANGULAR = Grid(n_radial=3, n_angular=1, zetas=(1.0, 2.5))
VARIANTS = {
    "one element": Config(elements=(3,), cutoff=4.0, grid=Grid("mlearn"), hidden=(6, 6)),
    "three elements": Config(elements=(1, 6, 8), cutoff=4.0, grid=ANGULAR, hidden=(8,)),
    "atomic numbers as weights": Config(elements=(1, 6, 8), cutoff=4.0, grid=Grid("imbalzano", 3, 2, weighted=True), hidden=(8,)),
    "wide": Config(elements=(1, 8), cutoff=4.0, grid=Grid("equidistant", 4, 6, wide=True), hidden=(8, 4), activation=("softplus", "silu")),
    "AEV": Config(elements=(1, 8), hidden=(8,), activation="celu", functions=(
        *(SymmetryFunction("AEV-R", 4.0, z, eta=8.0, rs=rs) for z in (1, 8) for rs in (1.0, 2.0)),
        *(SymmetryFunction("AEV-A", 3.2, a, b, eta=8.0, rs=1.5, zeta=14.1, theta=1.2) for a, b in ((1, 1), (1, 8), (8, 8))))),
    "by centre": Config(elements=(1, 8), hidden=(5,), functions=(
        SymmetryFunction("G2", 4.0, 8, eta=0.2, centre=1), SymmetryFunction("G2", 3.5, 1, eta=0.3, rs=1.0, centre=8, cutoff_fn="poly5", inner=0.2),
        SymmetryFunction("G5", 4.0, 1, 1, eta=0.05, zeta=3.0, centre=8), SymmetryFunction("G3", 4.0, 1, kappa=1.5))),
    "embedded": EmbeddedConfig(elements=(1, 6, 8), cutoff=4.0, grid=Grid(n_radial=4, n_angular=1, weighted=True), n_channels=3, n_centre=4, hidden=(8,)),
}  # fmt: skip


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_keeps_the_laws(name):
    check_potential(made(VARIANTS[name]))


@pytest.mark.parametrize("cutoff_fn", [c for c in CUTOFFS if c != "hard"])
def test_every_cutoff_function_keeps_the_laws(cutoff_fn):
    check_potential(made(Config(elements=(1, 8), cutoff=4.0, cutoff_fn=cutoff_fn, inner=0.0 if cutoff_fn.startswith("tanh") else 0.3, grid=ANGULAR, hidden=(4,))))


@pytest.mark.parametrize("mode", MODES)
def test_scaling_takes_the_training_data_to_the_size_that_its_name_says(mode):
    data = dataset()
    potential = made(Config(elements=(1, 6, 8), cutoff=4.0, grid=ANGULAR, scaling=mode, hidden=(4,)))
    words = potential.fit_to([data.batch([0, 1, 2, 3]), data.batch([4, 5])])
    assert words.startswith("Descriptors: H 33")
    together = data.batch(range(6)).graph
    for (atoms, G), scaling in zip(potential._descriptors_by_element(together), potential.scalings):
        x, kept = scaling(G), (G.amax(0) > G.amin(0)) if mode != "none" else torch.ones(G.shape[1], dtype=torch.bool)
        assert kept.sum() > 5
        assert int(scaling.n_seen) == len(atoms)
        torch.testing.assert_close(scaling.mean, G.mean(0), rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(scaling.sigma, G.std(0), rtol=1e-9, atol=1e-13)
        if mode == "range":
            torch.testing.assert_close(x[:, kept].amin(0), torch.zeros(int(kept.sum())).double(), rtol=0, atol=1e-12)
            torch.testing.assert_close(x[:, kept].amax(0), torch.ones(int(kept.sum())).double(), rtol=0, atol=1e-12)
        elif mode == "none":
            assert torch.equal(x, G)
        else:
            assert x[:, kept].mean(0).abs().max() < 1e-9
            width = {"centre": G.amax(0) - G.amin(0), "centre-range": torch.ones_like(G[0])}.get(mode)
            if width is None:
                torch.testing.assert_close(x[:, kept].std(0), torch.ones(int(kept.sum())).double(), rtol=1e-9, atol=0)
            else:
                torch.testing.assert_close((x.amax(0) - x.amin(0))[kept], width[kept], rtol=1e-9, atol=1e-12)
        assert (x[:, ~kept] == 0).all()


def test_energy_unit_is_the_spread_of_what_the_elements_leave():
    data = dataset()
    potential = made(VARIANTS["three elements"])
    potential.set_reference_energies({1: -10.0, 6: -10.0, 8: -10.0})
    potential.fit_to([data.batch(range(6))])
    left = (data.energy + 10 * data.atom_counts) / data.atom_counts
    assert float(potential.energy_unit) == pytest.approx(left.std(ddof=1), rel=1e-12)


def test_training_data_do_not_extrapolate_and_what_lies_outside_is_counted():
    data = dataset()
    potential = made(VARIANTS["three elements"])
    assert energy_forces_stress(potential, graph_for(frames()[0], potential)).outputs.extrapolation.abs().max() == 0  # nothing known yet
    potential.fit_to([data.batch(range(6))])
    inside = energy_forces_stress(potential, data.batch(range(6)).graph).outputs.extrapolation
    assert inside.abs().max() == 0
    squeezed = frames()[0]
    squeezed.positions *= 0.8
    found = energy_forces_stress(potential, graph_for(squeezed, potential)).outputs.extrapolation
    assert found.shape == (len(squeezed), 2) and found[:, 0].max() > 3 and found[:, 1].max() > 0.1
    for atoms, beyond in potential.overshoot(graph_for(squeezed, potential)):
        torch.testing.assert_close((beyond > 0).sum(1).double(), found[atoms, 0])
        torch.testing.assert_close(beyond.amax(1), found[atoms, 1])


def test_extrapolation_in_single_precision_is_not_rounding():
    data = dataset()
    potential = made(VARIANTS["three elements"]).float()
    potential.fit_to([data.batch([k]) for k in range(6)])
    assert energy_forces_stress(potential, data.batch(range(6)).graph).outputs.extrapolation.abs().max() == 0


@pytest.mark.parametrize("name", ["three elements", "by centre", "AEV", "embedded"])
def test_a_file_gives_back_the_same_energies(name, tmp_path):
    potential = made(VARIANTS[name])
    data = dataset(potential.cutoff)
    chosen = [k for k in range(6) if set(data.batch([k]).graph.numbers.tolist()) <= set(potential.elements)]
    potential.set_reference_energies({z: -float(z) for z in potential.elements})
    potential.fit_to([data.batch(chosen)])
    save_potential(tmp_path / "p.pt", potential)
    again = load_potential(tmp_path / "p.pt")
    graph = data.batch(chosen).graph
    assert torch.equal(again(graph), potential(graph))
    assert again.config == potential.config


def test_order_of_atoms_and_mixtures_of_elements_do_not_matter():
    potential = made(VARIANTS["three elements"])
    graphs = [graph_for(a, potential) for a in (molecule("CH4"), molecule("O2"), molecule("H2O"))]
    together = potential(batch(graphs))
    torch.testing.assert_close(together, torch.cat([potential(g) for g in graphs]), rtol=1e-12, atol=1e-14)


def test_energy_can_be_differentiated_three_times():
    """Training on forces takes second derivatives, fine-tuning of stress no more; a soft mode analysis takes them too."""
    potential = made(VARIANTS["three elements"])
    graph = graph_for(molecule("CH3OH"), potential)
    r = energy_forces_stress(potential, graph, create_graph=True)
    r.forces.square().sum().backward()
    gradients = [p.grad for p in potential.parameters() if p.grad is not None]
    assert len(gradients) >= 6 and all(torch.isfinite(g).all() for g in gradients)


def test_a_new_element_leaves_the_old_ones_bit_for_bit():
    small = made(VARIANTS["embedded"])
    config = VARIANTS["embedded"]
    large = EmbeddedBehlerParrinello(EmbeddedConfig(**{**{f: getattr(config, f) for f in config.__dataclass_fields__}, "elements": (1, 6, 7, 8)})).double()
    large.load_state_dict(small.state_dict())
    atoms = molecule("CH3OH")
    assert torch.equal(large(graph_for(atoms, large)), small(graph_for(atoms, small)))
    assert torch.isfinite(large(graph_for(molecule("NH3"), large))).all()


def test_a_doubled_cell_smaller_than_the_cutoff_has_twice_the_energy():
    potential = made(VARIANTS["one element"])
    atoms = bulk("Li", "bcc", a=3.4)
    assert min(atoms.cell.lengths()) < potential.cutoff
    one = energy_forces_stress(potential, graph_for(atoms, potential), stress=True)
    eight = energy_forces_stress(potential, graph_for(atoms * (2, 2, 2), potential), stress=True)
    assert float(eight.energy) == pytest.approx(8 * float(one.energy), rel=1e-12)
    torch.testing.assert_close(eight.stress, one.stress, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("options, message", [
    ({"hidden": ()}, "hidden must name one or more widths"), ({"activation": "tangens"}, "no activation 'tangens'"),
    ({"activation": ("tanh",), "hidden": (3, 3)}, "names 1 functions, and there are 2 hidden layers"), ({"cutoff": -1.0}, "cutoff must be > 0"),
    ({"cutoff_fn": "phys"}, "no cutoff function 'phys'"), ({"scale_min": 2.0}, "scale_max must be above scale_min"),
])  # fmt: skip
def test_settings_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Config(**options)


def test_an_element_without_functions_is_refused_by_name():
    with pytest.raises(ValueError, match="O has no symmetry function"):
        BehlerParrinello(Config(elements=(1, 8), functions=(SymmetryFunction("G2", 4.0, 1, centre=1),)))


def test_learned_vectors_want_weighted_functions():
    with pytest.raises(ValueError, match="need weighted symmetry functions"):
        EmbeddedConfig(functions=(SymmetryFunction("G2", 4.0, 1),))


def test_atoms_out_of_reach_have_the_energy_of_a_lone_atom():
    potential = made(VARIANTS["one element"])
    lone = energy_forces_stress(potential, graph_for(Atoms("Li"), potential))
    pair = energy_forces_stress(potential, graph_for(Atoms("Li2", [[0, 0, 0], [9, 0, 0]]), potential))
    assert float(pair.energy) == pytest.approx(2 * float(lone.energy), rel=1e-12)
    assert torch.equal(pair.forces, torch.zeros(2, 3).double())
