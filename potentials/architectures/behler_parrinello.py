r"""Behler-Parrinello potentials: symmetry functions of an atom's surroundings, one small network for each element.

.. math:: E = \sum_i \left[ E^0_{e_i} + s_E\, \varphi_{e_i}\!\left( S_{e_i}(G_i) \right) \right]

G are symmetry functions (`potentials.layers.symmetry_functions`), S their scaling by the statistics of the training data, E^0 an
energy for each element, s_E an energy unit. Descriptors are dropped where the training data never change them; those that lie outside
their range there are reported with each evaluation.

J. Behler and M. Parrinello, Phys. Rev. Lett. 98, 146401 (2007); J. Behler, J. Chem. Phys. 134, 074106 (2011).
"""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from ase.data import chemical_symbols
from torch import Tensor

from potentials.architectures import architectures
from potentials.graph import AtomicGraph
from potentials.layers.atomic_networks import SMOOTH, AtomicNetwork
from potentials.layers.energies import ElementEnergies
from potentials.layers.heads import mean_of_heads, with_other_terms
from potentials.layers.symmetry_functions import SymmetryFunction, SymmetryFunctions, largest_cutoff, of_centre
from potentials.layers.symmetry_functions.cutoffs import NAMES as CUTOFFS
from potentials.layers.symmetry_functions.grids import Grid, functions_of
from potentials.layers.symmetry_functions.scaling import Mode, Moments, Scaling
from potentials.layers.symmetry_functions.selection import Selection, selected
from potentials.layers.symmetry_functions.slopes import slopes
from potentials.layers.training_statistics import Labelled, energy_left, energy_unit
from potentials.potential import Outputs, Potential


@dataclass(frozen=True)
class Config:
    """Descriptors are those of `functions`, or of `grid` and `cutoff` where no functions are given; training data may choose among them."""

    elements: tuple[int, ...] | None = None  # from the data, in training
    cutoff: float = 6.0  # Å; with `functions`, the largest of theirs
    cutoff_fn: str = "cosine"  # of `grid`
    inner: float = 0.0  # of `grid`: inner radius of the cutoff function as a part of the cutoff
    grid: Grid = Grid()
    functions: tuple[SymmetryFunction, ...] = ()
    selection: Selection = Selection()  # before training; what was chosen is then in `functions`
    hidden: tuple[int, ...] = (30, 30)
    activation: tuple[str, ...] | str = "tanh"  # one for all hidden layers, or one for each
    energy_heads: int = 1  # last layers on the hidden ones of each network: several are a shallow ensemble (see potentials.shallow)
    scaling: Mode = "sigma"
    scale_min: float = 0.0
    scale_max: float = 1.0

    def __post_init__(self) -> None:
        if not self.cutoff > 0:
            raise ValueError(f"cutoff must be > 0 Å, got {self.cutoff}.")
        if self.cutoff_fn not in CUTOFFS:
            raise ValueError(f"no cutoff function '{self.cutoff_fn}'; known: {', '.join(CUTOFFS)}.")
        if self.energy_heads < 1:
            raise ValueError(f"energy_heads must be 1 or more, got {self.energy_heads}.")
        if not self.hidden or min(self.hidden) < 1:
            raise ValueError(f"hidden must name one or more widths of 1 or more, got {list(self.hidden)}.")
        if len(self.activations) != len(self.hidden):
            raise ValueError(f"activation names {len(self.activations)} functions, and there are {len(self.hidden)} hidden layers.")
        unknown = [name for name in self.activations if name not in SMOOTH]
        if unknown:
            raise ValueError(f"no activation '{unknown[0]}'; known: {', '.join(SMOOTH)}.")
        if not self.scale_max > self.scale_min:
            raise ValueError(f"scale_max must be above scale_min, got {self.scale_max} and {self.scale_min}.")

    @property
    def activations(self) -> tuple[str, ...]:
        """One for each hidden layer."""
        return (self.activation,) * len(self.hidden) if isinstance(self.activation, str) else self.activation

    def functions_for(self, elements: tuple[int, ...]) -> tuple[SymmetryFunction, ...]:
        """The descriptors of these elements."""
        return self.functions or functions_of(self.grid, elements, self.cutoff, self.cutoff_fn, self.inner)


@architectures.register("behler-parrinello")
class BehlerParrinello(Potential):
    """See the module's head."""

    Config = Config
    energy_unit: Tensor

    def __init__(self, config: Config = Config()):
        super().__init__(cutoff=largest_cutoff(config.functions) if config.functions else config.cutoff, elements=config.elements)
        self.config = config
        known = self.elements or ()
        self.descriptors = SymmetryFunctions(config.functions_for(known) if known else (), known)
        counts = [self.descriptors.count(z) for z in known]
        if 0 in counts:
            raise ValueError(f"{chemical_symbols[known[counts.index(0)]]} has no symmetry function; each element needs one or more.")
        self.scalings = torch.nn.ModuleList(Scaling(n, config.scaling, config.scale_min, config.scale_max) for n in counts)
        self.networks = torch.nn.ModuleDict(
            {chemical_symbols[z]: AtomicNetwork(n, config.hidden, config.activations, config.energy_heads) for z, n in zip(known, counts)}
        )
        self.energy_heads = config.energy_heads
        self.register_buffer("energy_unit", torch.ones((), dtype=torch.float64))  # s_E, eV
        self.element_energies = ElementEnergies()

    def set_reference_energies(self, energies: Mapping[int, float]) -> None:
        """E^0: energies of elements (eV) that the networks' energies are relative to."""
        self.element_energies.set(energies)

    @torch.no_grad()
    def fit_to(self, batches: Iterable[Labelled]) -> str:
        """Take the scaling of descriptors, their ranges and the energy unit from training data; called once, before training.

        Returns
        -------
        What was found, in a sentence.
        """
        if self.config.selection.keep:
            batches = list(batches)
            self._choose(batches)
        moments, left = [Moments(len(s.minimum)) for s in self._scalings], []
        for batch in batches:
            for m, (_, G) in zip(moments, self._descriptors_by_element(batch.graph)):
                m.add(G)
            left.append(energy_left(batch, self.element_energies))
        for m, scaling in zip(moments, self._scalings):
            m.give(scaling)
        self.energy_unit.fill_(energy_unit(left))
        words = [f"{chemical_symbols[z]} {len(s.minimum)}{f' ({s.n_dropped} constant)' if s.n_dropped else ''}" for z, s in zip(self.elements or (), self._scalings)]
        return f"Descriptors: {', '.join(words)}; energy unit {1000 * float(self.energy_unit):.1f} meV."

    def _choose(self, batches: list[Labelled]) -> None:
        """Keep some descriptors of each element; networks begin anew, with as many inputs."""
        wish, seen = self.config.selection, [[] for _ in self._scalings]  # type: ignore[var-annotated]
        for batch in batches:
            for mine, (_, G) in zip(seen, self._descriptors_by_element(batch.graph)):
                mine.append(G.double().cpu().numpy())
        functions: list[SymmetryFunction] = []
        for z, mine in zip(self.elements or (), seen):
            G, all_of_z = np.concatenate(mine), of_centre(self.descriptors.functions, z)
            G = G[np.linspace(0, len(G) - 1, min(wish.atoms, len(G))).astype(int)]
            kept = range(len(all_of_z)) if len(G) < 2 else selected(G, wish)
            functions += [replace(all_of_z[k], centre=z) for k in (kept if len(kept) else [0])]
        energies, weight = self.element_energies.energies.clone(), next(self.parameters())
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(1e6 * float(weight.detach().double().abs().sum())))  # another for other weights, so that it follows the run's seed
            self.__init__(replace(self.config, functions=tuple(functions), selection=Selection()))  # type: ignore[misc]
        self.to(device=weight.device, dtype=weight.dtype)
        self.element_energies.energies.copy_(energies)

    def forward(self, graph: AtomicGraph) -> Tensor:
        return self.outputs(graph).energies

    def outputs(self, graph: AtomicGraph) -> Outputs:
        return self._outputs_of(self._descriptors_by_element(graph), graph)

    def _outputs_of(self, found: list[tuple[Tensor | None, Tensor]], graph: AtomicGraph) -> Outputs:
        parts, outside, atoms, scaled = [], [], [], []
        for (chosen, G), scaling, network in zip(found, self._scalings, self.networks.values()):
            scaled.append(scaling(G))
            parts.append(network(scaled[-1]))
            with torch.no_grad():
                beyond = scaling.overshoot(G.detach())
                outside.append(torch.stack([(beyond > 0).sum(1).to(G.dtype), beyond.amax(1)], 1))
            atoms.append(chosen)
        e, extrapolation = (_in_order(x, atoms, graph.n_atoms) for x in (parts, outside))
        e = e.double() * self.energy_unit  # (n_atoms, n_heads)
        terms = {"network": mean_of_heads(e), "elements": self.element_energies(graph.numbers)}
        energies = terms["network"] + terms["elements"]
        features = self._widened(scaled, atoms, graph.n_atoms) if self.domain is not None else None
        return Outputs(energies, terms, extrapolation=extrapolation, features=features, head_energies=with_other_terms(e, energies))

    def atomic_features(self, graph: AtomicGraph) -> Tensor:
        found = self._descriptors_by_element(graph)
        return self._widened([scaling(G) for (_, G), scaling in zip(found, self._scalings)], [chosen for chosen, _ in found], graph.n_atoms)

    def _widened(self, scaled: list[Tensor], atoms: list[Tensor | None], n_atoms: int) -> Tensor:
        """Descriptors of each element's atoms as those of all atoms in their order, filled up with zeros: (n_atoms, n_descriptors)."""
        return _in_order([torch.nn.functional.pad(G, (0, self.n_descriptors - G.shape[1])) for G in scaled], atoms, n_atoms)

    @property
    def n_descriptors(self) -> int:
        """The most that an element has."""
        return max(len(s.minimum) for s in self._scalings)

    def fixed_descriptors(self, graph: AtomicGraph) -> Tensor:
        """Descriptors of all atoms before scaling, in the order of their element's functions, filled up with zeros: (n_atoms, n_descriptors)."""
        found = self._descriptors_by_element(graph)
        if found[0][0] is None:
            return found[0][1]
        wide = [torch.nn.functional.pad(G, (0, self.n_descriptors - G.shape[1])) for _, G in found]
        return _in_order(wide, [atoms for atoms, _ in found], graph.n_atoms)

    def fixed_slopes(self, graph: AtomicGraph) -> Tensor:
        """Their derivatives along the vector of each directed edge that leaves the atom: (n_edges, 3, n_descriptors)."""
        raw = slopes(self.descriptors, graph)
        if len(self.networks) == 1:
            return self.descriptors.of_element(raw.flatten(0, 1), 0).view(len(raw), 3, -1)
        out = raw.new_zeros(len(raw), 3, self.n_descriptors)
        place = self.descriptors.place.index_select(0, graph.numbers).index_select(0, graph.edges.centres)
        for k, s in enumerate(self._scalings):
            chosen, n = torch.nonzero(place == k)[:, 0], len(s.minimum)
            out[chosen, :, :n] = self.descriptors.of_element(raw.index_select(0, chosen).flatten(0, 1), k).view(-1, 3, n)
        return out

    def outputs_of_descriptors(self, G: Tensor, graph: AtomicGraph) -> Outputs:
        """What `outputs` gives, from descriptors as `fixed_descriptors` gives them."""
        if len(self.networks) == 1:
            return self._outputs_of([(None, G)], graph)
        chosen = self._atoms_by_element(graph)
        found = [(atoms, G.index_select(0, atoms)[:, : len(s.minimum)]) for atoms, s in zip(chosen, self._scalings)]
        return self._outputs_of(found, graph)  # type: ignore[arg-type]

    def overshoot(self, graph: AtomicGraph) -> list[tuple[Tensor, Tensor]]:
        """Of each element: its atoms (n,), and how far each of their descriptors (n, K) is outside the training data; see `Scaling.overshoot`."""
        found = self._descriptors_by_element(graph)
        return [(_all_of(chosen, graph), s.overshoot(G)) for (chosen, G), s in zip(found, self._scalings)]

    def _descriptors_by_element(self, graph: AtomicGraph) -> list[tuple[Tensor | None, Tensor]]:
        """Of each element: its atoms, None where they are all atoms, and their descriptors (n, K)."""
        raw = self.descriptors(graph, next(self.parameters()).dtype)
        if len(self.networks) == 1:
            return [(None, self.descriptors.of_element(raw, 0))]
        return [(atoms, self.descriptors.of_element(raw.index_select(0, atoms), k)) for k, atoms in enumerate(self._atoms_by_element(graph))]

    def _atoms_by_element(self, graph: AtomicGraph) -> list[Tensor]:
        place = self.descriptors.place.index_select(0, graph.numbers)
        return [torch.nonzero(place == k)[:, 0] for k in range(len(self.networks))]

    @property
    def _scalings(self) -> list[Any]:
        return list(self.scalings)


def _in_order(parts: list[Tensor], atoms: list[Tensor | None], n_atoms: int) -> Tensor:
    """Values of the atoms of each element as values of all atoms in their order."""
    if len(parts) == 1 and atoms[0] is None:
        return parts[0]
    out = parts[0].new_zeros((n_atoms, *parts[0].shape[1:]))
    for chosen, values in zip(atoms, parts):
        out = out.index_add(0, chosen, values)
    return out


def _all_of(chosen: Tensor | None, graph: AtomicGraph) -> Tensor:
    return torch.arange(graph.n_atoms, device=graph.numbers.device) if chosen is None else chosen
