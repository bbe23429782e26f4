"""The runs of scripts/validate_ensembles.py: a system started in an ensemble, what is seen of it, and the form in which physical_validation reads it."""
from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from ase import units
from ase.optimize import FIRE

from _ensemble_systems import System
from _physical_validation import physical_validation
from mdapp.dynamics import degrees_of_freedom_of, draw_momenta, ensembles
from mdapp.dynamics._stepper import ASEStepper
from mdapp.observables import volume

EVERY = 10  # steps between two samples


@dataclass(frozen=True)
class Series:
    """Samples of one run, in ASE units."""

    potential: np.ndarray  # (n_frames,)
    kinetic: np.ndarray
    conserved: np.ndarray
    volumes: np.ndarray
    positions: np.ndarray  # (n_frames, n_atoms, 3)
    momenta: np.ndarray
    cells: np.ndarray  # (n_frames, 3, 3)
    degrees_of_freedom: int


def start(name: str, system: System, timestep_fs: float, temperature_K: float, seed: int, positions: np.ndarray, cell: np.ndarray | None = None,
          **options: Any) -> ASEStepper:
    """The system at its minimum, or where a run has brought it, with thermal momenta, in an ensemble; the usual options are the system's."""
    kind = ensembles.get(name)
    usual = {"temperature_K": temperature_K, "friction_per_ps": system.friction_per_ps, "thermostat_time_fs": system.thermostat_time_fs,
             "barostat_time_fs": 300.0, "compressibility_per_bar": 1e-4}
    ensemble = kind(**{k: v for k, v in {**usual, **options}.items() if k in kind.__dataclass_fields__})
    atoms, rng = system.build(), np.random.default_rng(seed)
    if cell is not None:
        atoms.set_cell(cell)
    atoms.positions = positions
    atoms.set_momenta(draw_momenta(atoms, temperature_K, rng, degrees_of_freedom_of(ensemble, atoms)))
    return ASEStepper(atoms, ensemble, timestep_fs, rng)


def sampled(stepper: ASEStepper, steps: int, skip: int = 0, every: int = EVERY) -> Series:
    """Steps, and what was seen every so many of them after the first `skip`."""
    frames = []
    for n in range(1, steps + 1):
        stepper.step()
        if n > skip and n % every == 0:
            frames.append(stepper.frame())
    take = lambda name: np.array([getattr(f, name) for f in frames])  # noqa: E731
    return Series(take("potential_energy"), take("kinetic_energy"), take("conserved_energy"), np.array([volume(f.cell) for f in frames]), take("positions"),
                  take("momenta"), take("cell"), stepper.degrees_of_freedom)


def minimum(system: System) -> np.ndarray:
    """Positions (n_atoms, 3) of a near minimum, from which all runs begin."""
    atoms = system.build()
    FIRE(atoms, logfile=None).run(fmax=0.05, steps=200)
    return atoms.get_positions()


def data_of(name: str, system: System, series: Series, temperature_K: float, pressure_bar: float | None, timestep_fs: float) -> Any:
    """What physical_validation reads."""
    pv = physical_validation()
    kind, atoms = ensembles.get(name), system.build()
    masses = atoms.get_masses()
    n_mol = len(np.unique(system.molecule_of))
    removed = 3 * len(masses) - series.degrees_of_freedom if kind.conserves_momentum else 0
    return pv.data.SimulationData(
        units=pv.data.UnitData(kb=units.kB, energy_str="eV", energy_conversion=96.4853, length_str="A", length_conversion=0.1, volume_str="A^3",
                               volume_conversion=1e-3, temperature_str="K", temperature_conversion=1.0, pressure_str="bar", pressure_conversion=1.0,
                               time_str="fs", time_conversion=1e-3),
        ensemble=pv.data.EnsembleData("NVT" if pressure_bar is None else "NPT", natoms=len(masses), temperature=temperature_K,
                                      **({"volume": series.volumes[0]} if pressure_bar is None else {"pressure": pressure_bar})),
        system=pv.data.SystemData(
            natoms=len(masses), nconstraints=0, ndof_reduction_tra=min(removed, 3), ndof_reduction_rot=max(removed - 3, 0), mass=masses,
            molecule_idx=np.searchsorted(system.molecule_of, np.arange(n_mol)), nconstraints_per_molecule=np.zeros(n_mol)),
        observables=pv.data.ObservableData(
            kinetic_energy=series.kinetic, potential_energy=series.potential, total_energy=series.kinetic + series.potential, volume=series.volumes,
            constant_of_motion=series.conserved),
        trajectory=pv.data.TrajectoryData(series.positions, _velocities_for_pv(series, masses)),
        dt=timestep_fs)


def _velocities_for_pv(series: Series, masses: np.ndarray) -> np.ndarray:
    """In Å/fs scaled so that m v² / 2, which physical_validation takes for kJ/mol in nm/ps and amu, is the kinetic energy of ours."""
    return series.momenta / masses[None, :, None] * units.fs


@dataclass
class Run:
    """One state of an ensemble: a run that can be lengthened, and what was seen of it so far."""

    name: str
    system: System
    stepper: ASEStepper
    temperature_K: float
    pressure_bar: float | None
    series: Series

    def lengthen(self, steps: int) -> None:
        more = sampled(self.stepper, steps)
        joined = {f.name: np.concatenate([getattr(self.series, f.name), getattr(more, f.name)]) for f in fields(Series) if f.name != "degrees_of_freedom"}
        self.series = replace(self.series, **joined)

    @property
    def data(self) -> Any:
        return data_of(self.name, self.system, self.series, self.temperature_K, self.pressure_bar, self.system.timestep_fs)
