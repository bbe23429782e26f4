"""A committee is a potential: the mean of its members; as one or in turn they say the same."""
import pytest
import torch

from potentials import combine
from potentials.architectures.lennard_jones import LennardJones
from potentials.combine import Committee, CommitteeDerivatives, Joined, Together, joins, one_by_one
from potentials.conformance import check_potential
from potentials.derivatives import energy_forces_stress
from potentials.graph import batch
from potentials.neighbours import graph_for
from potentials.runtime.radial_table import with_radial_table, with_shared_table
from potentials.runtime.tracing import trace_of
from samples import argon, house_names, small, water


def members(n=3, **options):
    found = []
    for seed in range(n):
        torch.manual_seed(seed)
        found.append(small("so3krates", **options))
        with torch.no_grad():
            for p in found[-1].parameters():
                p += 0.01 * torch.randn_like(p)
    return found


def test_a_committee_keeps_every_law():
    check_potential(Committee(members(2, num_layers=1)))


def test_the_mean_and_the_spread_are_those_of_the_members():
    committee = Committee(members())
    graph = graph_for(water(1), committee)
    each = [energy_forces_stress(m, graph, stress=True) for m in committee.members]
    found = one_by_one(committee, graph, stress=True)
    forces = torch.stack([r.forces for r in each])
    torch.testing.assert_close(found.forces, forces.mean(0))
    torch.testing.assert_close(found.energy, torch.stack([r.energy for r in each]).mean(0))
    torch.testing.assert_close(found.stress, torch.stack([r.stress for r in each]).mean(0))
    torch.testing.assert_close(found.energy_spread, torch.stack([r.energy for r in each]).std(0))
    torch.testing.assert_close(found.forces_spread**2, ((forces - forces.mean(0)) ** 2).sum(2).sum(0) / 2)
    plain = energy_forces_stress(committee, graph, stress=True)
    for name in ("energy", "energies", "forces", "stress"):
        torch.testing.assert_close(getattr(plain, name), getattr(found, name), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("options", [{}, dict(electrostatic_energy_bool=True, dispersion_energy_bool=True, use_charge_embed=True)], ids=["short", "long range"])
def test_as_one_and_in_turn_are_the_same(options):
    committee = Committee(members(**options))
    together = Together(committee)
    for graph, stress in ((graph_for(water(0), committee), True), (graph_for(water(3)[:5], committee), False), (batch([graph_for(water(k), committee) for k in (4, 5)]), True)):
        one, other = one_by_one(committee, graph, stress=stress), together(committee, graph, stress=stress)
        for name in ("energy", "energies", "forces", "member_energies", "member_forces", "forces_spread", "stress"):
            if getattr(one, name) is not None:
                torch.testing.assert_close(getattr(other, name), getattr(one, name), rtol=1e-9, atol=1e-10, msg=name)
        assert list(one.outputs.terms) == list(other.outputs.terms)
        assert not other.forces.requires_grad and not other.energy.requires_grad


ALL_MAPS = dict(use_charge_embed=True, use_spin_embed=True, layer_normalization_1=True, residual_mlp_1=True, zbl_repulsion_bool=True,
                energy_learn_atomic_type_scales=True, energy_learn_atomic_type_shifts=True)  # fmt: skip


@pytest.mark.parametrize("options", [{}, ALL_MAPS, dict(electrostatic_energy_bool=True, dispersion_energy_bool=True)], ids=["plain", "all maps", "long range"])
def test_joined_and_in_turn_are_the_same(options):
    committee = Committee(members(**options))
    joined = Joined(committee)
    for graph, stress in ((graph_for(water(0), committee), True), (graph_for(water(3)[:5], committee), False), (batch([graph_for(water(k), committee) for k in (4, 5)]), True)):
        one, other = one_by_one(committee, graph, stress=stress), joined(committee, graph, stress=stress)
        for name in ("energy", "energies", "forces", "member_energies", "member_forces", "forces_spread", "energy_spread", "stress"):
            if getattr(one, name) is not None:
                torch.testing.assert_close(getattr(other, name), getattr(one, name), rtol=1e-9, atol=1e-10, msg=name)
        assert list(one.outputs.terms) == list(other.outputs.terms)


def test_a_table_that_members_share_is_joined_and_tables_of_their_own_are_not():
    each = [m.float() for m in members(num_layers=1)]
    shared, error = with_shared_table(each)
    assert error.largest < 2e-6 and error.functions == 3 * with_radial_table(each[0])[1].functions
    committee, plain = Committee(shared), Committee(each)
    graph = graph_for(water(1), committee)
    joined = Joined(committee)(committee, graph)
    for part in ("member_energies", "member_forces"):
        torch.testing.assert_close(getattr(joined, part), getattr(one_by_one(committee, graph), part), rtol=1e-5, atol=1e-5)  # float32
        torch.testing.assert_close(getattr(joined, part), getattr(one_by_one(plain, graph), part), rtol=1e-4, atol=1e-4)
    assert not joins(Committee([with_radial_table(m)[0] for m in each]))


@pytest.mark.slow  # tracing takes half a minute
def test_one_compiled_function_serves_all_members(monkeypatch):
    monkeypatch.setattr(combine, "compiled", lambda function, example, varying, file: trace_of(function, *example))
    committee = Committee(members(num_layers=1))
    derive = CommitteeDerivatives(committee, compile=True)
    for atoms in (water(0), water(3)[:5]):
        graph = graph_for(atoms, committee)
        one, other = one_by_one(committee, graph), derive(committee, graph)
        for name in ("energy", "energies", "forces", "member_energies", "member_forces"):
            torch.testing.assert_close(getattr(other, name), getattr(one, name), rtol=1e-9, atol=1e-10, msg=name)
        assert list(one.outputs.terms) == list(other.outputs.terms)


@pytest.mark.parametrize("name", house_names())
def test_a_committee_of_any_architecture_is_evaluated_small_and_large(name):
    committee = Committee([small(name, seed) for seed in (0, 1)])
    derive = CommitteeDerivatives(committee)
    for atoms in (argon(0, n=1), argon(1, n=2)) if name == "lennard-jones" else (water(3)[:3], water(0)):
        graph = graph_for(atoms, committee)
        one, other = one_by_one(committee, graph), derive(committee, graph)
        for part in ("energy", "forces", "member_energies", "member_forces"):
            torch.testing.assert_close(getattr(other, part), getattr(one, part), rtol=1e-9, atol=1e-10, msg=part)
        assert bool((one.member_forces[0] != one.member_forces[1]).any()) or name == "lennard-jones"


def test_members_that_are_no_so3krates_are_not_joined():
    committee = Committee([small("behler-parrinello"), small("behler-parrinello")])
    with pytest.raises(ValueError, match="cannot be joined"):
        Joined(committee)
    assert CommitteeDerivatives(committee).joined is None and CommitteeDerivatives(Committee(members())).joined is not None


def test_members_may_differ_and_are_then_asked_in_turn():
    a, b = LennardJones(LennardJones.Config(cutoff=6.0, switch_on=5.0)), LennardJones(LennardJones.Config(cutoff=8.0, epsilon=0.02))
    committee = Committee([a, b])
    assert committee.cutoff == 8.0 and not committee.alike
    graph = graph_for(argon(0, n=2), committee)
    found = CommitteeDerivatives(committee)(committee, graph, stress=True)
    for r, energy in zip((a, b), found.member_energies):
        torch.testing.assert_close(energy_forces_stress(r, graph_for(argon(0, n=2), r)).energy, energy)  # pairs beyond a member's own cutoff mean nothing to it
    with pytest.raises(ValueError, match="as one"):
        Together(committee)


def test_what_cannot_be_a_committee_is_refused():
    with pytest.raises(ValueError, match="two members"):
        Committee([LennardJones()])
    long_range = small("so3krates", dispersion_energy_bool=True)
    with pytest.raises(ValueError, match="differ in has_long_range"):
        Committee([small("so3krates"), long_range])
