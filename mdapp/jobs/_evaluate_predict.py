"""Predictions for labelled frames: by a potential in batches, by any other ASE calculator frame after frame."""
from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mdapp.errors import PotentialError
from mdapp.jobs._evaluate_data import LabelledDataError
from mdapp.jobs._potential import LoadedPotential, first_line, is_out_of_memory

if TYPE_CHECKING:
    from potentials.data.dataset import Dataset
    from potentials.data.labelled import LabelledStructure
    from potentials.potential import Potential

BATCH_EDGES = {"cpu": 8_000, "cuda": 400_000}  # directed edges of a batch
BATCH_ATOMS = {"cpu": 1_000, "cuda": 30_000}  # long-range pairs are not counted as edges
COMPILING_PAYS_S = 60.0  # about what compiling takes: plain evaluation runs so long before it is compiled, so a job never takes twice as long as it could


@dataclass(frozen=True)
class Predictions:
    """What a potential says of some frames; None for what it does not say."""

    energy: np.ndarray  # (n_frames,) eV
    forces: np.ndarray | None = None  # (n_atoms, 3) eV/Å
    stress: np.ndarray | None = None  # (n_frames, 3, 3) eV/Å³
    charges: np.ndarray | None = None  # (n_atoms,) e
    dipole: np.ndarray | None = None  # (n_frames, 3) e Å
    energy_spread: np.ndarray | None = None  # (n_frames,) eV; this and the next two where doubts are asked for and the potential has some
    forces_spread: np.ndarray | None = None  # (n_atoms,) eV/Å
    domain_distance: np.ndarray | None = None  # (n_atoms,)


Predict = Callable[["list[LabelledStructure]"], "Iterator[tuple[np.ndarray, Predictions]]"]  # which of the frames, and what is predicted for them


def predictor(potential: LoadedPotential, device: str, compiled: bool = False, batch_edges: int | None = None, doubts: bool = False) -> Predict:
    """A function of frames that gives predictions, batch after batch, in an order of its own.

    Parameters
    ----------
    compiled : change over to compiled code once plain evaluation has taken `COMPILING_PAYS_S`.
    batch_edges : directed edges of a batch; chosen for the device when not given.
    doubts : predict what the potential says of its own uncertainty too.
    """
    own = getattr(potential.calculator, "potential", None)
    if own is None:
        return ByCalculator(potential, doubts)
    return ByPotential(own, device, compiled, batch_edges, doubts)


class ByPotential:
    """Batches of a potential of ours. Frames go together that want the same: with or without a cell, forces, stress."""

    def __init__(self, potential: Potential, device: str, compiled: bool = False, batch_edges: int | None = None, doubts: bool = False):
        self.doubts = doubts
        self.potential = potential.to(device).eval().requires_grad_(False)
        self.device = device
        kind = device.partition(":")[0]
        self.batch_edges, self.batch_atoms = batch_edges or BATCH_EDGES[kind], BATCH_ATOMS[kind]
        self.may_compile = compiled and not doubts and kind == "cpu" and not potential.has_long_range and getattr(potential, "charges", None) is None
        self.plain_s = 0.0
        self.compiled: Any = None

    def __call__(self, frames: list[LabelledStructure]) -> Iterator[tuple[np.ndarray, Predictions]]:
        from potentials.data.dataset import batches, build_dataset

        wants = [(bool(s.pbc.any()), s.forces is not None, s.stress is not None and bool(s.pbc.all()) and self.potential.provides_stress) for s in frames]
        for want in dict.fromkeys(wants):
            mine = np.array([k for k, w in enumerate(wants) if w == want])
            dataset = build_dataset([frames[k] for k in mine], self.potential.cutoff, self._far(want[0], frames[mine[0]]))
            self._refuse_unknown_elements(dataset)
            for chosen in batches(dataset, np.arange(len(mine)), None, self.batch_edges, batch_atoms=self.batch_atoms):
                for part, predictions in self._evaluate(dataset, chosen, *want):
                    yield mine[part], predictions

    def _far(self, periodic: bool, frame: LabelledStructure) -> float | None:
        try:
            return self.potential.far_cutoff(periodic)
        except ValueError as error:
            raise LabelledDataError(f"{frame.source[:1].upper()}{frame.source[1:]}: {error}") from error

    def _refuse_unknown_elements(self, dataset: Dataset) -> None:
        from potentials.data.labelled import DataError
        from potentials.training.evaluate import refuse_unknown_elements

        try:
            refuse_unknown_elements(self.potential, dataset, "data")
        except DataError as error:
            raise LabelledDataError(str(error)) from error

    def _evaluate(self, dataset: Dataset, chosen: np.ndarray, periodic: bool, forces: bool, stress: bool) -> Iterator[tuple[np.ndarray, Predictions]]:
        """The batch, or halves of it where the device has too little memory for the whole."""
        try:
            predictions = self._predict(dataset, chosen, periodic, forces, stress)
        except Exception as error:
            if isinstance(error, ValueError):
                raise PotentialError(first_line(error)) from error
            if not is_out_of_memory(error):
                raise
            if len(chosen) == 1:
                n = int(dataset.atom_counts[chosen[0]])
                raise PotentialError(f"Not enough memory on {self.device} for a frame of {n} atoms. Take --device cpu or --dtype float32.") from error
            self.batch_edges = max(self.batch_edges // 2, 1)
        else:
            yield chosen, predictions
            return
        for half in np.array_split(chosen, 2):
            yield from self._evaluate(dataset, half, periodic, forces, stress)

    def _predict(self, dataset: Dataset, chosen: np.ndarray, periodic: bool, forces: bool, stress: bool) -> Predictions:
        from potentials.combine import Committee, one_by_one
        from potentials.derivatives import energy_forces_stress
        from potentials.graph import sum_over_atoms
        from potentials.shallow import of_all_heads

        graph = dataset.batch(chosen).graph.to(self.device)
        if self._compile_now() and forces and not stress:
            energy, f = self.compiled(graph)
            return Predictions(energy.numpy(), f.double().numpy())
        begin = time.perf_counter()
        said: dict[str, np.ndarray] = {}
        if self.doubts and (isinstance(self.potential, Committee) or self.potential.energy_heads > 1):
            r = (one_by_one if isinstance(self.potential, Committee) else of_all_heads)(self.potential, graph, stress=stress)
            said = {"energy_spread": r.energy_spread.cpu().numpy(), "forces_spread": r.forces_spread.cpu().numpy()}
        else:
            r = energy_forces_stress(self.potential, graph, forces=forces, stress=stress)  # type: ignore[assignment]
        if self.doubts and self.potential.domain is not None:
            said["domain_distance"] = _distances(self.potential, graph, r.outputs.features)
        charges = None if r.outputs.charges is None else r.outputs.charges.detach().double()
        dipole = None if charges is None or periodic else sum_over_atoms(charges[:, None] * graph.positions, graph)
        energy, *rest = (None if x is None else x.detach().double().cpu().numpy() for x in (r.energy, r.forces, r.stress, charges, dipole))
        self.plain_s += time.perf_counter() - begin
        return Predictions(energy, rest[0] if forces else None, *rest[1:], **said)

    def _compile_now(self) -> bool:
        if self.may_compile and self.compiled is None and self.plain_s > COMPILING_PAYS_S:
            from potentials.runtime.compiled_batches import CompiledBatches

            self.compiled = CompiledBatches(self.potential)
        return self.compiled is not None


class ByCalculator:
    """Any ASE calculator. Charge and multiplicity are told it by ``atoms.info``."""

    def __init__(self, potential: LoadedPotential, doubts: bool = False):
        self.calculator, self.title, self.doubts = potential.calculator, potential.title, doubts

    def __call__(self, frames: list[LabelledStructure]) -> Iterator[tuple[np.ndarray, Predictions]]:
        for k, s in enumerate(frames):
            yield np.array([k]), self._predict(s)

    def _predict(self, s: LabelledStructure) -> Predictions:
        from ase import Atoms

        atoms = Atoms(s.numbers, s.positions, cell=s.cell, pbc=s.pbc, info={"charge": s.charge, "multiplicity": s.multiplicity})
        atoms.calc = self.calculator
        try:
            energy = np.array([atoms.get_potential_energy()], dtype=np.float64)
            forces = atoms.get_forces() if s.forces is not None else None
        except Exception as error:  # a stranger's calculator may raise anything
            raise PotentialError(f"{self.title} cannot evaluate {s.source} ({type(error).__name__}): {first_line(error)}") from error
        stress = self._where_implemented(atoms.get_stress, voigt=False) if s.stress is not None and s.pbc.all() else None
        charges = self._where_implemented(atoms.get_charges) if s.charges is not None else None
        dipole = self._where_implemented(atoms.get_dipole_moment) if s.dipole is not None and not s.pbc.any() else None
        said = self.calculator.results if self.doubts else {}
        spreads = {name: np.asarray(said[name], dtype=np.float64) for name in ("energy_spread", "forces_spread", "domain_distance") if said.get(name) is not None}
        if "energy_spread" in spreads:
            spreads["energy_spread"] = spreads["energy_spread"].reshape(1)
        return Predictions(energy, forces, None if stress is None else stress[None], charges, None if dipole is None else dipole[None], **spreads)

    @staticmethod
    def _where_implemented(get: Callable[..., Any], **options: Any) -> np.ndarray | None:
        from ase.calculators.calculator import PropertyNotImplementedError

        try:
            return np.asarray(get(**options), dtype=np.float64)
        except (PropertyNotImplementedError, NotImplementedError):
            return None


def _distances(potential: Potential, graph: Any, features: Any) -> np.ndarray:
    """Distance of each atom from the training set, (n_atoms,)."""
    import torch

    with torch.no_grad():
        features = potential.atomic_features(graph) if features is None else features
        assert features is not None, "a potential with a training domain has features"
        return potential.domain.distances(features, graph.numbers).cpu().numpy()
