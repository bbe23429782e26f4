"""Both So3krates against the published code, number by number: geometry, every layer, energy and forces, in float64."""
import numpy as np
import pytest

from architectures.reference import NAMES, load
from potentials.derivatives import energy_forces_stress

EXACT = 1e-9  # relative to the largest entry: both sides in float64, sums of some hundred terms in another order


@pytest.fixture(scope="module", params=NAMES)
def reference(request):
    return load(request.param)


def assert_same(ours, theirs, what):
    ours = ours.detach().numpy() if hasattr(ours, "detach") else np.asarray(ours)
    assert ours.shape == theirs.shape, what
    error = np.abs(ours - theirs).max() / np.abs(theirs).max()
    assert error < EXACT, f"{what}: {error:.1e}"


def by_pair(reference):
    """Where each of our pairs stands in the reference's list of directed edges."""
    place = {pair: k for k, pair in enumerate(zip(reference.numbers["idx_i"].tolist(), reference.numbers["idx_j"].tolist()))}
    edges, n = reference.graph.edges, reference.graph.edges.n_pairs
    assert len(place) == len(edges)
    forward = [place[pair] for pair in zip(edges.centres[:n].tolist(), edges.neighbours[:n].tolist())]
    back = [place[pair] for pair in zip(edges.neighbours[:n].tolist(), edges.centres[:n].tolist())]
    return forward, back


def test_geometry(reference):
    said, g = reference.numbers, reference.potential.geometry(reference.graph)
    cut, harmonics = ("cut", "ylm_ij") if reference.sparse else ("phi_r_cut", "sph_ij")
    forward, back = by_pair(reference)
    for what, ours in (("d_ij", g.d), ("rbf_ij", g.rbf), (cut, g.phi)):
        for place in (forward, back):
            assert_same(ours, said[f"geometry.{what}"][place].reshape(ours.shape), what)
    assert_same(g.Y, said[f"geometry.{harmonics}"][forward], "harmonics")
    parity = np.repeat([(-1.0) ** l for l in reference.potential.config.degrees], [2 * l + 1 for l in reference.potential.config.degrees])
    assert_same(g.Y.numpy() * parity, said[f"geometry.{harmonics}"][back], "harmonics of the other direction")


def test_start_of_the_features(reference):
    p, said = reference.potential, reference.numbers
    if reference.sparse:
        assert_same(p.embed(reference.graph), said["x0"], "embedding")
    else:
        assert_same(p.element_embedding(reference.graph.numbers), said["embedding.x"], "embedding")
        ev = p.initial_variables(reference.graph, p.geometry(reference.graph))
        if np.any(said["geometry.chi"]):
            assert_same(ev, said["geometry.chi"], "initial Euclidean variables")
        else:
            assert not ev.any()


def test_every_layer(reference):
    p, said = reference.potential, reference.numbers
    seen = {}
    for n, layer in enumerate(p.layers):
        layer.register_forward_hook(lambda module, args, out, n=n: seen.__setitem__(n, out))
        layer.attention.register_forward_hook(lambda module, args, out, n=n: seen.__setitem__((n, "attention"), out))
    p.features(reference.graph, p.geometry(reference.graph))
    ev_name, dx_name, dev_name = ("ev", "attention_x", "attention_ev") if reference.sparse else ("chi", "FeatureBlock_0", "GeometricBlock_0")
    assert len(seen) == 2 * len(p.layers)
    for n in range(len(p.layers)):
        assert_same(seen[n, "attention"][0], said[f"layer{n}.{dx_name}"], f"update of the features, layer {n}")
        assert_same(seen[n, "attention"][1], said[f"layer{n}.{dev_name}"], f"update of the Euclidean variables, layer {n}")
        assert_same(seen[n][0], said[f"layer{n}.x"], f"features after layer {n}")
        assert_same(seen[n][1], said[f"layer{n}.{ev_name}"], f"Euclidean variables after layer {n}")


def test_energy_and_forces(reference):
    results = energy_forces_stress(reference.potential, reference.graph)
    assert float(results.energy) == pytest.approx(float(reference.numbers["energy"]), rel=EXACT)
    assert_same(results.forces, reference.numbers["forces"], "forces")


def test_single_precision_stays_close(reference):
    """The same weights in float32: forces within 1e-4 of the largest (rounding 6e-8 over two layers of some hundred terms)."""
    import copy

    single = copy.deepcopy(reference.potential).float()
    forces = energy_forces_stress(single, reference.graph).forces.numpy()
    expected = reference.numbers["forces"]
    assert np.abs(forces - expected).max() < 1e-4 * np.abs(expected).max()
