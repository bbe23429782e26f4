"""An ASE dynamics as a thing that can step, be looked at, be saved and be put back to the same bits."""
from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError

from mdapp.dynamics._base import Ensemble, degrees_of_freedom_of, potential_energy, require_steerable
from mdapp.dynamics._constraints import NotSolved, held_bonds, n_bonds_held
from mdapp.dynamics._velocities import draw_momenta
from mdapp.frame import OF_ALL, Frame, named
from mdapp.observables import kinetic_energy, pressure, temperature_K

STILLED = 100  # steps between two times that an ensemble which multiplies momenta takes out the motion of the whole
RUNAWAY_A = 1.5  # no atom of a sound run moves so far in one step; after such a leap the next call of the potential may never return
PER_ATOM = ("charges", "dipoles", "magmoms")  # results of the calculator that a written frame carries along, with those of the whole system
DOUBTS = ("forces_spread", "domain_distance", "energy_spread", "extrapolations", "overshoot")  # what a potential says of its own uncertainty: in every frame, for the guards


class Exploded(Exception):
    """The numbers have run away: there is no next step.

    The message says of which atoms; `value` and `limit` are a displacement in Å, NaN where there is none.
    """

    def __init__(self, reason: str, atoms: tuple[int, ...], value: float = math.nan, limit: float = math.nan):
        super().__init__(reason)
        self.atoms, self.value, self.limit = atoms, value, limit


class ASEStepper:
    """Steps one system of atoms with the integrator of an ensemble.

    Parameters
    ----------
    atoms : with calculator and starting momenta; stepped in place, and not to be changed by others meanwhile.
    ensemble : a plug-in of the group `mdapp.ensembles`.
    timestep_fs : time step.
    rng : the generator of the thermostat; its state is part of `state`.
    spread : asks the calculator for the disagreement of a committee in eV/Å, for written frames only; None where there is none.
    schedule : temperature in K at a time in fs, which the bath follows from step to step; None: it stays as the ensemble has it.
    state : what `state` returned in an earlier run; the stepper then begins there, and `atoms` need no momenta.
    """

    def __init__(self, atoms: Atoms, ensemble: Ensemble, timestep_fs: float, rng: np.random.Generator,
                 spread: Callable[[Any], float | None] | None = None, state: Mapping[str, Any] | None = None,
                 schedule: Callable[[float], float] | None = None):
        if state is not None:
            _put_back(atoms, state)
        self.atoms = atoms
        self.ensemble = ensemble
        self.timestep_fs = float(timestep_fs)
        self.rng = rng
        self.spread = spread
        self.schedule = schedule
        if schedule is not None:
            require_steerable(ensemble)
        self.degrees_of_freedom = degrees_of_freedom_of(ensemble, atoms)
        self._stills = hasattr(ensemble, "still")
        self._build(1)
        self.step_number = 0
        self._bonds = held_bonds(atoms)  # the pull of bonds of fixed length is in no stress, so that there is no pressure to report
        self._origin = 0, 0.0  # step and time since which the time step has been what it is
        self._numbers = atoms.get_atomic_numbers()
        self._masses = atoms.get_masses()
        self._pbc = atoms.pbc.copy()
        self._gives_stress = bool(self._pbc.all()) and "stress" in getattr(atoms.calc, "implemented_properties", ())
        if state is not None:
            self.restore(state)

    def _build(self, substeps: int) -> None:
        """The integrator of the atoms as they are, for steps made in so many parts."""
        self.substeps = substeps
        self.dynamics = self.ensemble.dynamics(self.atoms, self.timestep_fs / substeps, self.rng)
        self._fastest = RUNAWAY_A / self.dynamics.dt

    @property
    def time_fs(self) -> float:
        step, time_fs = self._origin
        return time_fs + (self.step_number - step) * self.timestep_fs

    def refine(self, substeps: int) -> None:
        """From here on, make each step in so many equal parts. Numbers of steps, their times and the bookkeeping of heat go on as they were."""
        if substeps == self.substeps:
            return
        own, generator = self.ensemble.state(self.dynamics), self.rng.bit_generator.state
        self._build(substeps)
        self.rng.bit_generator.state = generator
        self.ensemble.restore(self.dynamics, own)

    def turn_momenta(self) -> None:
        """New directions for the momenta, from the generator, with the kinetic energy that they have: no conserved energy jumps."""
        kinetic = self.atoms.get_kinetic_energy()
        drawn = draw_momenta(self.atoms, 300.0, self.rng, self.degrees_of_freedom)
        found = kinetic_energy(drawn, self._masses)
        if found > 0:
            momenta, state = drawn * math.sqrt(kinetic / found), self.state()
            own = {name: momenta for name in ("momenta", "ensemble/p") if name in state}  # some integrators keep a copy
            self.restore({**state, **own})

    def step(self) -> None:
        """One step of the integrator.

        Raises
        ------
        Exploded : afterwards a momentum is no number, or an atom would leap more than 1.5 Å in the next step; or the potential failed
            on positions that are no numbers.
        """
        if self.schedule is not None:  # of this step alone, so that a resumed run needs no memory of it
            self.ensemble.set_temperature(self.dynamics, self.schedule(self.time_fs + 0.5 * self.timestep_fs))
        self.step_number += 1
        for _ in range(self.substeps):
            self._substep()
        if self._stills and self.step_number % STILLED == 0:
            self.ensemble.still(self.dynamics)

    def _substep(self) -> None:
        try:
            with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # an explosion is told of below, by name
                self.dynamics.step()
        except NotSolved as torn:
            raise Exploded(f"the bond of fixed length between {named(self._numbers, torn.atoms)} cannot be restored after this step", torn.atoms) from None
        except Exception as error:
            of_the_cell = isinstance(error, np.linalg.LinAlgError) and self.ensemble.needs_cell
            if np.isfinite(self.atoms.positions).all() and self._is_slow() and not of_the_cell:
                raise
            raise self._explosion() from None
        if not self._is_slow():
            raise self._explosion()

    def _is_slow(self) -> bool:
        """No atom would leap in the next step. False too where a momentum is no number."""
        with np.errstate(over="ignore", invalid="ignore"):
            return bool(np.abs(self.atoms.arrays["momenta"] / self._masses[:, None]).max() <= self._fastest)

    def glance(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
        """Positions, momenta, cell and potential energy of the present moment, not copied: to look at, at once."""
        results = getattr(self.atoms.calc, "results", {})
        return self.atoms.positions, self.atoms.arrays["momenta"], self.atoms.cell.array, float(results.get("energy", math.nan))

    def frame(self, *, full: bool = False) -> Frame:
        """The present moment. `full` adds stress and pressure, the committee's spread and charges, which may cost an evaluation."""
        atoms, step, time_fs = self.atoms, self.step_number, self.time_fs
        positions, momenta, cell = atoms.positions.copy(), atoms.get_momenta(), atoms.cell.array.copy()
        stress = self._stress() if full and self._bonds is None else None  # asked for first: the call may give the energy and the forces too
        potential = potential_energy(atoms)
        kinetic = kinetic_energy(momenta, self._masses)
        return Frame(
            step=step, time_fs=time_fs, numbers=self._numbers, masses=self._masses, positions=positions, momenta=momenta,
            forces=atoms.get_forces(apply_constraint=False), cell=cell, pbc=self._pbc,
            potential_energy=potential, kinetic_energy=kinetic, temperature_K=temperature_K(kinetic, self.degrees_of_freedom),
            conserved_energy=float(self.ensemble.conserved_energy(self.dynamics)),
            stress=stress, pressure=None if stress is None else pressure(stress, kinetic, cell),
            spread=self._spread(full), extras=self._extras(full),
        )

    def state(self) -> dict[str, Any]:
        """One flat mapping of arrays, numbers and text; the names of the ensemble's own begin with "ensemble/"."""
        own = self.ensemble.state(self.dynamics)
        return {
            "step": self.step_number, "timestep_fs": self.timestep_fs, "substeps": self.substeps, "origin_step": self._origin[0], "origin_time_fs": self._origin[1],
            "positions": self.atoms.positions.copy(), "momenta": self.atoms.get_momenta(), "cell": self.atoms.cell.array.copy(),
            "rng": json.dumps(_plain(self.rng.bit_generator.state)),
            **({} if self._bonds is None else {"bond_lengths": self._bonds.bondlengths.copy()}),
            **{f"ensemble/{name}": np.array(value) if isinstance(value, np.ndarray) else value for name, value in own.items()},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on from `state`. With another time step than that of the state, time goes on from where it was.

        Raises
        ------
        ValueError : the state is of another number of atoms, or of another kind of generator.
        """
        _put_back(self.atoms, state)
        self.rng.bit_generator.state = _arrays(json.loads(str(state["rng"])))
        self.step_number = int(state["step"])
        if int(state.get("substeps", 1)) != self.substeps:
            generator = self.rng.bit_generator.state
            self._build(int(state["substeps"]))
            self.rng.bit_generator.state = generator
        self._origin = int(state["origin_step"]), float(state["origin_time_fs"])
        if float(state["timestep_fs"]) != self.timestep_fs:
            step, time_fs = self._origin
            self._origin = self.step_number, time_fs + (self.step_number - step) * float(state["timestep_fs"])
        own = {name.removeprefix("ensemble/"): value for name, value in state.items() if name.startswith("ensemble/")}
        self.ensemble.restore(self.dynamics, own)

    def _stress(self) -> np.ndarray | None:
        if not self._gives_stress:
            return None
        try:
            return self.atoms.get_stress(apply_constraint=False)
        except (PropertyNotImplementedError, NotImplementedError):
            self._gives_stress = False
            return None

    def _spread(self, full: bool) -> float | None:
        """The largest disagreement of a committee on the force of an atom, eV/Å."""
        if full and self.spread:
            return self.spread(self.atoms.calc)
        found = getattr(self.atoms.calc, "results", {}).get("forces_spread")
        return None if found is None else float(np.max(found))

    def _extras(self, full: bool) -> dict[str, np.ndarray]:
        results = getattr(self.atoms.calc, "results", {})
        found = {name: np.array(results[name], float) for name in (PER_ATOM + OF_ALL + DOUBTS if full else DOUBTS) if results.get(name) is not None}
        return {name: values for name, values in found.items() if (values.shape == (3,) if name in OF_ALL else values.shape[:1] in ((), (len(self.atoms),)))}

    def _explosion(self) -> Exploded:
        for what in ("positions", "momenta"):
            bad = np.flatnonzero(~np.isfinite(self.atoms.arrays[what]).all(axis=1))
            if len(bad):
                return Exploded(f"{what} of {named(self._numbers, bad)} are not finite", tuple(bad.tolist()))
        with np.errstate(over="ignore", invalid="ignore"):
            speed = np.linalg.norm(self.atoms.arrays["momenta"] / self._masses[:, None], axis=1)
            worst = int(speed.argmax())
            leap = float(speed[worst] * self.dynamics.dt)
        if leap <= RUNAWAY_A:
            return Exploded(f"the cell runs away, {named(self._numbers, [worst])} being the fastest atom", (worst,))
        return Exploded(f"{named(self._numbers, [worst])} moves {leap:.3g} Å in one step, limit {RUNAWAY_A:g}", (worst,), leap, RUNAWAY_A)


def _put_back(atoms: Atoms, state: Mapping[str, Any]) -> None:
    """Positions, momenta and cell of the state."""
    positions = np.array(state["positions"], float)
    if positions.shape != atoms.positions.shape:
        raise ValueError(f"The restart state holds {len(positions)} atoms, the structure {len(atoms)}: they belong to different runs.")
    atoms.set_cell(np.array(state["cell"], float), scale_atoms=False)
    atoms.positions[:] = positions
    atoms.set_momenta(np.array(state["momenta"], float), apply_constraint=False)
    bonds, lengths = held_bonds(atoms), np.array(state.get("bond_lengths", ()), float)
    if len(lengths) != (0 if bonds is None else len(bonds.pairs)):
        raise ValueError(f"The restart state holds {len(lengths)} bonds of fixed length, this run {n_bonds_held(atoms)}: they belong to different runs.")
    if bonds is not None:
        bonds.bondlengths = lengths


def _plain(value: Any) -> Any:
    """The state of a generator as JSON can hold it: arrays as lists, marked."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, np.ndarray):
        return {"array": value.tolist(), "dtype": str(value.dtype)}
    return value.item() if isinstance(value, np.generic) else value


def _arrays(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if set(value) == {"array", "dtype"}:
        return np.array(value["array"], dtype=value["dtype"])
    return {k: _arrays(v) for k, v in value.items()}
