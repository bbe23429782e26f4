"""The domain of a training set: 1 at its edge, farther outside, kept in the potential's file."""
import numpy as np
import pytest
import torch

from potentials.architectures import architectures
from potentials.calculator import PotentialCalculator
from potentials.checkpoint import PotentialFileError, load_potential, save_potential
from potentials.neighbours import graph_for
from potentials.uncertainty import Domain, domain_of, fit_domain
from samples import small, water


def cloud(n=4000, seed=0):
    """Features of two elements, stretched along a slanted direction."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 3, generator=g, dtype=torch.float64)
    mix = torch.tensor([[5.0, 0, 0], [1.0, 0.3, 0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    return x @ mix + 7, torch.tensor([1, 8]).repeat(n // 2)


def test_almost_all_of_the_training_atoms_are_inside_and_the_edge_is_at_one():
    features, numbers = cloud()
    d = fit_domain(features, numbers).distances(features, numbers)
    assert float((d <= 1).double().mean()) == pytest.approx(0.999, abs=0.001)  # two of 2000 atoms of an element more or less
    assert 0.9 <= float(d.max()) < 2.0


def test_others_of_the_same_kind_are_inside_however_few_were_seen():
    g = torch.Generator().manual_seed(3)
    x = torch.randn(2060, 30, generator=g, dtype=torch.float64)  # 60 atoms in 30 dimensions: their own covariance makes them seem near
    numbers = torch.ones(2060, dtype=torch.int64)
    d = fit_domain(x[:60], numbers[:60]).distances(x[60:], numbers[60:])
    assert float((d <= 1).double().mean()) > 0.97 and float(d.max()) < 2
    far = fit_domain(x[:60], numbers[:60]).distances(x[60:] + 20, numbers[60:])
    assert float(far.min()) > 1


def test_the_distance_does_not_depend_on_the_units_of_a_feature_but_on_its_spread():
    features, numbers = cloud()
    domain = fit_domain(features, numbers)
    scale = 3.7  # of all features alike
    scaled = fit_domain(features * scale, numbers)
    new = features[:50] + torch.tensor([0.0, 4.0, 0.0])
    torch.testing.assert_close(domain.distances(new, numbers[:50]), scaled.distances(new * scale, numbers[:50]), rtol=1e-4, atol=1e-4)  # float32 is stored
    along, across = torch.tensor([[5.0, 0.0, 0.0]]), torch.tensor([[0.0, 5.0, 0.0]])
    mean = domain.mean[:1].double()
    one = torch.tensor([1])
    assert float(domain.distances(mean + across, one)[0]) > 3 * float(domain.distances(mean + along, one)[0])


def test_an_element_that_was_not_trained_on_is_infinitely_far():
    features, numbers = cloud()
    d = fit_domain(features, numbers).distances(features[:2], torch.tensor([1, 6]))
    assert torch.isfinite(d[0]) and torch.isinf(d[1])


def test_few_or_equal_atoms_make_a_domain_too():
    domain = fit_domain(torch.ones(3, 4), torch.tensor([1, 1, 8]))
    assert float(domain.distances(torch.ones(1, 4), torch.tensor([8]))[0]) == 0.0
    with pytest.raises(ValueError, match="not all finite"):
        fit_domain(torch.full((3, 4), torch.nan), torch.tensor([1, 1, 8]))


WITH_FEATURES = [name for name in ("so3krates", "behler-parrinello", "message-passing", "so3krates-original") if name in architectures.names()]


@pytest.mark.parametrize("name", WITH_FEATURES)
def test_features_turn_with_nothing_and_go_with_their_atoms(name):
    potential, atoms = small(name), water(0)
    potential.double()
    with torch.no_grad():
        there = potential.atomic_features(graph_for(atoms, potential))
        turned = atoms.copy()
        turned.rotate(40, (1, 2, 3))
        order = np.random.default_rng(0).permutation(len(atoms))
        shuffled = turned[order]
        found = potential.atomic_features(graph_for(shuffled, potential))
    assert there.shape[0] == len(atoms) and there.shape[1] > 1
    if not atoms.pbc.any():
        torch.testing.assert_close(found, there[order], rtol=1e-8, atol=1e-8)


def test_a_file_keeps_the_domain_and_a_run_reads_it(tmp_path):
    potential = small("so3krates")
    frames = [water(k) for k in range(4)]
    potential.domain = domain_of(potential, [graph_for(a, potential) for a in frames])
    save_potential(tmp_path / "p.pt", potential)
    loaded = load_potential(tmp_path / "p.pt")
    for name, tensor in potential.domain.tensors.items():
        assert torch.equal(tensor, loaded.domain.tensors[name])
    atoms = frames[0].copy()
    atoms.calc = PotentialCalculator(loaded)
    atoms.get_forces()
    assert "domain_distance" in atoms.calc.results.pending()  # not worked out before somebody asks
    known = atoms.calc.results.get("domain_distance")
    assert known.shape == (len(atoms),) and np.isfinite(known).all()
    atoms.positions[0] += 0.6
    atoms.get_forces()
    assert atoms.calc.results["domain_distance"][0] > known[0]
    save_potential(tmp_path / "without.pt", small("so3krates"))
    assert load_potential(tmp_path / "without.pt").domain is None


@pytest.mark.parametrize("name", ["so3krates", "behler-parrinello"])
def test_features_come_with_the_energy_where_there_is_a_domain(name):
    """So that a distance costs no evaluation of its own."""
    potential, atoms = small(name), water(1)
    graph = graph_for(atoms, potential)
    assert potential.outputs(graph).features is None
    potential.domain = domain_of(potential, [graph_for(water(k), potential) for k in range(4)])
    torch.testing.assert_close(potential.outputs(graph).features, potential.atomic_features(graph))
    atoms.calc = PotentialCalculator(potential)
    atoms.get_forces()
    potential.atomic_features = None  # nobody asks for them again
    known = potential.domain.distances(potential.outputs(graph).features, graph.numbers)
    np.testing.assert_allclose(atoms.calc.results["domain_distance"], known.detach(), rtol=1e-9)


@pytest.mark.parametrize(
    "spoil, match",
    [
        (lambda c: c["domain"].pop("edge"), "does not match its checksum|cannot be used"),
        (lambda c: c["domain"].update(mean=c["domain"]["mean"] + 1), "does not match its checksum"),
        (lambda c: c["domain"].update(edge="far"), "not a plain tensor"),
        (lambda c: c.update(domain=[1]), "domain is list, expected dict"),
    ],
)
def test_a_spoilt_domain_is_refused_by_name(tmp_path, spoil, match):
    potential = small("so3krates")
    potential.domain = domain_of(potential, [graph_for(water(0), potential)])
    save_potential(tmp_path / "p.pt", potential)
    content = torch.load(tmp_path / "p.pt", weights_only=True)
    spoil(content)
    torch.save(content, tmp_path / "q.pt")
    with pytest.raises(PotentialFileError, match=match):
        load_potential(tmp_path / "q.pt")


def test_a_domain_of_other_shapes_is_refused():
    with pytest.raises(ValueError, match="whitening of a training domain has shape"):
        Domain(torch.tensor([1]), torch.zeros(1, 3), torch.zeros(1, 3, 2), torch.ones(1))
