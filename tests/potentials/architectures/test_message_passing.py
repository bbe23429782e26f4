from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.calculator import PropertyNotImplementedError

from potentials.architectures.message_passing import Config, MessagePassing
from potentials.calculator import PotentialCalculator
from potentials.checkpoint import load_potential, save_potential
from potentials.conformance import check_potential
from potentials.derivatives import energy_forces_stress
from potentials.graph import batch
from potentials.layers.bond_types import BondTypes
from potentials.neighbours import graph_for, graph_of
from potentials.runtime.compiled_derivatives import CompiledDerivatives
from potentials.training.augmentation import random_rotations

WATER = {"H": (0.41, 0.0, 0.0), "O": (-0.82, 0.00672, 3.165)}
SMALL = Config(elements=(1, 8), num_features=8, num_layers=2, num_radial_basis_fn=8, cutoff=4.0, avg_num_neighbors=6.0)
VARIANTS = {
    "energy": replace(SMALL), "energy with vectors": replace(SMALL, vectors=True), "no norm": replace(SMALL, norm="none"),
    "pair": replace(SMALL, head="pair"), "pair, prelu": replace(SMALL, head="pair", activation="prelu", norm="layer"),
    "vector": replace(SMALL, head="vector"), "both": replace(SMALL, head="both"), "free": replace(SMALL, head="free"),
    "physical features alone": replace(SMALL, physical=WATER, element_embedding=False), "bernstein": replace(SMALL, radial_basis_fn="bernstein"),
}  # fmt: skip
CHARGED = {f"{head}, electrostatics": replace(SMALL, head=head, physical=WATER, electrostatics="ewald") for head in ("energy", "both", "vector")}
DIRECT = ("pair", "vector", "both", "free")


def made(config, seed=0):
    torch.manual_seed(seed)
    potential = MessagePassing(config).double().eval()
    potential.force_unit.fill_(0.1)  # eV/Å, as data would have it
    return potential


def water(n=4, seed=0, box=7.0):
    rng = np.random.default_rng(seed)
    atoms = Atoms(cell=box * np.eye(3), pbc=True)
    for k in range(n):
        one = molecule("H2O")
        one.rotate(rng.uniform(0, 180), rng.normal(size=3))
        one.translate(np.array([k % 2, k // 2 % 2, k // 4]) * box / 2 + rng.normal(size=3) * 0.2)
        atoms += one
    return atoms


def forces(potential, atoms):
    return energy_forces_stress(potential, graph_for(atoms, potential)).forces.detach().numpy()


@pytest.mark.parametrize("name", [*VARIANTS, *CHARGED])
def test_every_head_keeps_the_laws_that_it_promises(name):
    check_potential(made((VARIANTS | CHARGED)[name]))


@pytest.mark.parametrize("name", DIRECT)
def test_a_direct_head_says_what_it_is(name):
    p = made(VARIANTS[name])
    assert not p.conservative and (p.equivariant, p.net_force_zero) == (name != "free",) * 2
    assert p.provides == (("energy", "forces", "stress") if name == "both" else ("forces",))


@pytest.mark.parametrize("name", ["energy", "pair", "vector", "both"])
@pytest.mark.parametrize("dtype, limit", [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_forces_turn_exactly_with_the_system(name, dtype, limit):
    p, atoms = made(VARIANTS[name]).to(dtype), water()
    f = forces(p, atoms)
    for R in random_rotations(20, np.random.default_rng(1)):
        turned = atoms.copy()
        turned.set_cell(atoms.cell.array @ R.T, scale_atoms=False)
        turned.positions = atoms.positions @ R.T
        assert np.linalg.norm(forces(p, turned) - f @ R.T) < limit * np.linalg.norm(f)


def test_free_forces_do_not_turn_before_they_have_learnt_to():
    p, atoms = made(VARIANTS["free"]), water()
    R, f = random_rotations(1, np.random.default_rng(1))[0], forces(p, atoms)
    turned = atoms.copy()
    turned.set_cell(atoms.cell.array @ R.T)
    turned.positions = atoms.positions @ R.T
    assert np.linalg.norm(forces(p, turned) - f @ R.T) > 0.1 * np.linalg.norm(f)


@pytest.mark.parametrize("name", ["energy", "pair", "vector"])
def test_forces_sum_to_zero_and_central_ones_make_no_torque(name):
    p = made(VARIANTS[name]).float()
    atoms = water()
    atoms.pbc = False
    for a in (atoms, water()):
        f = forces(p, a)
        assert np.abs(f.sum(axis=0)).max() < 1e-6 * np.abs(f).max()
    f = forces(p, atoms)
    if name != "vector":
        assert np.abs(np.cross(atoms.positions, f).sum(axis=0)).max() < 1e-5 * np.abs(f).max()


@pytest.mark.parametrize("norm", ["rms", "structure"])
def test_a_frame_alone_gives_what_it_gives_in_company(norm):
    p = made(replace(SMALL, head="free", norm=norm, bond_types=True))
    graphs = [graph_for(a, p) for a in (water(), water(6, 3), molecule("H2O"))]
    together = energy_forces_stress(p, batch(graphs)).forces
    assert torch.allclose(together, torch.cat([energy_forces_stress(p, g).forces for g in graphs]), atol=1e-10)


def test_charge_epsilon_and_sigma_count_in_a_substance_of_one_element_unless_the_norm_hides_them():
    atoms = bulk("Ar", "fcc", 5.3, cubic=True)
    atoms.rattle(0.1, seed=1)

    def change(norm):
        both = [made(Config(elements=(18,), cutoff=6.0, num_features=8, num_radial_basis_fn=8, avg_num_neighbors=18.0, head="pair", norm=norm,
                            element_embedding=False, physical={"Ar": values})) for values in ((0.0, 0.0103, 3.405), (0.7, 0.03, 2.5))]  # fmt: skip
        f, g = (forces(p, atoms) for p in both)
        return np.linalg.norm(f - g) / np.linalg.norm(f)

    assert change("rms") > 0.02 and change("none") > 0.02
    assert change("structure") < 1e-4


def test_a_supercell_has_the_same_forces():
    p, atoms = made(VARIANTS["vector"]), water()
    f = forces(p, atoms)
    f = f.reshape(-1, 3)
    assert np.abs(forces(p, atoms * (2, 1, 1)) - np.tile(f, (2, 1))).max() < 1e-9


def test_forces_of_both_heads_are_those_of_the_vector_head_and_the_stress_is_that_of_the_energy():
    p, atoms = made(VARIANTS["both"]), water()
    graph = graph_for(atoms, p)
    plain, with_stress = energy_forces_stress(p, graph), energy_forces_stress(p, graph, stress=True)
    assert torch.allclose(plain.forces, p.outputs(graph).forces.detach()) and torch.equal(plain.forces, with_stress.forces)

    def energy(h):
        other = atoms.copy()
        other.set_cell(atoms.cell.array * (1 + h), scale_atoms=True)
        return float(energy_forces_stress(p, graph_for(other, p)).energy.detach())

    slope = (energy(1e-5) - energy(-1e-5)) / 2e-5 / atoms.get_volume()
    assert float(with_stress.stress[0].trace()) == pytest.approx(slope, rel=1e-5)


def test_a_stress_is_refused_by_name_where_there_is_none():
    p, atoms = made(VARIANTS["pair"]), water()
    with pytest.raises(ValueError, match="message-passing provides forces, and no stress"):
        energy_forces_stress(p, graph_for(atoms, p), stress=True)
    atoms.calc = PotentialCalculator(p)
    assert "stress" not in atoms.calc.implemented_properties
    with pytest.raises(PropertyNotImplementedError):
        atoms.get_stress()
    assert np.allclose(atoms.get_forces(), forces(made(VARIANTS["pair"]), water()), atol=1e-10)


def test_a_potential_that_denies_a_gradient_must_give_forces():
    p = made(VARIANTS["energy"])
    p.conservative = False
    with pytest.raises(ValueError, match="gives no forces"):
        energy_forces_stress(p, graph_for(water(), p))


@pytest.mark.parametrize("name", ["pair", "both", "free"])
def test_a_potential_file_keeps_head_and_forces(name, tmp_path):
    p = made(VARIANTS[name])
    save_potential(tmp_path / "p.pt", p)
    again = load_potential(tmp_path / "p.pt")
    assert again.provides == p.provides and again.conservative is False
    assert np.array_equal(forces(again, water()), forces(p, water()))


@pytest.mark.slow  # traces for half a minute
def test_the_traced_twin_gives_direct_forces(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda f, **options: f)
    p = made(VARIANTS["vector"])
    graph = graph_for(water(), p)
    assert torch.allclose(CompiledDerivatives(p)(p, graph).forces, energy_forces_stress(p, graph).forces, atol=1e-10)


def test_bonds_are_told_by_geometry_for_any_molecule():
    atoms = molecule("CH3CH2OH")
    far = molecule("H2O")
    far.translate((0, 0, 4.5))
    graph = graph_of(atoms + far, 12.0)
    n = graph.edges.n_pairs
    i, j = graph.edges.centres[:n], graph.edges.neighbours[:n]
    d = (graph.positions[i] - graph.positions[j]).norm(dim=1)
    other, bonded, same = BondTypes()(graph.numbers, i, j, d).bool().T
    assert int(bonded.sum()) == 8 + 2 and int(other.sum()) == 9 * 3
    assert int(same.sum()) == 9 * 8 // 2 - 8 + 1


@pytest.mark.parametrize("changes, words", [
    ({"activation": "prelu"}, "kink"), ({"head": "vector", "vectors": False}, "made of vectors"), ({"head": "free", "vectors": True}, "directions"),
    ({"element_embedding": False}, "nothing else tells atoms apart"), ({"physical": {"O": (0.0, 0.0, 1.0)}}, "of H"), ({"physical": {"Q": (0.0, 0.0, 1.0)}}, "'Q'"),
    ({"num_radial_basis_fn": 4}, "8 or more"), ({"cutoff_fn": "step"}, "no cutoff function"),
])  # fmt: skip
def test_what_cannot_be_is_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        replace(SMALL, **changes)


# ---------------------------------------------------------------------------- electrostatics of given charges

def test_waves_longer_than_the_cutoff_are_felt():
    """Two molecules 30 Å apart, beyond the reach of all passes, feel each other as Coulomb's law says; without electrostatics they do not."""
    pair = molecule("H2O")
    other = molecule("H2O")
    other.translate((30.0, 4.0, -3.0))
    pair += other
    q = torch.tensor([WATER[s][0] for s in pair.symbols], dtype=torch.float64).numpy()
    for head in ("energy", "vector"):
        of = {e: made(replace(SMALL, head=head, physical=WATER, electrostatics=e, electrostatics_sigma=2.0)) for e in ("none", "ewald")}
        apart = np.concatenate([forces(of["ewald"], pair[:3]), forces(of["ewald"], pair[3:])])
        felt = forces(of["ewald"], pair) - apart
        r = pair.positions[None, 3:] - pair.positions[:3, None]
        exact = (14.399645351950548 * q[:3, None, None] * q[None, 3:, None] * r / np.linalg.norm(r, axis=2, keepdims=True) ** 3).sum(1)
        assert np.allclose(felt[:3], -exact, rtol=1e-9, atol=1e-12) and np.allclose(felt.sum(0), 0, atol=1e-12)
        assert np.abs(forces(of["none"], pair) - np.concatenate([forces(of["none"], pair[:3]), forces(of["none"], pair[3:])])).max() < 1e-14


@pytest.mark.parametrize("name", CHARGED)
def test_with_electrostatics_the_heads_keep_what_they_promise(name):
    p, atoms = made(CHARGED[name]), water()
    f = forces(p, atoms)
    assert np.abs(f.sum(0)).max() < 1e-12
    double = atoms.repeat((2, 1, 1))
    assert np.abs(forces(p, double) - np.tile(f, (2, 1))).max() < 1e-8  # the waves of the larger cell are counted to 1e-8
    free = molecule("H2O")
    graphs = [graph_for(free, p), graph_for(atoms, p)]
    together = energy_forces_stress(p, batch(graphs)).forces.numpy()
    assert np.abs(together - np.concatenate([forces(p, free), f])).max() < 1e-12
    if p.provides_energy:
        direction, h = np.random.default_rng(0).normal(size=atoms.positions.shape), 1e-4
        terms = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions += sign * h * direction
            terms.append(float(p.outputs(graph_for(moved, p)).terms["electrostatics"].sum()))
        of_charges = p.given_charges.forces(graph_for(atoms, p)).numpy()
        assert -(terms[0] - terms[1]) / (2 * h) == pytest.approx((of_charges * direction).sum(), rel=1e-6)


def test_the_energy_with_electrostatics_has_its_gradient_and_stress():
    p, atoms = made(CHARGED["energy, electrostatics"]), water()
    r = energy_forces_stress(p, graph_for(atoms, p), stress=True)
    rng, h = np.random.default_rng(1), 1e-4
    direction, strain = rng.normal(size=atoms.positions.shape), rng.normal(size=(3, 3))
    strain = 0.5 * (strain + strain.T)

    def energy(shift=0.0, e=0.0):
        moved = atoms.copy()
        moved.set_cell(atoms.cell.array @ (np.eye(3) + e * strain), scale_atoms=True)
        moved.positions += shift * direction
        return float(energy_forces_stress(p, graph_for(moved, p)).energy)

    assert (energy(h) - energy(-h)) / (2 * h) == pytest.approx(-(r.forces.numpy() * direction).sum(), rel=1e-5)
    assert (energy(e=h) - energy(e=-h)) / (2 * h) == pytest.approx(atoms.get_volume() * (r.stress[0].numpy() * strain).sum(), rel=1e-5)


def test_electrostatics_without_charges_or_a_whole_cell_are_refused():
    with pytest.raises(ValueError, match="of the charges in physical, which gives none"):
        replace(SMALL, electrostatics="ewald")
    with pytest.raises(ValueError, match="of the charges in physical, which gives none"):
        replace(SMALL, electrostatics="ewald", physical={"H": (0.0, 0.0, 0.0), "O": (0.0, 0.01, 3.0)})
    slab = water()
    slab.pbc = (True, True, False)
    p = made(CHARGED["energy, electrostatics"])
    with pytest.raises(ValueError, match="periodic along all three vectors, or along none"):
        energy_forces_stress(p, graph_for(slab, p))


def test_a_cell_that_changes_is_never_held_by_compiled_code(tmp_path):
    from potentials.calculator import load_calculator
    from potentials.runtime.compiled_batches import CompiledBatches
    from potentials.training.compiled import compiled_predictor

    p = made(CHARGED["energy, electrostatics"])
    save_potential(tmp_path / "p.pt", p)
    with pytest.raises(ValueError, match="not compiled: leave out compile"):
        load_calculator(tmp_path / "p.pt", compiled=True)
    batches, cells = CompiledBatches(p), [water(box=b) for b in (7.0, 7.6)]
    energy, _ = batches(batch([graph_for(a, p) for a in cells]))
    alone = [float(energy_forces_stress(p, graph_for(a, p)).energy) for a in cells]
    assert energy.tolist() == pytest.approx(alone, abs=1e-10)
    assert "plain_predictor" in compiled_predictor(p, create_graph=True).__qualname__
    assert load_potential(tmp_path / "p.pt").config == p.config
