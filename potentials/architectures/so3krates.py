"""So3krates: an equivariant transformer on invariant features and Euclidean variables, as inside SO3LR.

x_i are F invariant features of an atom, ev_i its Euclidean variables: one number for each component of the spherical
harmonics of some degrees. A layer attends to neighbours with filters of distance and of s(ev_j - ev_i), where s takes
one invariant a degree; then both exchange what they know through one linear map of [x, s(ev)].

J. T. Frank, O. T. Unke, K.-R. Müller, S. Chmiela, Nat. Commun. 15, 6539 (2024);
A. Kabylda et al., J. Am. Chem. Soc. (2025), doi 10.1021/jacs.5c09558 (this variant).
"""
from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from potentials.architectures import architectures
from potentials.graph import AtomicGraph
from potentials.layers.attention import EuclideanAttention, attention_norms
from potentials.layers.charges import HirshfeldRatios, PartialCharges
from potentials.layers.cutoffs import CUTOFFS
from potentials.layers.dispersion import Dispersion
from potentials.layers.electrostatics import DampedCoulomb
from potentials.layers.embedding import N_NUMBERS, ChargeSpinEmbedding, element_table
from potentials.layers.energies import ElementEnergies
from potentials.layers.geometry import Geometry, geometry_of
from potentials.layers.heads import mean_of_heads, part_heads_, with_other_terms
from potentials.layers.mlp import ResidualMLP, TwoLayers, dense
from potentials.layers.pairs import far_pairs
from potentials.layers.radial import RADIAL_BASES
from potentials.layers.repulsion import ZBLRepulsion
from potentials.layers.spherical import SphericalHarmonics
from potentials.potential import Outputs, Potential

LAYER_NORM_EPS = 1e-6


@dataclass(frozen=True)
class Config:
    """Sizes and options. Names are those of the source."""

    elements: tuple[int, ...] | None = None  # atomic numbers it may be used for; None: any
    num_layers: int = 3
    num_features: int = 128  # F; divisible by num_heads and by the number of degrees
    num_heads: int = 4
    degrees: tuple[int, ...] = (1, 2, 3, 4)
    cutoff: float = 5.0  # Å
    cutoff_fn: Literal["phys", "cosine", "polynomial", "exponential"] = "phys"
    radial_basis_fn: Literal["bernstein", "physnet", "bessel", "gaussian"] = "bernstein"
    num_radial_basis_fn: int = 32
    activation_fn: Literal["silu", "softplus", "relu", "tanh", "gelu"] = "silu"
    qk_non_linearity: Literal["identity", "silu", "softplus", "relu", "tanh", "gelu"] = "identity"
    message_normalization: Literal["identity", "sqrt_num_features", "avg_num_neighbors"] = "avg_num_neighbors"
    avg_num_neighbors: float = 1.0  # of the training set; used with that message_normalization
    residual_mlp_1: bool = True
    residual_mlp_2: bool = False
    layer_normalization_1: bool = True
    layer_normalization_2: bool = True
    energy_regression_dim: int = 128
    energy_activation_fn: Literal["silu", "identity"] = "silu"
    energy_heads: int = 1  # last layers of the energy on one trunk: several are a shallow ensemble (see potentials.shallow)
    energy_learn_atomic_type_scales: bool = True
    energy_learn_atomic_type_shifts: bool = True
    use_charge_embed: bool = False
    use_spin_embed: bool = False
    zbl_repulsion_bool: bool = True
    electrostatic_energy_bool: bool = False  # with partial charges
    electrostatic_energy_scale: float = 4.0  # sigma, Å
    dispersion_energy_bool: bool = False  # with Hirshfeld ratios
    dispersion_energy_scale: float = 1.2
    dispersion_energy_cutoff_lr_damping: float = 2.0  # Å
    layers_behave_like_identity_fn_at_init: bool = False
    output_is_zero_at_init: bool = True

    def __post_init__(self) -> None:
        for name, divisor in (("num_heads", self.num_heads), ("the number of degrees", len(self.degrees))):
            if divisor < 1 or self.num_features % divisor:
                raise ValueError(f"num_features must be divisible by {name}, got {self.num_features} and {divisor}.")
        if not self.cutoff > 0:
            raise ValueError(f"cutoff must be > 0 Å, got {self.cutoff}.")
        if min(self.num_layers, self.num_features, self.num_radial_basis_fn, self.energy_regression_dim, self.energy_heads) < 1:
            raise ValueError("num_layers, num_features, num_radial_basis_fn, energy_regression_dim and energy_heads must be at least 1.")
        if not self.avg_num_neighbors > 0:
            raise ValueError(f"avg_num_neighbors must be > 0, got {self.avg_num_neighbors}.")


class Layer(torch.nn.Module):
    """Attention to neighbours, then exchange between features and Euclidean variables of the same atom."""

    def __init__(self, config: Config):
        super().__init__()
        F, n_degrees, at_zero = config.num_features, len(config.degrees), config.layers_behave_like_identity_fn_at_init
        self.F = F
        norms = attention_norms(config.message_normalization, F, config.num_heads, n_degrees, config.avg_num_neighbors)
        self.attention = EuclideanAttention(
            F, config.num_heads, config.degrees, config.num_radial_basis_fn, config.activation_fn, config.qk_non_linearity, norms, at_zero
        )
        self.contraction = self.attention.contraction
        self.norm_1 = torch.nn.LayerNorm(F, eps=LAYER_NORM_EPS) if config.layer_normalization_1 else torch.nn.Identity()
        self.residual_1 = ResidualMLP(F, config.activation_fn, zero_last=at_zero) if config.residual_mlp_1 else torch.nn.Identity()
        self.exchange = dense(F + n_degrees, F + n_degrees, zero=at_zero)
        self.residual_2 = ResidualMLP(F, config.activation_fn, zero_last=at_zero) if config.residual_mlp_2 else torch.nn.Identity()
        self.norm_2 = torch.nn.LayerNorm(F, eps=LAYER_NORM_EPS) if config.layer_normalization_2 else torch.nn.Identity()

    def forward(self, x: Tensor, ev: Tensor, geometry: Geometry, graph: AtomicGraph) -> tuple[Tensor, Tensor]:
        """x (n_atoms, F), ev (n_atoms, M) -> the same shapes."""
        n_pairs = graph.edges.n_pairs
        i, j = graph.edges.centres[:n_pairs], graph.edges.neighbours[:n_pairs]
        s, expand = self.contraction, self.contraction.expand
        s_ij = s(ev.index_select(0, j) - ev.index_select(0, i))  # (n_pairs, n_degrees)
        dx, dev = self.attention(x, s_ij, geometry.rbf, geometry.Y, geometry.phi, graph)
        x, ev = x + dx, ev + dev
        x = self.residual_1(self.norm_1(x))
        c_x, c_ev = self.exchange(torch.cat([x, s(ev)], dim=1)).tensor_split([self.F], dim=1)
        x, ev = x + c_x, ev + expand(c_ev) * ev
        return self.norm_2(self.residual_2(x)), ev


@architectures.register("so3krates")
class So3krates(Potential):
    """The whole model: embedding, layers, energies of atoms."""

    Config = Config

    def __init__(self, config: Config):
        super().__init__(cutoff=config.cutoff, elements=config.elements)
        self.config = config
        F = config.num_features
        self.knows_charge = config.use_charge_embed or config.electrostatic_energy_bool
        self.knows_spin = config.use_spin_embed
        self.element_embedding = element_table(N_NUMBERS, F)
        self.charge_embedding = ChargeSpinEmbedding(F, config.activation_fn) if config.use_charge_embed else None
        self.spin_embedding = ChargeSpinEmbedding(F, config.activation_fn) if config.use_spin_embed else None
        self.radial_basis = RADIAL_BASES[config.radial_basis_fn](config.num_radial_basis_fn, config.cutoff)
        self.cutoff_fn = CUTOFFS[config.cutoff_fn]
        self.harmonics = SphericalHarmonics(config.degrees)
        self.layers = torch.nn.ModuleList(Layer(config) for _ in range(config.num_layers))
        self.energy_heads = config.energy_heads
        self.readout = TwoLayers(F, config.energy_regression_dim, config.energy_heads, config.energy_activation_fn, zero_last=config.output_is_zero_at_init)
        if config.energy_heads > 1:
            part_heads_(self.readout.last)
        if config.energy_learn_atomic_type_scales:
            self.scales = torch.nn.Parameter(torch.ones(N_NUMBERS))
        if config.energy_learn_atomic_type_shifts:
            self.shifts = torch.nn.Parameter(torch.zeros(N_NUMBERS))
        self.zbl = ZBLRepulsion() if config.zbl_repulsion_bool else None
        self.charges = PartialCharges(F) if config.electrostatic_energy_bool else None
        self.electrostatics = DampedCoulomb(config.electrostatic_energy_scale) if config.electrostatic_energy_bool else None
        self.hirshfeld = HirshfeldRatios(F) if config.dispersion_energy_bool else None
        self.dispersion = (
            Dispersion(config.dispersion_energy_scale, config.dispersion_energy_cutoff_lr_damping) if config.dispersion_energy_bool else None
        )
        self.has_long_range = config.electrostatic_energy_bool or config.dispersion_energy_bool
        self.long_range_cutoff = "auto"
        self.element_energies = ElementEnergies()

    def set_reference_energies(self, energies: Mapping[int, float]) -> None:
        """Energies of elements (eV) that the network's energies are relative to."""
        self.element_energies.set(energies)

    def forward(self, graph: AtomicGraph) -> Tensor:
        return self.outputs(graph).energies

    def outputs(self, graph: AtomicGraph) -> Outputs:
        geometry = self.geometry(graph)
        x, _ = self.features(graph, geometry)
        e = self.readout(x)  # (n_atoms, n_heads)
        if self.config.energy_learn_atomic_type_scales:
            e = e * self.scales.index_select(0, graph.numbers)[:, None]
        if self.config.energy_learn_atomic_type_shifts:
            e = e + self.shifts.index_select(0, graph.numbers)[:, None]
        e = e.double()
        terms = {"network": mean_of_heads(e)}
        if self.zbl is not None:
            terms["repulsion"] = self.zbl(graph, geometry.d, geometry.phi).double()
        charges = ratios = None
        if self.has_long_range:
            far = far_pairs(graph, x.dtype)
            if self.charges is not None and self.electrostatics is not None:
                charges = self.charges(x, graph)
                terms["electrostatics"] = self.electrostatics(charges, far, graph).double()
            if self.hirshfeld is not None and self.dispersion is not None:
                ratios = self.hirshfeld(x, graph)
                terms["dispersion"] = self.dispersion(ratios, far, graph).double()
        terms["elements"] = self.element_energies(graph.numbers)
        energies = torch.stack(list(terms.values())).sum(0)
        features = x if self.domain is not None else None
        return Outputs(energies, terms, charges, ratios, features=features, head_energies=with_other_terms(e, energies))

    def geometry(self, graph: AtomicGraph) -> Geometry:
        """Distances, radial basis, cutoff function and harmonics of the pairs, in the network's precision."""
        return geometry_of(graph, self.cutoff_fn, self.cutoff, self.radial_basis, self.harmonics, self.element_embedding.weight.dtype)

    def embed(self, graph: AtomicGraph) -> Tensor:
        """Features before the first layer, (n_atoms, F)."""
        parts = [self.element_embedding(graph.numbers)]
        if self.charge_embedding is not None:
            parts.append(self.charge_embedding(graph, graph.charge))
        if self.spin_embedding is not None:
            parts.append(self.spin_embedding(graph, graph.unpaired))
        return sum(parts[1:], parts[0]) / math.sqrt(len(parts))

    def atomic_features(self, graph: AtomicGraph) -> Tensor:
        return self.features(graph, self.geometry(graph))[0]

    def features(self, graph: AtomicGraph, geometry: Geometry) -> tuple[Tensor, Tensor]:
        """Features (n_atoms, F) and Euclidean variables (n_atoms, M) after the last layer."""
        x = self.embed(graph)
        ev = x.new_zeros(graph.n_atoms, geometry.Y.shape[1])
        for layer in self.layers:
            x, ev = layer(x, ev, geometry, graph)
        return x, ev
