"""So3krates as released with the papers of 2022 and 2024: layer norms before the blocks, residual networks in place of x.

What differs from `so3krates`: both blocks read LN(x), and the interaction reads a second LN(x), while skips add to x
itself; coefficients are always divided by the root of the head size; Euclidean variables may start from the
neighbourhood; the residual network replaces x.

J. T. Frank, O. T. Unke, K.-R. Müller, NeurIPS 35, 29400 (2022);
J. T. Frank, O. T. Unke, K.-R. Müller, S. Chmiela, Nat. Commun. 15, 6539 (2024).
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from potentials.architectures import architectures
from potentials.architectures.so3krates import LAYER_NORM_EPS
from potentials.graph import AtomicGraph, sum_over_neighbours
from potentials.layers.attention import EuclideanAttention, attention_norms
from potentials.layers.cutoffs import CUTOFFS
from potentials.layers.embedding import element_table
from potentials.layers.energies import ElementEnergies
from potentials.layers.geometry import Geometry, geometry_of
from potentials.layers.mlp import ACTIVATIONS, ResidualMLP, TwoLayers, dense
from potentials.layers.radial import RADIAL_BASES
from potentials.layers.repulsion import ZBLRepulsion
from potentials.layers.spherical import SphericalHarmonics
from potentials.potential import Outputs, Potential

N_ROWS = 100  # rows of the element table


@dataclass(frozen=True)
class Config:
    """Sizes and options; defaults are those of the released training command."""

    elements: tuple[int, ...] | None = None
    n_layer: int = 3
    F: int = 132  # divisible by n_heads and by the number of degrees
    n_heads: int = 4
    degrees: tuple[int, ...] = (1, 2, 3)
    r_cut: float = 5.0  # Å
    radial_cutoff_fn: Literal["phys", "cosine", "polynomial", "exponential"] = "cosine"
    radial_basis_function: Literal["bernstein", "physnet", "bessel", "gaussian"] = "physnet"
    n_rbf: int = 32
    sphc_normalization: float | None = None  # None: Euclidean variables start at zero
    layer_normalization: bool = False
    final_layer_normalization: bool = True  # a third norm after the last layer, where layer_normalization is on
    residual_mlp_1: bool = False
    residual_mlp_2: bool = False
    zbl_repulsion: bool = False

    def __post_init__(self) -> None:
        for name, divisor in (("n_heads", self.n_heads), ("the number of degrees", len(self.degrees))):
            if divisor < 1 or self.F % divisor:
                raise ValueError(f"F must be divisible by {name}, got {self.F} and {divisor}.")
        if not self.r_cut > 0:
            raise ValueError(f"r_cut must be > 0 Å, got {self.r_cut}.")


class ReplacingMLP(torch.nn.Module):
    """dense(silu(x + dense(silu(dense(silu(x)))))), without biases: it takes the place of x."""

    def __init__(self, n: int):
        super().__init__()
        self.inner = ResidualMLP(n, "silu", bias=False)
        self.outer = dense(n, n, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.outer(ACTIVATIONS["silu"](self.inner(x)))


class Layer(torch.nn.Module):
    """One layer; `last` marks the one that may carry a third norm."""

    def __init__(self, config: Config, last: bool):
        super().__init__()
        F, n_degrees = config.F, len(config.degrees)
        self.F = F

        def norm(on: bool) -> torch.nn.Module:
            return torch.nn.LayerNorm(F, eps=LAYER_NORM_EPS) if config.layer_normalization and on else torch.nn.Identity()

        norms = attention_norms("sqrt_num_features", F, config.n_heads, n_degrees, 1.0)
        self.attention = EuclideanAttention(F, config.n_heads, config.degrees, config.n_rbf, norms=norms)
        self.contraction = self.attention.contraction
        self.exchange = dense(F + n_degrees, F + n_degrees)
        # the released code rounds this one contraction's factors to single precision, also in double-precision runs
        rounded = (self.contraction.weights.float()).double()
        self.register_buffer("exchange_weights", rounded, persistent=False)  # (M, n_degrees)
        self.norm_1, self.norm_2, self.norm_3 = norm(True), norm(True), norm(last and config.final_layer_normalization)
        self.residual_1 = ReplacingMLP(F) if config.residual_mlp_1 else torch.nn.Identity()
        self.residual_2 = ReplacingMLP(F) if config.residual_mlp_2 else torch.nn.Identity()

    def forward(self, x: Tensor, ev: Tensor, geometry: Geometry, graph: AtomicGraph) -> tuple[Tensor, Tensor]:
        n_pairs = graph.edges.n_pairs
        i, j = graph.edges.centres[:n_pairs], graph.edges.neighbours[:n_pairs]
        s, expand = self.contraction, self.contraction.expand
        s_ij = s(ev.index_select(0, j) - ev.index_select(0, i))  # (n_pairs, n_degrees)
        dx, dev = self.attention(self.norm_1(x), s_ij, geometry.rbf, geometry.Y, geometry.phi, graph)
        x, ev = self.residual_1(x + dx), ev + dev
        s_i = (ev * ev) @ self.exchange_weights.to(ev.dtype)
        c_x, c_ev = self.exchange(torch.cat([self.norm_2(x), s_i], dim=1)).tensor_split([self.F], dim=1)
        x, ev = self.residual_2(x + c_x), ev + expand(c_ev) * ev
        return self.norm_3(x), ev


@architectures.register("so3krates-original")
class So3kratesOriginal(Potential):
    """The whole model: embedding, layers, energies of atoms."""

    Config = Config

    def __init__(self, config: Config):
        super().__init__(cutoff=config.r_cut, elements=config.elements)
        self.config = config
        self.element_embedding = element_table(N_ROWS, config.F)
        self.radial_basis = RADIAL_BASES[config.radial_basis_function](config.n_rbf, config.r_cut)
        self.cutoff_fn = CUTOFFS[config.radial_cutoff_fn]
        self.harmonics = SphericalHarmonics(config.degrees)
        self.layers = torch.nn.ModuleList(Layer(config, last=n == config.n_layer - 1) for n in range(config.n_layer))
        self.readout = TwoLayers(config.F, config.F, 1)
        self.zbl = ZBLRepulsion() if config.zbl_repulsion else None
        self.element_energies = ElementEnergies()

    def set_reference_energies(self, energies: Mapping[int, float]) -> None:
        """Energies of elements (eV) that the network's energies are relative to."""
        self.element_energies.set(energies)

    def forward(self, graph: AtomicGraph) -> Tensor:
        return self.outputs(graph).energies

    def outputs(self, graph: AtomicGraph) -> Outputs:
        geometry = self.geometry(graph)
        x, _ = self.features(graph, geometry)
        terms = {"network": self.readout(x)[:, 0].double()}
        if self.zbl is not None:
            terms["repulsion"] = self.zbl(graph, geometry.d, geometry.phi).double()
        terms["elements"] = self.element_energies(graph.numbers)
        return Outputs(energies=torch.stack(list(terms.values())).sum(0), terms=terms)

    def geometry(self, graph: AtomicGraph) -> Geometry:
        return geometry_of(graph, self.cutoff_fn, self.cutoff, self.radial_basis, self.harmonics, self.element_embedding.weight.dtype)

    def atomic_features(self, graph: AtomicGraph) -> Tensor:
        return self.features(graph, self.geometry(graph))[0]

    def features(self, graph: AtomicGraph, geometry: Geometry) -> tuple[Tensor, Tensor]:
        """Features (n_atoms, F) and Euclidean variables (n_atoms, M) after the last layer."""
        x = self.element_embedding(graph.numbers)
        ev = self.initial_variables(graph, geometry)
        for layer in self.layers:
            x, ev = layer(x, ev, geometry, graph)
        return x, ev

    def initial_variables(self, graph: AtomicGraph, geometry: Geometry) -> Tensor:
        """Zero, or sum_j phi_ij Y(u_ij) / lambda: (n_atoms, M)."""
        if self.config.sphc_normalization is None:
            return geometry.Y.new_zeros(graph.n_atoms, geometry.Y.shape[1])
        Y = geometry.Y * self.layers[0].contraction.expand(self.layers[0].attention.parity)  # (2, n_pairs, M)
        return sum_over_neighbours((geometry.phi[:, None] * Y).flatten(0, 1), graph) / self.config.sphc_normalization
