"""A set of symmetry functions as one module: a graph goes in, descriptors of atoms come out."""
from __future__ import annotations

from collections.abc import Sequence

import torch
from ase.data import chemical_symbols
from torch import Tensor

from potentials.graph import AtomicGraph, pair_vectors
from potentials.layers.embedding import N_NUMBERS
from potentials.layers.symmetry_functions.blocks import AngularBlock, Fc, Pairs, RadialBlock, Triples, channels_of, grid_point, grouped
from potentials.layers.symmetry_functions.records import ANGULAR, RADIAL, WEIGHTED, SymmetryFunction, of_centre
from potentials.layers.triples import triples_of


class SymmetryFunctions(torch.nn.Module):
    """Descriptors of atoms.

    Parameters
    ----------
    functions : in the order in which an element's descriptors are wanted.
    elements : atomic numbers that occur; ascending or not.
    n_weights : 0: weighted kinds weigh neighbours by their atomic number. Else the number of weights for each element, which `forward`
        then wants; each weighted function gives so many descriptors.

    Raises
    ------
    ValueError : a function names an element that is not in `elements`.
    """

    capturable = False  # the number of its triples is known only when they are found, so no CUDA graph can hold it

    def __init__(self, functions: Sequence[SymmetryFunction], elements: Sequence[int], n_weights: int = 0):
        super().__init__()
        self.functions, self.elements, self.n_weights = tuple(functions), tuple(elements), n_weights
        for f in functions:
            foreign = [chemical_symbols[z] for z in (f.centre, f.neighbour, f.second) if z is not None and z not in elements]
            if foreign:
                raise ValueError(f"the symmetry function {f} is of {', '.join(foreign)}, and the elements are {' '.join(chemical_symbols[z] for z in elements)}.")
        groups = grouped(self.functions, self.elements)
        angular = [g for g in groups if g[0] in ANGULAR]
        self.angular_cutoffs: list[Fc] = list(dict.fromkeys(fc for _, fc, _, _ in angular))
        self.reach = max((fc.cutoff for fc in self.angular_cutoffs), default=0.0)  # of the angular functions, Å
        narrow = [kind in ("G4", "W4") for kind, *_ in angular]
        self.any_narrow, self.all_narrow = any(narrow), all(narrow)
        n = len(self.elements)
        self.radial = torch.nn.ModuleList(RadialBlock(*g[:3], n, g[3]) for g in groups if g[0] in RADIAL)
        self.angular = torch.nn.ModuleList(AngularBlock(*g[:3], n, g[3], self.angular_cutoffs.index(g[1])) for g in angular)
        place = torch.zeros(N_NUMBERS, dtype=torch.int64)
        for k, z in enumerate(self.elements):
            place[z] = k
        self.register_buffer("place", place, persistent=False)  # of an atomic number in `elements`
        self.register_buffer("atomic_numbers", torch.tensor([[float(z)] for z in self.elements]), persistent=False)
        for k, z in enumerate(self.elements):
            self.register_buffer(f"columns_{k}", torch.tensor(self._columns(z), dtype=torch.int64), persistent=False)
        self._taken_whole = [self._columns(z) == list(range(self._width)) for z in self.elements]

    def count(self, element: int) -> int:
        """How many descriptors an atom of this element has."""
        return len(self._columns(element))

    def forward(self, graph: AtomicGraph, dtype: torch.dtype = torch.float64, weights: Tensor | None = None) -> Tensor:
        """All descriptors of all atoms, (n_atoms, n), in the order of computation; `of_element` picks an element's.

        Parameters
        ----------
        dtype : vectors are formed in float64 and rounded to this.
        weights : (n_elements, n_weights), where weights are learned.
        """
        g = weights if self.n_weights else self.atomic_numbers
        e = self.place.index_select(0, graph.numbers)
        e_centre, e_neighbour = e.index_select(0, graph.edges.centres), e.index_select(0, graph.edges.neighbours)
        r_ij = pair_vectors(graph)  # (n_pairs, 3) float64
        d = r_ij.norm(dim=1)
        pairs = Pairs(graph.edges.centres, e_centre, e_neighbour, e_centre * len(self.elements) + e_neighbour, d.to(dtype), graph.n_atoms)
        out = [block(pairs, g if block.weighted else None) for block in self.radial]
        if len(self.angular):
            triples = self._triples(pairs, r_ij, d, dtype)
            out += [block(triples, g if block.weighted else None) for block in self.angular]
        return torch.cat(out, dim=1) if len(out) != 1 else out[0]

    def of_element(self, descriptors: Tensor, element_place: int) -> Tensor:
        """The descriptors that atoms of one element have, in the order of its functions: (n, all) -> (n, K)."""
        if self._taken_whole[element_place]:
            return descriptors
        return descriptors.index_select(1, getattr(self, f"columns_{element_place}"))

    def _triples(self, pairs: Pairs, r_ij: Tensor, d: Tensor, dtype: torch.dtype) -> Triples:
        near = torch.nonzero(d < self.reach)[:, 0]
        both = torch.cat([near, near + len(d)])
        centres = pairs.centres.index_select(0, both)
        r, length = r_ij.index_select(0, near), d.index_select(0, near)
        first, second = triples_of(centres, pairs.n_atoms)
        third = None
        if self.any_narrow:
            with torch.no_grad():
                directed = torch.cat([r, -r])
                third = (directed.index_select(0, second) - directed.index_select(0, first)).norm(dim=1)
                if self.all_narrow:  # nothing sees what lies farther apart
                    kept = torch.nonzero(third < self.reach)[:, 0]
                    first, second, third = (x.index_select(0, kept) for x in (first, second, third))
        unit, length = (r / length[:, None]).to(dtype), length.to(dtype)
        scalars = torch.stack([length, *(f(length) for f in self.angular_cutoffs)], 1)
        table = torch.cat([torch.cat([unit, -unit]), torch.cat([scalars, scalars])], 1)  # (n_edges, 4 + n_cutoffs), gathered twice
        sizes = (3, 1, len(self.angular_cutoffs))
        (to_first, a, fc_a), (to_second, b, fc_b) = table.index_select(0, first).split(sizes, 1), table.index_select(0, second).split(sizes, 1)
        centre = centres.index_select(0, first)
        if len(self.elements) > 1:
            code = pairs.code.index_select(0, both.index_select(0, first)) * len(self.elements) + pairs.e_neighbour.index_select(0, both.index_select(0, second))
        else:
            code = torch.zeros_like(centre)
        return Triples(centre, code, (to_first * to_second).sum(1), a.squeeze(1), b.squeeze(1), fc_a * fc_b, third, pairs.n_atoms)

    def _columns(self, element: int) -> list[int]:
        """Places of an element's descriptors in the order of computation, weights running fastest."""
        before, starts = 0, {}
        for block in (*self.radial, *self.angular):
            starts[block] = before
            before += block.width * (self.n_weights or 1 if block.weighted else 1)
        self._width = before
        columns = []
        for f in of_centre(self.functions, element):
            channel = next(c for c in channels_of(f, self.elements) if self.elements[c[0]] == element)
            block = next(b for b in (*self.radial, *self.angular) if self._holds(b, f, channel))
            repeat = self.n_weights or 1 if f.kind in WEIGHTED else 1
            first = starts[block] + block.place(channel, grid_point(f)) * repeat
            columns += range(first, first + repeat)
        return columns

    def _holds(self, block: RadialBlock | AngularBlock, f: SymmetryFunction, channel: tuple[int, ...]) -> bool:
        kind = "G2" if f.kind == "G1" else f.kind
        return (block.kind, block.fc) == (kind, Fc(f.cutoff_fn, f.cutoff, f.inner)) and channel in block.slot_of and grid_point(f) in block.grid
