r"""Message passing with one trunk and a head by choice: direct forces in three kinds, an energy, or both.

An encoder makes features of each atom (its element, and charge, epsilon and sigma where they are given), `num_layers` passes hand messages on
(`potentials.layers.message_passing`), and a head reads the features:

=========  =================================  ============  ==========  ==========  ======
head       forces                             conservative  equivariant  net force  energy
=========  =================================  ============  ==========  ==========  ======
free       f_i = MLP(h_i)                     no            no          not zero    none
pair       sum_j a_ij u_ij                    no            yes         zero        none
vector     sum_c w_c v_ic                     no            yes         zero        none
energy     minus the gradient of the energy   yes           yes         zero        yes
both       those of `vector`                  no            yes         zero        yes: of an energy head on the same trunk, stress too
=========  =================================  ============  ==========  ==========  ======

`free` with PReLU, norms over the structure and types of bonds is GNNforMD's model with its faults of batching repaired; the message is a gated
network of one hidden layer. Forces are in units of the root mean square force of the training data. With `electrostatics`, the long-ranged part of
Coulomb's law between the charges of `physical` is added to energy and forces (`potentials.layers.given_charges`): messages end after a few cutoffs, and
waves of charge longer than the training cells cannot be learnt from them.

J. Gilmer et al., ICML 2017; K. Schütt et al., arXiv:2102.03150 (PaiNN); arXiv:2112.03383 (direct forces in MD);
S. Bigi, M. Langer, M. Ceriotti, arXiv:2412.11569 (what forces that are no gradient do).
"""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from ase.data import atomic_numbers, chemical_symbols
from torch import Tensor

from potentials.architectures import architectures
from potentials.graph import AtomicGraph, pair_vectors
from potentials.layers.bond_types import BondTypes
from potentials.layers.cutoffs import CUTOFFS
from potentials.layers.embedding import N_NUMBERS
from potentials.layers.energies import ElementEnergies
from potentials.layers.force_heads import FORCE_HEADS
from potentials.layers.given_charges import GivenCharges
from potentials.layers.message_passing import N_BOND_TYPES, N_DIRECTED, MessagePass, PairFeatures, TwoDense, norm_of
from potentials.layers.physical_features import PhysicalFeatures
from potentials.layers.radial import RADIAL_BASES
from potentials.layers.training_statistics import Labelled
from potentials.potential import Outputs, Potential

Head = Literal["free", "pair", "vector", "energy", "both"]
WITHOUT_ENERGY = ("free", "pair", "vector")


@dataclass(frozen=True)
class Config:
    """What a message-passing potential is made of."""

    elements: tuple[int, ...] | None = None  # from the data, in training
    head: Head = "energy"
    cutoff: float = 5.0  # Å
    num_layers: int = 3  # 0 with head "pair": the force between two atoms hangs on nothing but their kinds and their distance
    num_features: int = 64
    num_radial_basis_fn: int = 12
    radial_basis_fn: Literal["bessel", "bernstein", "physnet"] = "bessel"
    cutoff_fn: str = "polynomial"
    activation: Literal["silu", "gelu", "softplus", "tanh", "prelu"] = "silu"  # "prelu", which has a kink, for direct forces only
    norm: Literal["rms", "layer", "structure", "none"] = "rms"  # before each pass: of each atom alone; "structure" is GraphNorm
    vectors: bool | None = None  # vectors beside the features, so that passes feel angles; None: where the head needs them
    bond_types: bool = False  # tell pairs apart by the bonds that geometry shows
    element_embedding: bool = True  # a vector for each element; without it `physical` is all that tells atoms apart
    physical: dict[str, tuple[float, float, float]] = field(default_factory=dict)  # by symbol: charge (e), epsilon (eV), sigma (Å)
    electrostatics: Literal["none", "ewald"] = "none"  # of the charges in `physical`, over all images of a cell; damped at short range, where they are learnt
    electrostatics_sigma: float = 3.0  # Å, the damping length
    avg_num_neighbors: float = 1.0  # from the data, in training

    def __post_init__(self) -> None:
        for name in ("cutoff", "num_features", "electrostatics_sigma", "avg_num_neighbors"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be > 0, got {getattr(self, name)}.")
        least = 0 if self.head == "pair" else 1
        if self.num_layers < least:
            raise ValueError(f"num_layers must be >= {least} for head '{self.head}', got {self.num_layers}.")
        if self.num_radial_basis_fn < N_DIRECTED:
            raise ValueError(f"num_radial_basis_fn must be {N_DIRECTED} or more, got {self.num_radial_basis_fn}.")
        if self.cutoff_fn not in CUTOFFS:
            raise ValueError(f"no cutoff function '{self.cutoff_fn}'; known: {', '.join(CUTOFFS)}.")
        if self.activation == "prelu" and self.head not in WITHOUT_ENERGY:
            raise ValueError(f"activation 'prelu' has a kink, which the forces of head '{self.head}' would show as a jump; take silu, or a head of {', '.join(WITHOUT_ENERGY)}.")
        if self.vectors is False and self.head in ("vector", "both"):
            raise ValueError(f"head '{self.head}' is made of vectors; leave vectors out, or say true.")
        if self.vectors and self.head == "free":
            raise ValueError("head 'free' knows directions by its messages; vectors are for the other heads.")
        unknown = [symbol for symbol in self.physical if symbol not in atomic_numbers]
        if unknown:
            raise ValueError(f"physical names no element with {', '.join(map(repr, unknown))}; use symbols such as 'Ar'.")
        if not self.element_embedding and not self.physical:
            raise ValueError("without element_embedding, physical must give charge, epsilon and sigma of each element: nothing else tells atoms apart.")
        if self.electrostatics == "ewald" and not any(q for q, _, _ in self.physical.values()):
            raise ValueError("electrostatics = 'ewald' is of the charges in physical, which gives none; give each element (charge, epsilon, sigma), or take 'none'.")
        missing = [chemical_symbols[z] for z in self.elements or () if self.physical and chemical_symbols[z] not in self.physical]
        if missing:
            raise ValueError(f"physical has no charge, epsilon and sigma of {', '.join(missing)}; give them for every element, or for none.")

    @property
    def has_vectors(self) -> bool:
        return self.head in ("vector", "both") or bool(self.vectors)


@architectures.register("message-passing")
class MessagePassing(Potential):
    """See the module's head."""

    Config = Config
    force_unit: Tensor

    def __init__(self, config: Config = Config()):
        super().__init__(cutoff=config.cutoff, elements=config.elements)
        self.config = config
        self.conservative = config.head == "energy"
        self.equivariant = self.net_force_zero = config.head != "free"
        self.provides_energy = self.provides_stress = config.head not in WITHOUT_ENERGY
        n, name = config.num_features, config.activation
        self.embedding = torch.nn.Embedding(N_NUMBERS, n) if config.element_embedding else None
        self.physical = PhysicalFeatures(config.physical, n, name) if config.physical else None
        self.radial = RADIAL_BASES[config.radial_basis_fn](config.num_radial_basis_fn, config.cutoff)
        self.bond_types = BondTypes() if config.bond_types else None
        n_invariant = config.num_radial_basis_fn + (N_BOND_TYPES if config.bond_types else 0)
        self.layers = torch.nn.ModuleList(
            MessagePass(n, n_invariant, config.avg_num_neighbors, name, config.norm, config.head == "free", config.has_vectors)
            for _ in range(config.num_layers)
        )
        self.norm = norm_of("none" if config.norm == "structure" else config.norm, n)
        kind = "vector" if config.head == "both" else config.head
        self.force_head = FORCE_HEADS[kind](n, n_invariant, name) if kind in FORCE_HEADS else None
        self.energy_head = TwoDense(n, n, 1, name) if self.provides_energy else None
        charges = {symbol: q for symbol, (q, _, _) in config.physical.items()}
        self.given_charges = GivenCharges(charges, config.electrostatics_sigma) if config.electrostatics == "ewald" else None
        self.local = self.given_charges is None
        self.register_buffer("force_unit", torch.ones((), dtype=torch.float64))  # eV/Å
        self.element_energies = ElementEnergies()

    def set_reference_energies(self, energies: Mapping[int, float]) -> None:
        """Energies of elements (eV) that the network's energies are relative to; they mean nothing to a head without energy."""
        self.element_energies.set(energies)

    @torch.no_grad()
    def fit_to(self, batches: Iterable[Labelled]) -> str:
        """Take the unit of force from training data; called once, before training.

        Returns
        -------
        What was found, in a sentence.
        """
        squares, count = 0.0, 0
        for batch in batches:
            forces = getattr(batch, "forces", None)
            known = torch.zeros(0) if forces is None else forces[torch.isfinite(forces)]
            squares, count = squares + float(known.square().sum()), count + known.numel()
        if count and squares > 0:
            self.force_unit.fill_((squares / count) ** 0.5)
        return f"Head '{self.config.head}', which provides {', '.join(self.provides)}; unit of force {float(self.force_unit):.4g} eV/Å."

    def forward(self, graph: AtomicGraph) -> Tensor:
        return self.outputs(graph).energies

    def outputs(self, graph: AtomicGraph) -> Outputs:
        pairs = self._pairs(graph)
        h, v = self._passed(pairs, graph)
        forces = None if self.force_head is None else self.force_head(h, v, pairs, graph).double() * self.force_unit
        if forces is not None and self.given_charges is not None:
            forces = forces + self.given_charges.forces(graph)
        if self.energy_head is None:
            return Outputs(torch.zeros_like(graph.positions[:, 0]), forces=forces)
        network = self.energy_head(h)[:, 0].double() * self.force_unit
        terms = {"network": network, "elements": self.element_energies(graph.numbers)}
        if self.given_charges is not None:
            terms["electrostatics"] = self.given_charges.energies(graph)
        return Outputs(sum(terms.values(), torch.zeros_like(network)), terms, forces=forces)

    def atomic_features(self, graph: AtomicGraph) -> Tensor:
        return self._passed(self._pairs(graph), graph)[0]

    def _passed(self, pairs: PairFeatures, graph: AtomicGraph) -> tuple[Tensor, Tensor | None]:
        """Features, and vectors where there are any, after the last round."""
        h, v = self._encoded(graph.numbers), None
        for layer in self.layers:
            h, v = layer(h, v, pairs, graph)
        return self.norm(h, graph), v

    def _encoded(self, numbers: Tensor) -> Tensor:
        parts = [part(numbers) for part in (self.embedding, self.physical) if part is not None]
        return sum(parts[1:], parts[0])

    def _pairs(self, graph: AtomicGraph) -> PairFeatures:
        dtype, n = next(self.parameters()).dtype, graph.edges.n_pairs
        r_ij = pair_vectors(graph)  # float64; rounded when the distance is taken
        d = r_ij.norm(dim=1)
        u, d = (r_ij / d[:, None]).to(dtype), d.to(dtype)
        i, j = graph.edges.centres[:n], graph.edges.neighbours[:n]
        invariant = self.radial(d)
        if self.config.radial_basis_fn == "bessel":
            invariant = invariant * (0.5 * self.cutoff)  # of size 1
        if self.bond_types is not None:
            invariant = torch.cat([invariant, self.bond_types(graph.numbers, i, j, d)], dim=1)
        return PairFeatures(i, j, CUTOFFS[self.config.cutoff_fn](d, self.cutoff)[:, None], invariant, u, graph.n_atoms)
