"""Every architecture of the house keeps the laws; each kind of wrong potential breaks the law that is there for it."""
import copy

import pytest
import torch

from potentials.conformance import ConformanceError, check_potential
from potentials.graph import edge_lengths, pair_vectors, sum_over_neighbours
from potentials.potential import Potential
from samples import SMALL, house_names, small


@pytest.mark.parametrize("name", house_names())
def test_every_architecture_conforms(name):
    assert name in SMALL, f"give {name} a small configuration in samples.SMALL"
    laws = check_potential(small(name))
    assert all(law.kept for law in laws) and len(laws) >= 14
    assert len({law.name for law in laws}) == len(laws)


OPTIONS = {
    "charge and spin": dict(use_charge_embed=True, use_spin_embed=True),
    "no repulsion, no norms": dict(zbl_repulsion_bool=False, layer_normalization_1=False, layer_normalization_2=False),
    "other basis": dict(radial_basis_fn="bessel", cutoff_fn="cosine", message_normalization="sqrt_num_features"),
    "long range": dict(electrostatic_energy_bool=True, dispersion_energy_bool=True),
    "trained basis": dict(radial_basis_fn="gaussian", cutoff_fn="exponential", qk_non_linearity="silu", residual_mlp_2=True),
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_options_of_so3krates_conform(options):
    check_potential(small("so3krates", **options))


@pytest.mark.parametrize(
    "options", [dict(layer_normalization=True, residual_mlp_1=True, residual_mlp_2=True), dict(sphc_normalization=3.0, zbl_repulsion=True)]
)
def test_options_of_so3krates_original_conform(options):
    check_potential(small("so3krates-original", **options))


class Pairwise(Potential):
    """A sound pair potential, to be spoilt by its children."""

    def __init__(self):
        super().__init__(cutoff=4.0, elements=(1, 8))
        self.weight = torch.nn.Parameter(torch.tensor(0.7))

    def pair(self, r):
        return self.weight * (1 - r / self.cutoff).clamp(min=0) ** 3

    def forward(self, graph):
        return 0.5 * sum_over_neighbours(self.pair(edge_lengths(graph)), graph)


class LostTerm(Pairwise):
    """Half of the energy is cut out of the derivative: forces are not the gradient."""

    def forward(self, graph):
        e = super().forward(graph)
        return e + super().forward(graph).detach()


class Nailed(Pairwise):
    """The energy knows where the origin is."""

    def forward(self, graph):
        return super().forward(graph) + 1e-6 * graph.positions.norm(dim=1)


class Directed(Pairwise):
    """The energy knows which way is up."""

    net_force_zero = False

    def forward(self, graph):
        r = torch.cat([pair_vectors(graph), -pair_vectors(graph)])
        return 0.5 * sum_over_neighbours(self.pair(r.norm(dim=1)) * (1 + 0.1 * (r[:, 2] / r.norm(dim=1)) ** 2), graph)


class Mirrored(Pairwise):
    """Left and right differ: the triple product of an atom's neighbourhood with itself."""

    def forward(self, graph):
        r = torch.cat([pair_vectors(graph), -pair_vectors(graph)])
        d = r.norm(dim=1, keepdim=True)
        w = (1 - d / self.cutoff).clamp(min=0) ** 3
        a, b, c = (sum_over_neighbours(w**k * r, graph) for k in (1, 2, 3))
        return super().forward(graph) + (torch.linalg.cross(a, b) * c).sum(1)


class Cliff(Pairwise):
    """The energy drops to zero at the cutoff."""

    def pair(self, r):
        return torch.where(r < self.cutoff, self.weight / r, 0.0)


class Kink(Pairwise):
    """The energy is continuous at the cutoff, the force is not."""

    def pair(self, r):
        return self.weight * (1 - r / self.cutoff).clamp(min=0)


class Ordered(Pairwise):
    """The first atom counts more."""

    def forward(self, graph):
        e = super().forward(graph)
        return e * (1 + 0.1 * (torch.arange(len(e)) == 0))


class Gossip(Pairwise):
    """Structures of a batch hear of each other."""

    def forward(self, graph):
        e = super().forward(graph)
        return e * (1 + 0.1 * e.mean())


class Unextensive(Pairwise):
    """The energy hangs on the square of a molecule's own sum."""

    def forward(self, graph):
        e = super().forward(graph)
        total = torch.zeros(graph.n_structures, dtype=e.dtype).index_add(0, graph.structure, e)
        return e * total[graph.structure]


class Blind(Pairwise):
    """Pairs across the walls of the cell are seen, but do not feel the strain."""

    def forward(self, graph):
        i, j, s = graph.edges.centres, graph.edges.neighbours, graph.edges.shifts
        r = graph.positions[j] - graph.positions[i] + torch.einsum("ea,eab->eb", s, graph.cell.detach()[graph.structure[i]])
        return 0.5 * sum_over_neighbours(self.pair(r.norm(dim=1)), graph)


class Lonely(Pairwise):
    """An atom by itself has an undefined energy."""

    def forward(self, graph):
        e = super().forward(graph)
        count = sum_over_neighbours(torch.ones_like(graph.edges.centres, dtype=e.dtype), graph)
        return e * count / count


class Rounded(Pairwise):
    """Distances are taken from rounded positions: exact in float64, lost in float32."""

    def forward(self, graph):
        x = graph.positions.to(self.weight.dtype) + 1e6
        i, j, s = graph.edges.centres, graph.edges.neighbours, graph.edges.shifts
        r = x[j] - x[i] + torch.einsum("ea,eab->eb", s, graph.cell[graph.structure[i]]).to(x.dtype)
        return 0.5 * sum_over_neighbours(self.pair(r.norm(dim=1)).double(), graph)


BREAKS = {
    LostTerm: "forces are minus the gradient",
    Nailed: "translation",
    Directed: "rotation",
    Mirrored: "reflection leaves the energy",
    Cliff: "energy is continuous at the cutoff",
    Kink: "forces are continuous at the cutoff",
    Ordered: "permutation",
    Gossip: "a batch gives what single structures give",
    Unextensive: "two far copies have twice the energy",
    Blind: "stress is the slope of the energy with strain",
    Lonely: "a lone atom feels no force",
    Rounded: "float32 gives the forces of float64",
}


def test_the_sound_one_passes():
    assert all(law.kept for law in check_potential(Pairwise()))


@pytest.mark.parametrize("wrong", BREAKS, ids=lambda kind: kind.__name__)
def test_a_wrong_potential_is_caught_by_its_law(wrong):
    with pytest.raises(ConformanceError) as caught:
        check_potential(wrong())
    message = str(caught.value)
    assert wrong.__name__ in message
    assert any(BREAKS[wrong] in law and "BROKEN" in law for law in message.split("; ")), message


def test_the_potential_itself_is_left_as_it_is():
    potential = small("so3krates").float().train()
    before = copy.deepcopy(potential.state_dict())
    check_potential(potential)
    assert potential.training and all(p.dtype == torch.float32 and p.requires_grad for p in potential.parameters())
    assert all(torch.equal(before[key], value) for key, value in potential.state_dict().items())
