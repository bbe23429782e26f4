"""Shallow ensembles: each head is a potential of its own, their mean keeps every law, and the spread costs nothing before somebody asks."""
import numpy as np
import pytest
import torch

from potentials import load_calculator, shallow
from potentials.architectures import architectures
from potentials.calculator import PotentialCalculator
from potentials.checkpoint import load_potential, save_potential
from potentials.conformance import check_potential
from potentials.derivatives import energy_forces_stress
from potentials.graph import batch
from potentials.neighbours import graph_for
from potentials.runtime.compiled_derivatives import CompiledDerivatives
from potentials.runtime.replayed_derivatives import ReplayedDerivatives
from potentials.runtime.tracing import trace_of
from potentials.shallow import SpreadOfForces, of_all_heads
from samples import SMALL, small, water

WITH_HEADS = [name for name in SMALL if hasattr(architectures.get(name).Config, "energy_heads")]


def single(potential, head):
    """The potential that one head is, with its last layers cut down to its row."""
    kind = type(potential)
    settings = {f: getattr(potential.config, f) for f in potential.config.__dataclass_fields__} | {"energy_heads": 1}
    alone = kind(kind.Config(**settings)).double()
    rows = {name: t for name, t in potential.state_dict().items()}
    alone.load_state_dict({name: rows[name][head : head + 1] if rows[name].shape != t.shape else rows[name] for name, t in alone.state_dict().items()})
    return alone.eval()


def periodic(seed):
    atoms = water(seed)
    atoms.set_cell(np.diag([9.0, 10.0, 11.0]))
    atoms.pbc = True
    return atoms


def test_who_has_heads():
    assert set(WITH_HEADS) == {"so3krates", "behler-parrinello", "behler-parrinello-embedded"}


@pytest.mark.parametrize("name", WITH_HEADS)
def test_a_shallow_ensemble_keeps_every_law(name):
    check_potential(small(name, energy_heads=3, **({"num_layers": 1} if name == "so3krates" else {})))


@pytest.mark.parametrize("name", WITH_HEADS)
def test_each_head_is_a_potential_and_the_whole_is_their_mean(name):
    potential = small(name, energy_heads=3)
    graph = batch([graph_for(periodic(k), potential) for k in (1, 2)])
    found = of_all_heads(potential, graph, stress=True)
    each = [energy_forces_stress(single(potential, h), graph, stress=True) for h in range(3)]
    plain = energy_forces_stress(potential, graph, stress=True)
    close = dict(rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(found.member_energies, torch.stack([r.energy for r in each]), **close)
    torch.testing.assert_close(found.member_forces, torch.stack([r.forces for r in each]), **close)
    torch.testing.assert_close(found.stress, torch.stack([r.stress for r in each]).mean(0), **close)
    for part in ("energy", "forces", "stress", "energies"):
        torch.testing.assert_close(getattr(plain, part), getattr(found, part), **close)
    chosen = energy_forces_stress(potential, graph, head=torch.tensor([2, 0]))
    torch.testing.assert_close(chosen.forces, torch.cat([each[2].forces[:6], each[0].forces[6:]]), **close)
    torch.testing.assert_close(chosen.energy, plain.energy)


def test_heads_begin_apart_about_a_mean_that_begins_at_zero():
    kind = architectures.get("so3krates")
    fresh = kind(kind.Config(**{**SMALL["so3krates"], "energy_heads": 8, "output_is_zero_at_init": True}))
    weight = fresh.readout.last.weight.detach()
    assert float(weight.mean(0).abs().max()) < 1e-6 < 0.1 < float(weight.std(0).mean())


def test_one_head_is_what_it_always_was(tmp_path):
    """A file written before there were heads names none."""
    one = small("so3krates")
    save_potential(tmp_path / "one.pt", one)
    content = torch.load(tmp_path / "one.pt", weights_only=True)
    del content["config"]["energy_heads"]
    torch.save(content, tmp_path / "old.pt")
    old = load_potential(tmp_path / "old.pt")
    graph = graph_for(water(1), one)
    assert old.energy_heads == 1 and old.outputs(graph).head_energies is None
    torch.testing.assert_close(old(graph), one(graph), rtol=0, atol=0)


def test_the_calculator_works_the_spread_out_when_it_is_asked(tmp_path):
    potential, atoms = small("so3krates", energy_heads=4), water(3)
    save_potential(tmp_path / "heads.pt", potential)
    atoms.calc = load_calculator(tmp_path / "heads.pt")
    atoms.get_forces()
    found = of_all_heads(potential, graph_for(atoms, potential))
    assert atoms.calc.results.pending() == ("energy_terms", "forces_spread")
    assert atoms.calc.results["energy_spread"] == pytest.approx(float(found.energy_spread), rel=1e-8)
    still = atoms.calc.results
    np.testing.assert_allclose(still.get("forces_spread"), found.forces_spread, rtol=1e-8)
    assert "forces_spread" not in still.pending()


def test_replayed_arrays_have_the_heads():
    potential = small("so3krates", energy_heads=3, num_layers=1).requires_grad_(False)
    graph = graph_for(water(2), potential)
    plain, replayed = energy_forces_stress(potential, graph), ReplayedDerivatives(potential, capture=False)(potential, graph)
    torch.testing.assert_close(replayed.outputs.head_energies, plain.outputs.head_energies)
    torch.testing.assert_close(replayed.forces, plain.forces)


@pytest.mark.slow  # tracing takes a quarter of a minute
def test_a_trace_gives_the_spread_too(monkeypatch):
    potential = small("so3krates", energy_heads=3, num_layers=1).requires_grad_(False)
    monkeypatch.setattr(shallow, "compiled", lambda function, example, varying, file: trace_of(function, *example))
    spread = shallow.SpreadOfForces(potential, compile=True)
    for atoms in (water(2), water(5)[:5]):
        graph = graph_for(atoms, potential)
        torch.testing.assert_close(spread(graph), of_all_heads(potential, graph).forces_spread)


@pytest.mark.slow  # two compilations, a minute each
def test_compiled_code_gives_the_spread_too(tmp_path, monkeypatch):
    monkeypatch.setenv("MDAPP_CACHE", str(tmp_path))
    potential = small("so3krates", energy_heads=3).requires_grad_(False)
    derive, spread = CompiledDerivatives(potential), SpreadOfForces(potential, compile=True)
    for seed in (1, 2):
        graph = graph_for(water(seed), potential)
        torch.testing.assert_close(derive(potential, graph).outputs.head_energies, energy_forces_stress(potential, graph).outputs.head_energies)
        torch.testing.assert_close(spread(graph), of_all_heads(potential, graph).forces_spread)


def test_a_calculator_of_one_head_says_no_spread():
    atoms = water(1)
    atoms.calc = PotentialCalculator(small("so3krates"))
    atoms.get_forces()
    assert "forces_spread" not in atoms.calc.results and "energy_spread" not in atoms.calc.results
