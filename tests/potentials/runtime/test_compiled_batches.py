"""What is compiled gives the plain path's numbers, for batches of any size."""
import pytest
import torch

from potentials.derivatives import energy_forces_stress
from potentials.graph import batch
from potentials.neighbours import graph_for
from potentials.runtime import compiled_batches
from potentials.runtime.compiled_batches import CompiledBatches
from potentials.runtime.tracing import trace_of
from samples import argon, small, water


def check(potential, compiled):
    for structures in ([water(1), water(2)], [water(3)], [water(k) for k in range(5)], [water(1), argon(0, 1), water(7)]):
        graph = batch([graph_for(atoms, potential) for atoms in structures])
        energy, forces = compiled(graph)
        plain = energy_forces_stress(potential, graph)
        torch.testing.assert_close(energy, plain.energy, rtol=0, atol=1e-9)
        torch.testing.assert_close(forces, plain.forces, rtol=0, atol=1e-9)
        assert not energy.requires_grad and not forces.requires_grad


def test_the_trace_serves_batches_of_any_size(monkeypatch):
    """Without the compiler, which takes a minute: what is traced is run as it is, and traced once."""
    traced = []
    monkeypatch.setattr(compiled_batches, "compiled", lambda function, example, *rest: traced.append(1) or trace_of(function, *example))
    potential = small("so3krates")
    check(potential, CompiledBatches(potential))
    assert len(traced) == 1


@pytest.mark.slow
def test_compiled_code_gives_the_same():
    potential = small("so3krates", num_layers=1)
    check(potential, CompiledBatches(potential))
