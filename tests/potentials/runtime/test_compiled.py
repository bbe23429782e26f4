"""Compiled energies, forces and gradients to all parameters are the plain ones, for batches of any size.

By default what is compiled (the trace) is run as it is; the compilation itself takes a minute and is marked slow.
"""
import pytest
import torch

from potentials.graph import batch
from potentials.neighbours import graph_of
from potentials.runtime.compiled import CompiledEnergyForces, plain_energy_forces
from samples import argon, small, water

OPTIONS = dict(use_charge_embed=True, use_spin_embed=True, zbl_repulsion_bool=True, residual_mlp_2=True)


def batches(cutoff):
    """The first is traced; the others differ in numbers of structures, atoms and pairs, one has no pairs in one of its structures."""
    charged = water(3)
    charged.info.update(charge=-1, multiplicity=2)
    molecules = [water(0), water(1), charged, water(2)[:4], water(4)[:1], argon(1, n=1), water(5)[3:]]
    graphs = [graph_of(a, cutoff) for a in molecules]
    return [batch([graphs[k] for k in chosen]) for chosen in ([0, 2, 3], [1, 0], [5, 2], [4, 1, 2, 0, 3, 6], [6, 6], [4, 0])]


def found(function, potential, graph):
    energy, forces = function(graph)
    loss = (energy**2).sum() + ((forces - 0.1) ** 2).sum()
    gradients = torch.autograd.grad(loss, list(potential.parameters()), allow_unused=True, materialize_grads=True)
    return [energy.detach(), forces.detach(), *gradients]


def assert_twins(potential):
    plain, compiled = plain_energy_forces(potential), CompiledEnergyForces(potential)
    names = ["energy", "forces", *(name for name, _ in potential.named_parameters())]
    for n, graph in enumerate(batches(potential.cutoff)):
        expected, got = found(plain, potential, graph), found(compiled, potential, graph)
        largest = max(float(g.abs().max()) for g in expected[2:])
        for name, one, other in zip(names, expected, got, strict=True):
            scale = largest if name not in ("energy", "forces") else max(float(one.abs().max()), 1.0)
            assert float((one - other).abs().max()) < 1e-11 * scale, (n, name)  # float64, sums in another order
        assert all(float(g.abs().max()) > 0 for name, g in zip(names, expected) if name.startswith("zbl"))  # repulsion was felt
        with torch.no_grad():  # an optimiser's step in place: the twin must follow
            for parameter in potential.parameters():
                parameter.mul_(1.02)
    assert compiled._compiled is not None


@pytest.fixture
def as_traced(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda trace, dynamic: trace)


@pytest.mark.parametrize(
    "name, options",
    [
        ("so3krates", dict(num_layers=1, degrees=(1,))),
        pytest.param("so3krates", OPTIONS, marks=pytest.mark.slow),  # tracing takes half a minute
        pytest.param("so3krates-original", {"zbl_repulsion": True, "layer_normalization": True}, marks=pytest.mark.slow),
    ],
)
def test_the_trace_is_the_plain_function(name, options, as_traced):
    """Weights are changed in place and stay those of the potential."""
    potential = small(name, **options)
    before = [id(p) for p in potential.parameters()]
    assert_twins(potential)
    assert [id(p) for p in potential.parameters()] == before and all(p.requires_grad for p in potential.parameters())


@pytest.mark.slow  # one compilation, a minute or two
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's own parts
def test_the_compiled_function_is_the_plain_one():
    assert_twins(small("so3krates", **OPTIONS))


def test_what_cannot_be_traced_goes_the_plain_way(monkeypatch):
    def never(*args, **kwargs):
        raise AssertionError("compiled")

    monkeypatch.setattr(torch, "compile", never)
    potential = small("so3krates")
    compiled, plain = CompiledEnergyForces(potential), plain_energy_forces(potential)
    alone = [graph_of(water(k)[:1], potential.cutoff) for k in range(2)]
    for graph in (graph_of(water(0), potential.cutoff), batch(alone)):  # one structure; no pairs
        one, other = compiled(graph), plain(graph)
        assert torch.equal(one[0], other[0]) and torch.equal(one[1], other[1])
