"""The compiled training step is the plain one."""
import pytest
import torch

from data.test_dataset import structure
from potentials.architectures import architectures
from potentials.data import build_dataset
from potentials.training.compiled import compiled_predictor
from potentials.training.evaluate import plain_predictor
from training.toy_pair import ToyPair


def assert_compiled_is_plain(name, batches, **config):
    """Energies, forces and gradients to the parameters; compiled with the first batch, weights changed in place after each."""
    architecture = architectures.get(name)
    torch.manual_seed(0)
    potential = architecture(architecture.Config(**config)).double()
    dataset = build_dataset([structure(k, n_atoms=5 + k) for k in range(6)], potential.cutoff)
    steps = [make(potential, create_graph=True) for make in (plain_predictor, compiled_predictor)]
    for chosen in batches:
        graph = dataset.batch(chosen).graph
        found = []
        for step in steps:
            p = step(graph)
            value = p.energy.square().sum() + p.forces.square().sum()
            found.append([p.energy, p.forces, *torch.autograd.grad(value, list(potential.parameters()), allow_unused=True)])
        for a, b in zip(*found, strict=True):
            if a is None or b is None:  # no gradient, or one that is zero
                assert all(x is None or not x.any() for x in (a, b))
                continue
            torch.testing.assert_close(b, a, rtol=1e-8, atol=1e-9 * float(a.detach().abs().max()))  # float64, sums in another order
        with torch.no_grad():
            for parameter in potential.parameters():
                parameter.mul_(1.05)


def test_traced_step_is_the_plain_one_for_batches_of_other_sizes(monkeypatch):
    """Three structures to trace with: as many as the potential has weights, which must not be taken for the same size."""
    monkeypatch.setattr(torch, "compile", lambda trace, dynamic: trace)
    assert_compiled_is_plain(ToyPair.name, [[0, 1, 2], [3, 4, 5, 1], [2, 0], [5]], n_basis=3)


@pytest.mark.slow  # a compilation: minutes
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch warns of its own parts
def test_compiled_step_is_the_plain_one_for_batches_of_other_sizes():
    config = {"num_layers": 1, "num_features": 8, "num_heads": 2, "degrees": (1, 2), "output_is_zero_at_init": False}
    assert_compiled_is_plain("so3krates", [[0, 1, 2], [3, 4, 5, 1], [2, 0], [5]], **config)
