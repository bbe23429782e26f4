"""Committees: several potentials that say together how far they may be believed.

The committee's energy is the mean of its members' energies, so it is a potential like any other (forces are its gradient). How far the members'
energies and forces lie apart is its doubt. Members of one architecture and one set of settings are evaluated as one: their weights are stacked and
every operation acts on all of them, which on small systems costs little more than one of them. The plain twin evaluates one after the other.
"""
from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call, stack_module_state, vmap

from potentials.derivatives import Results, energy_forces_stress
from potentials.graph import AtomicGraph, batch, sum_over_atoms, with_geometry
from potentials.potential import Outputs, Potential
from potentials.runtime.ahead_of_time import compiled
from potentials.runtime.code_cache import file_of, identity_of
from potentials.runtime.compiled_derivatives import LEAST, LENGTHS, packed, unpacked
from potentials.runtime.stacked import stacked
from potentials.runtime.tracing import graph_of_tensors, tensors_of
from potentials.typed import to_mapping

_TERM = "term "
OF_MEMBERS = ("member_energies", "member_forces")
JOINED_PAIRS = 1000  # up to which a batch of copies is quicker on a CPU: 1.6, 2.1, 2.9 and 3.8 times one member for 9, 22, 42 and 82 atoms, in turn 3.7
FEW_PAIRS = 250  # up to which four members as one, by `Together`, are quicker on a CPU than in turn

Derive = Callable[..., Results]


@dataclass(frozen=True)
class CommitteeResults(Results):
    """Means over the members, and what each of them says."""

    member_energies: Tensor  # (n_members, n_structures) float64, eV
    member_forces: Tensor  # (n_members, n_atoms, 3) float64, eV/Å

    @property
    def energy_spread(self) -> Tensor:
        """Standard deviation of the members' energies, (n_structures,), eV."""
        return self.member_energies.std(0)

    @property
    def forces_spread(self) -> Tensor:
        """Root mean square deviation of the members' forces on an atom from their mean, (n_atoms,), eV/Å."""
        return self.member_forces.var(0).sum(-1).sqrt()


class Committee(Potential):
    """The mean of some potentials.

    Parameters
    ----------
    members : two or more. It knows the elements that all of them know; its cutoff is the largest of theirs.

    Raises
    ------
    ValueError : fewer than two members, no element in common, members of which some have an energy and others none, or with long-range terms of
        different reach.
    """

    name = "committee"

    def __init__(self, members: Sequence[Potential]):
        if len(members) < 2:
            raise ValueError(f"A committee needs two members or more, got {len(members)}.")
        known = [set(m.elements) for m in members if m.elements is not None]
        elements = tuple(sorted(set.intersection(*known))) if known else None
        if elements is not None and not elements:
            raise ValueError("The members of a committee know no element in common.")
        super().__init__(max(m.cutoff for m in members), elements)
        self.members = torch.nn.ModuleList(members)
        for name in ("provides_energy", "has_long_range", "long_range_cutoff"):
            if len({getattr(m, name) for m in members}) > 1:
                raise ValueError(f"The members of a committee differ in {name}: {', '.join(str(getattr(m, name)) for m in members)}. Take members that agree.")
            setattr(self, name, getattr(members[0], name))
        for name in ("knows_charge", "knows_spin", "conservative", "equivariant", "net_force_zero", "provides_stress", "local"):
            setattr(self, name, all(getattr(m, name) for m in members))

    def forward(self, graph: AtomicGraph) -> Tensor:
        return self.outputs(graph).energies

    def outputs(self, graph: AtomicGraph) -> Outputs:
        """Means of whatever all members give."""
        return _mean([m.outputs(graph) for m in self.members])  # type: ignore[operator]

    @property
    def alike(self) -> bool:
        """Can the members be evaluated as one: one architecture, one set of settings, nothing that depends on the values?"""
        first = self.members[0]
        kinds = {(type(m), str(to_mapping(m.config)) if hasattr(m, "config") else "", m.cutoff) for m in self.members}
        capturable = all(getattr(module, "capturable", True) for module in first.modules())
        return len(kinds) == 1 and hasattr(first, "config") and capturable and self.conservative and not _refuses_stacking(self)


def _refuses_stacking(committee: Committee) -> bool:
    shapes = [[(name, t.shape, t.dtype) for name, t in (*m.named_parameters(), *m.named_buffers())] for m in committee.members]
    return any(s != shapes[0] for s in shapes)


def one_by_one(committee: Committee, graph: AtomicGraph, *, stress: bool = False, derive: Sequence[Derive] = ()) -> CommitteeResults:
    """The plain twin: member after member, each by its own function in `derive` where that is given."""
    each = derive or [energy_forces_stress] * len(committee.members)
    found = [f(m, graph, stress=stress) for f, m in zip(each, committee.members)]  # type: ignore[arg-type]
    forces = torch.stack([r.forces for r in found if r.forces is not None])
    sigma = torch.stack([r.stress for r in found if r.stress is not None]).mean(0) if stress else None
    energies, outputs = torch.stack([r.energy for r in found]), _mean([r.outputs for r in found])
    return CommitteeResults(energies.mean(0), outputs.energies, forces.mean(0), sigma, outputs, energies, forces)


class CommitteeDerivatives:
    """Energies, forces, stress and spread of a committee, by the quicker way for the size: as one for small structures and on a GPU, else in turn.

    Parameters
    ----------
    derive : compiled twins of the members, one each; they then serve in turn.
    compile : all members as one, by compiled code on the CPU, for those that can be joined (`joins`).
    """

    def __init__(self, committee: Committee, derive: Sequence[Derive] = (), compile: bool = False):
        self.committee = committee.requires_grad_(False)
        self.derive = list(derive)
        self.compiled = CompiledJoined(Joined(committee)) if compile else None
        self.joined = Joined(committee) if joins(committee) and not derive and not compile else None
        self.together = Together(committee) if committee.alike and not derive and self.joined is None and not compile else None

    def __call__(self, potential: Potential, graph: AtomicGraph, *, stress: bool = False) -> CommitteeResults:
        """See `one_by_one`."""
        assert potential is self.committee, "the derivatives of a committee serve the committee that they were made for"
        if self.compiled is not None:
            return self.compiled(self.committee, graph, stress=stress)
        if self.joined is not None and (graph.positions.device.type != "cpu" or graph.edges.n_pairs <= JOINED_PAIRS):
            return self.joined(self.committee, graph, stress=stress)
        if self.together is not None and (graph.positions.device.type != "cpu" or graph.edges.n_pairs <= FEW_PAIRS):
            return self.together(self.committee, graph, stress=stress)
        return one_by_one(self.committee, graph, stress=stress, derive=self.derive)


def joins(committee: Committee) -> bool:
    """Can `Joined` take these members?"""
    return committee.alike and stacked(list(committee.members)) is not None  # type: ignore[arg-type]


class Joined:
    """All members as a batch of copies of the structure, for those that `potentials.runtime.stacked` can join: the quickest way on small systems."""

    def __init__(self, committee: Committee):
        joined = stacked(list(committee.members)) if committee.alike else None  # type: ignore[arg-type]
        if joined is None:
            raise ValueError("These members cannot be joined to one potential of copies.")
        self.committee, self.joined = committee.requires_grad_(False), joined

    def __call__(self, committee: Committee, graph: AtomicGraph, *, stress: bool = False) -> CommitteeResults:
        """See `one_by_one`."""
        assert committee is self.committee, "a joined twin serves the committee that it was made for"
        n = len(committee.members)
        r = energy_forces_stress(self.joined, batch([graph] * n), stress=stress)
        assert r.forces is not None

        def mean(x: Tensor) -> Tensor:
            return x.detach().view(n, -1, *x.shape[1:]).mean(0)

        parts = {name: mean(value) for name, value in vars(r.outputs).items() if name != "terms" and value is not None}
        means = Outputs(**parts, terms={name: mean(term) for name, term in r.outputs.terms.items()})
        energies, forces = r.energy.view(n, -1), r.forces.view(n, -1, 3)
        return CommitteeResults(energies.mean(0), means.energies, forces.mean(0), None if r.stress is None else mean(r.stress), means, energies, forces)


class CompiledJoined:
    """`Joined` as one compiled function, made once for all members and for structures of any size; see `CompiledDerivatives`."""

    def __init__(self, joined: Joined):
        self.joined = joined
        self._functions: dict[tuple[Any, ...], tuple[list[str], Callable[..., Sequence[Tensor]]]] = {}

    def __call__(self, committee: Committee, graph: AtomicGraph, *, stress: bool = False) -> CommitteeResults:
        """See `one_by_one`."""
        sizes = [graph.n_atoms, graph.edges.n_pairs] + ([graph.long_range.n_pairs] if graph.long_range is not None else [])
        if graph.n_structures > 1 or min(sizes) < LEAST or graph.positions.device.type != "cpu":
            return self.joined(committee, graph, stress=stress)
        kind = (stress, graph.long_range_cutoff)
        if kind not in self._functions:
            self._functions[kind] = self._compile(graph, stress)
        names, function = self._functions[kind]
        with torch.no_grad():
            found = dict(zip(names, function(*tensors_of(graph))))
        of_members = {name: found.pop(name) for name in OF_MEMBERS}
        r = unpacked(found)
        return CommitteeResults(r.energy, r.energies, r.forces, r.stress, r.outputs, **of_members)

    def _compile(self, example: AtomicGraph, stress: bool) -> tuple[list[str], Callable[..., Sequence[Tensor]]]:
        far, tensors, committee = example.long_range_cutoff, tensors_of(example), self.joined.committee

        def of(graph: AtomicGraph) -> dict[str, Tensor]:
            r = self.joined(committee, graph, stress=stress)
            return packed(r) | {name: getattr(r, name) for name in OF_MEMBERS}

        names = list(of(example))
        file = file_of(self.joined.joined, "committee", *(identity_of(m) for m in committee.members), stress, far, names)  # type: ignore[arg-type]
        return names, compiled(lambda *t: tuple(of(graph_of_tensors(t, far)).values()), tensors, LENGTHS[: len(tensors)], file)


class Together:
    """All members in one pass, for a committee whose members are `alike`."""

    def __init__(self, committee: Committee):
        if not committee.alike:
            raise ValueError("Members of different architectures or settings cannot be evaluated as one.")
        self.committee = committee.requires_grad_(False)
        members = list(committee.members)
        self.parameters, self.buffers = stack_module_state(members)
        self.parameters = {name: value.detach() for name, value in self.parameters.items()}
        self.skeleton = copy.deepcopy(members[0]).to("meta")  # shapes without weights
        plain = {name: value for name, value in members[0].named_buffers() if name not in self.buffers}
        assert not plain, "stacking knows every buffer"

    def __call__(self, committee: Committee, graph: AtomicGraph, *, stress: bool = False) -> CommitteeResults:
        """See `one_by_one`."""
        assert committee is self.committee, "a stacked twin serves the committee that it was made for"
        n = len(committee.members)
        with torch.enable_grad():
            positions = graph.positions.detach().expand(n, -1, -1).clone().requires_grad_(True)
            inputs, strain = [positions], torch.zeros((n, *graph.cell.shape), dtype=graph.cell.dtype, device=graph.cell.device)
            if stress:
                inputs.append(strain.requires_grad_(True))
            parts = vmap(lambda p, b, r, e: self._member(graph, p, b, r, e if stress else None))(self.parameters, self.buffers, positions, strain)
            energies = vmap(lambda e: sum_over_atoms(e.double(), graph))(parts["energies"])
            gradients = torch.autograd.grad(energies.sum(), inputs, allow_unused=True, materialize_grads=True)
        forces = -gradients[0]
        sigma = gradients[1].mean(0) / torch.linalg.det(graph.cell).abs()[:, None, None] if stress else None
        found = {name: value.detach().mean(0) for name, value in parts.items()}
        terms = {name[len(_TERM) :]: found.pop(name) for name in list(found) if name.startswith(_TERM)}
        means, energies = Outputs(terms=terms, **found), energies.detach()
        return CommitteeResults(energies.mean(0), means.energies, forces.mean(0), sigma, means, energies, forces)

    def _member(
        self, graph: AtomicGraph, parameters: dict[str, Tensor], buffers: dict[str, Tensor], positions: Tensor, strain: Tensor | None
    ) -> dict[str, Tensor]:
        at, cell = positions, graph.cell
        if strain is not None:
            deformation = torch.eye(3, dtype=strain.dtype, device=strain.device) + 0.5 * (strain + strain.transpose(1, 2))
            at = torch.einsum("na,nab->nb", positions, deformation.index_select(0, graph.structure))
            cell = graph.cell @ deformation
        return functional_call(_Outputs(self.skeleton), _named(parameters, buffers), (with_geometry(graph, at, cell),))


class _Outputs(torch.nn.Module):
    """`functional_call` calls a module; this one gives the outputs."""

    def __init__(self, potential: Potential):
        super().__init__()
        self.potential = potential

    def forward(self, graph: AtomicGraph) -> dict[str, Tensor]:
        outputs = self.potential.outputs(graph)
        parts = {name: value for name, value in vars(outputs).items() if name != "terms" and value is not None}
        return parts | {_TERM + name: value for name, value in outputs.terms.items()}


def _named(parameters: dict[str, Tensor], buffers: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"potential.{name}": value for group in (parameters, buffers) for name, value in group.items()}


def _mean(all_outputs: Sequence[Outputs]) -> Outputs:
    """What all of them give, in the mean."""

    def mean(values: Sequence[Tensor | None]) -> Tensor | None:
        return None if any(v is None for v in values) else torch.stack([v for v in values if v is not None]).mean(0)

    shared = [name for name in all_outputs[0].terms if all(name in o.terms for o in all_outputs)]
    parts = {name: mean([getattr(o, name) for o in all_outputs]) for name in vars(all_outputs[0]) if name != "terms"}
    return Outputs(**parts, terms={name: torch.stack([o.terms[name] for o in all_outputs]).mean(0) for name in shared})
