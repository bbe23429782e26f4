"""The ASE face of any potential, and the one function that turns words into a calculator."""
from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import BaseCalculator, Calculator, PropertyNotImplementedError, all_changes
from ase.data import chemical_symbols
from ase.stress import full_3x3_to_voigt_6_stress

from potentials import checkpoint
from potentials.checkpoint import Card, PotentialFileError
from potentials.combine import Committee, CommitteeResults
from potentials.evaluation import checked_device, derivatives_of, refuse_to_compile, takes_a_table
from potentials.neighbours import graph_for
from potentials.potential import Potential
from potentials.lazy_results import LazyResults
from potentials.registry import UnknownName
from potentials.runtime.batch_evaluator import BatchEvaluator
from potentials.runtime.evaluator import Evaluator, System
from potentials.runtime.radial_table import TableError, with_radial_table, with_shared_table
from potentials.runtime.serial_evaluator import SerialEvaluator
from potentials.shallow import SpreadOfForces
from potentials.words import ase_calculator, file_of, members_of, not_found


class PotentialCalculator(Calculator):
    """An ASE calculator over a potential.

    Gives energy, energies, free_energy, forces, stress (eV, Å); beside them, where the potential knows them, charges (e), the
    dipole of an isolated structure (e Å; it depends on the origin where the structure is charged), and the parts of the energy in
    ``results["energy_terms"]`` (added up when asked for by this name); of a `Committee`
    the spread of its members (``energy_spread``, eV; ``forces_spread``, eV/Å by atom), and of a shallow ensemble that of its heads (the forces' when
    asked for by this name); and of a potential whose file holds the domain
    of its training set, how far each atom is from there (``domain_distance``, 1 at its edge; worked out when asked for by this name). A potential that
    provides no energy has an energy of 0, and one without stress raises when it is asked for. Total charge and multiplicity are read from ``atoms.info``
    ("charge", "multiplicity").

    Parameters
    ----------
    potential : any `Potential`.
    device : "cpu" or "cuda", also "cuda:1".
    skin : Å, of the neighbour list.
    name : how messages call it.
    compiled : evaluate by compiled code (CPU only): two to three times as fast, after a minute at the first calculation.
    cuda_graphs : on a GPU, capture the evaluation once and replay it at every step; False launches every kernel by itself.
    radial_table : read radial filters from a table (see `potentials.runtime.radial_table`) where that pays: compiled or replayed evaluation
        in single precision, whose rounding is larger than the table's error. ``calculator.radial_table`` then holds that error.

    Raises
    ------
    ValueError : at the first calculation: an element that the potential does not know, or a charge that means nothing to it.
    """

    implemented_properties = ["energy", "energies", "free_energy", "forces", "stress"]

    def __init__(
        self, potential: Potential, device: str = "cpu", skin: float = 0.5, name: str = "", source: Path | None = None, compiled: bool = False,
        cuda_graphs: bool = True, radial_table: bool = True,
    ):  # fmt: skip
        super().__init__()
        replayed = cuda_graphs and checked_device(device).type == "cuda"
        self.radial_table: TableError | None = None
        if radial_table and (compiled or replayed) and takes_a_table(potential):
            potential, self.radial_table = with_radial_table(potential)
        derive = derivatives_of(potential, device, compiled, replayed)
        self.evaluator = Evaluator(potential, device=checked_device(device), skin=skin, derive=derive)
        self.potential = potential
        self._spread = SpreadOfForces(potential, compiled)
        self.card: Card = getattr(potential, "card", Card())
        members = potential.members if isinstance(potential, Committee) else [potential]
        if all(getattr(m, "charges", None) is not None for m in members):
            self.implemented_properties = [*self.implemented_properties, "charges", "dipole"]
        if not potential.provides_stress:
            self.implemented_properties = [name for name in self.implemented_properties if name != "stress"]
        self.elements = potential.elements
        self.cutoff = potential.cutoff
        self.knows_charge = potential.knows_charge
        self.knows_spin = potential.knows_spin
        self.source = source
        self.title = name or getattr(type(potential), "name", type(potential).__name__)
        self._seen: tuple[np.ndarray, np.ndarray, System] | None = None
        self._with_stress = False

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """What changed since the last calculation: one comparison of each array, nothing else."""
        if self._seen is None:
            return list(all_changes)
        positions, cell, system = self._seen
        changes = [] if np.array_equal(positions, atoms.positions) else ["positions"]
        if not np.array_equal(cell, atoms.cell.array):
            changes.append("cell")
        if not self._system(atoms).same(system):
            changes.append("numbers")
        return changes

    def calculate(self, atoms: Atoms | None = None, properties: Sequence[str] = ("energy",), system_changes: Sequence[str] = all_changes) -> None:
        if atoms is None:
            raise ValueError("PotentialCalculator.calculate needs atoms, got None.")
        positions, cell = atoms.positions.copy(), np.array(atoms.cell.array)
        system = self._system(atoms)
        if self._seen is None or not system.same(self._seen[2]):
            self._check(atoms)
        self.results = {}
        self._seen = None
        if "stress" in properties and not self.potential.provides_stress:
            raise PropertyNotImplementedError(f"{self.title} provides {' and '.join(self.potential.provides)}, and no stress.")
        # a barostat asks for forces first and for the stress after: whoever asked once gets both at once from then on
        self._with_stress = self._with_stress or "stress" in properties
        if "stress" in properties and not atoms.pbc.all():
            raise PropertyNotImplementedError("stress needs a cell that is periodic along all three vectors.")
        with_stress = self._with_stress and bool(atoms.pbc.all())
        r = self.evaluator(system, positions, cell, stress=with_stress)
        energy = float(r.energy[0])
        results = {"energy": energy, "free_energy": energy, "energies": r.energies.double().cpu().numpy()}
        assert r.forces is not None
        results["forces"] = r.forces.double().cpu().numpy()
        if r.stress is not None:
            results["stress"] = full_3x3_to_voigt_6_stress(r.stress[0].double().cpu().numpy())
        if r.outputs.charges is not None:
            results["charges"] = r.outputs.charges.double().cpu().numpy()
            if not atoms.pbc.any():
                results["dipole"] = results["charges"] @ positions
        if r.outputs.hirshfeld_ratios is not None:
            results["hirshfeld_ratios"] = r.outputs.hirshfeld_ratios.double().cpu().numpy()
        if r.outputs.extrapolation is not None:
            results["extrapolations"], results["overshoot"] = r.outputs.extrapolation.double().cpu().numpy().T
        if isinstance(r, CommitteeResults):
            results["energy_spread"], results["forces_spread"] = float(r.energy_spread[0]), r.forces_spread.cpu().numpy()
        later: dict[str, Callable[[], Any]] = {}
        if r.outputs.terms:
            later["energy_terms"] = lambda: {name: float(term.sum()) for name, term in r.outputs.terms.items()}
        if r.outputs.head_energies is not None and not isinstance(r, CommitteeResults):
            results["energy_spread"] = float(r.outputs.head_energies.double().sum(0).std())
            moment = atoms.copy()
            later["forces_spread"] = lambda: self._spread_of_heads(moment)
        if self.potential.domain is not None:
            features = r.outputs.features
            still = atoms.copy() if features is None else atoms  # of one that gives them the numbers alone are asked for
            later["domain_distance"] = lambda: self._distances(still, features)
        self.results = LazyResults(results, later) if later else results
        self._seen = (positions, cell, system)
        self.atoms = atoms

    def _spread_of_heads(self, atoms: Atoms) -> np.ndarray:
        """Disagreement of a shallow ensemble on the force of each atom, (n_atoms,), eV/Å."""
        return self._spread(graph_for(atoms, self.potential).to(self.evaluator.device)).cpu().numpy()

    def _distances(self, atoms: Atoms, features: torch.Tensor | None) -> np.ndarray:
        """Distance of each atom from the training set, (n_atoms,); by features that the evaluation gave, or made for it."""
        with torch.no_grad():
            if features is None:
                features = self.potential.atomic_features(graph_for(atoms, self.potential).to(self.evaluator.device))
            assert features is not None, "a potential with a training domain has features"
            return self.potential.domain.distances(features, torch.as_tensor(atoms.numbers, device=features.device)).cpu().numpy()

    def reset(self) -> None:
        super().reset()
        self._seen = None

    def _system(self, atoms: Atoms) -> System:
        charge, multiplicity = atoms.info.get("charge", 0.0), atoms.info.get("multiplicity", 1)
        return System(np.array(atoms.numbers), np.array(atoms.pbc), float(charge), float(multiplicity) - 1.0)

    def _check(self, atoms: Atoms) -> None:
        refuse_unknown_elements(self.elements, atoms.numbers, self.title)
        charge = float(atoms.info.get("charge", 0.0))
        if charge and not self.knows_charge:
            raise ValueError(
                f"The structure has a total charge of {charge:+g} e, which means nothing to the potential {self.title}. "
                "Use a potential that knows charges, or a neutral structure."
            )


def _use_ewald(potential: Potential, name: str, compiled: bool) -> None:
    from potentials.layers.electrostatics import DampedCoulomb
    from potentials.layers.ewald import DampedEwald

    by_pairs = getattr(potential, "electrostatics", None)
    if not isinstance(by_pairs, DampedCoulomb):
        raise ValueError(f"Ewald summation means nothing to {name}: the potential has no partial charges. Leave it out.")
    if compiled:
        raise ValueError("Ewald summation is not compiled: leave out one of the two.")
    potential.electrostatics = DampedEwald(by_pairs.sigma)


def refuse_unknown_elements(elements: Sequence[int] | None, numbers: np.ndarray, name: str) -> None:
    """ValueError if there is an element that a potential does not know."""
    if elements is None:
        return
    foreign = sorted(set(int(z) for z in numbers) - set(elements))
    if foreign:
        known = ", ".join(chemical_symbols[z] for z in elements)
        raise ValueError(f"The potential {name} does not know {', '.join(chemical_symbols[z] for z in foreign)}; it knows {known}.")


def load_potential(spec: str | Path, dtype: str | None = None) -> Potential:
    """A potential from a file, or a shipped one by its name or file name: a torch module, graph in, energies of atoms out.

    Raises
    ------
    PotentialFileError : no such file, or one that cannot be used.
    """
    file = file_of(spec)
    if file is None:
        raise PotentialFileError(not_found(str(spec)))
    return checkpoint.load_potential(file, dtype)


def load_calculator(
    spec: str | Path | Sequence[str | Path], device: str = "cpu", dtype: str | None = None, long_range_cutoff: float | str | None = "auto",
    compiled: bool = False, ewald: bool = False, cuda_graphs: bool = True, radial_table: bool = True,
) -> Calculator:
    """An ASE calculator from what `--potential` takes.

    Parameters
    ----------
    spec : several files, or a pattern of such, for a committee; else in this order: a potential file; a registered name (`so3krates`, `lj`, `emt`, or another package's); the file
        name of a shipped potential; `ase:package.module:Class` for any ASE calculator. A name may take a variant: `tblite:GFN2-xTB`.
    device : "cpu", "cuda" or "cuda:N".
    dtype : "float32" or "float64" for the network; as stored when not given.
    long_range_cutoff : of electrostatics and dispersion, Å; None for all pairs; "auto" for all pairs of an isolated molecule and
        12 Å in a cell. Refused for a potential without long-range terms.
    compiled : see `PotentialCalculator`; refused for what is not a potential file.
    cuda_graphs, radial_table : see `PotentialCalculator`; mean nothing to what is not a potential file.
    ewald : electrostatics over all images of a cell in place of a cutoff; dispersion keeps its cutoff. Refused for a potential without such charges.

    Raises
    ------
    PotentialFileError : a file that is missing or cannot be used.
    ValueError : an unknown name, device or dtype.
    """
    if dtype is not None and dtype not in checkpoint.DTYPES:
        raise ValueError(f"dtype is '{dtype}'; allowed: {', '.join(checkpoint.DTYPES)}.")
    members = members_of(spec)
    if len(members) > 1:
        return _committee(members, device, dtype, long_range_cutoff, compiled, ewald, radial_table)
    text = str(members[0])
    file = file_of(text)
    if file is not None:
        potential = _potential(file, dtype, long_range_cutoff, ewald, compiled)
        return PotentialCalculator(potential, device=device, name=file.name, source=file, compiled=compiled, cuda_graphs=cuda_graphs, radial_table=radial_table)
    if ewald:
        raise ValueError(f"Ewald summation serves potential files with partial charges, and {text} is none. Leave it out.")
    if compiled:
        raise ValueError(f"compile serves potential files, and {text} is none. Leave it out.")
    if text.startswith("ase:"):
        return ase_calculator(text)
    from potentials.named import named

    name, _, variant = text.partition(":")
    try:
        factory = named.get(name)
    except UnknownName:
        raise PotentialFileError(not_found(text)) from None
    if not variant:
        return factory(device=device, dtype=dtype)
    if "variant" not in inspect.signature(factory).parameters:
        raise ValueError(f"'{text}': {name} is one potential and has no variants. Leave out ':{variant}'.")
    return factory(device=device, dtype=dtype, variant=variant)


def _potential(file: Path, dtype: str | None, long_range_cutoff: float | str | None, ewald: bool, compiled: bool) -> Potential:
    """The potential of a file, with the long-range terms asked for."""
    potential = checkpoint.load_potential(file, dtype)
    if long_range_cutoff != "auto":
        if not potential.has_long_range:
            raise ValueError(f"long_range_cutoff means nothing to {file.name}: the potential has no long-range terms.")
        if long_range_cutoff is not None and not float(long_range_cutoff) > 0:
            raise ValueError(f"long_range_cutoff must be > 0 Å, got {long_range_cutoff}.")
        potential.long_range_cutoff = long_range_cutoff
    if ewald:
        _use_ewald(potential, file.name, compiled)
    return potential


def _committee(
    words: Sequence[str | Path], device: str, dtype: str | None, long_range_cutoff: float | str | None, compiled: bool, ewald: bool, radial_table: bool
) -> PotentialCalculator:
    """The mean of several potential files, and how far they lie apart."""
    files = [file_of(word) for word in words]
    strangers = [str(word) for word, file in zip(words, files) if file is None]
    if strangers:
        raise ValueError(f"A committee is made of potential files, and {', '.join(strangers)} is none. Name files only, or one potential.")
    known = [file for file in files if file is not None]
    potentials = [_potential(file, dtype, long_range_cutoff, ewald, compiled) for file in known]
    card: Card = getattr(potentials[0], "card", Card())
    if any(getattr(p, "card", Card()).level_of_theory != card.level_of_theory for p in potentials):
        raise ValueError(f"The members of a committee are trained on different levels of theory: "
                         f"{'; '.join(f'{f.name}: {p.card.level_of_theory}' for f, p in zip(known, potentials))}. Their energies cannot be averaged.")
    if compiled and radial_table:
        if all(takes_a_table(p) for p in potentials) and len({p.cutoff for p in potentials}) == 1:
            potentials, _ = with_shared_table(potentials)
        else:
            potentials = [with_radial_table(p)[0] if takes_a_table(p) else p for p in potentials]
    committee = Committee(potentials)
    committee.card = card  # type: ignore[assignment]
    return PotentialCalculator(committee, device=device, name=f"a committee of {len(known)} ({', '.join(f.name for f in known)})", compiled=compiled)


def batch_evaluator(calculator: BaseCalculator, compiled: bool = False) -> BatchEvaluator | SerialEvaluator:
    """Energies and forces of many structures in one call, by a calculator's potential; charge and multiplicity come with each structure's `System`.

    Parameters
    ----------
    calculator : of a potential file: its structures are evaluated in batches on its device. Any other ASE calculator: one after another.
    compiled : evaluate batches by compiled code (CPU, no long-range terms), radial filters from a table in single precision: a minute at the first call.

    Returns
    -------
    A callable: items -> energies (n,) in eV and forces, n of (n_atoms, 3) in eV/Å. Beside it `.forget(key)` and the count `.evaluations`.

    Raises
    ------
    ValueError : `compiled` without a CPU potential file or a C++ compiler.
    """
    if not isinstance(calculator, PotentialCalculator):
        if compiled:
            raise ValueError(f"compile serves potential files, and {type(calculator).__name__} is none. Leave it out.")
        return SerialEvaluator(calculator)
    potential, device = calculator.potential, calculator.evaluator.device
    if compiled:
        refuse_to_compile(device)
        if takes_a_table(potential):
            potential, _ = with_radial_table(potential)
    return BatchEvaluator(potential, device=device, skin=calculator.evaluator.skin, compiled=compiled)
