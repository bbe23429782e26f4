"""Checks that tell direct forces from gradients: rotation, net force and torque, work round a closed path, symmetry of the Jacobian, dynamics."""
from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from ase import Atoms, units

from potentials.architectures.lennard_jones import LennardJones
from potentials.derivatives import energy_forces_stress
from potentials.graph import batch
from potentials.layers.repulsion import COULOMB
from potentials.neighbours import graph_for
from potentials.potential import Potential
from potentials.runtime.compiled_derivatives import CompiledDerivatives
from potentials.runtime.evaluator import Evaluator, System
from potentials.training.augmentation import random_rotations

SIGMA, EPSILON = 3.405, 0.2378 * 0.0433641042  # Å, eV: argon of the reference runs
FEMTOSECOND = units.fs


def exact_argon() -> LennardJones:
    """The force field of the reference runs, in float64, switched off from 9.5 to 10 Å so that its own energy is conserved."""
    return LennardJones(LennardJones.Config(epsilon=EPSILON, sigma=SIGMA, cutoff=10.0, switch_on=9.5)).double()


def forces_of(potential: Potential, atoms: Atoms) -> np.ndarray:
    f = energy_forces_stress(potential, graph_for(atoms, potential)).forces
    assert f is not None
    return f.detach().numpy()


def rotation_error(potential: Potential, atoms: Atoms, n: int = 20) -> float:
    """Mean of |f(R x) - R f(x)| / |f| over rotations."""
    f, off = forces_of(potential, atoms), []
    for R in random_rotations(n, np.random.default_rng(0)):
        turned = Atoms(atoms.numbers, atoms.positions @ R.T, cell=atoms.cell.array @ R.T, pbc=atoms.pbc)
        off.append(np.linalg.norm(forces_of(potential, turned) - f @ R.T) / np.linalg.norm(f))
    return float(np.mean(off))


def net_force(potential: Potential, atoms: Atoms) -> float:
    """|sum f| over the root mean square of the forces times the root of the number of atoms: 1 for forces without any relation."""
    f = forces_of(potential, atoms)
    return float(np.linalg.norm(f.sum(axis=0)) / (np.sqrt((f**2).sum(axis=1).mean()) * np.sqrt(len(f))))


def net_torque(potential: Potential, atoms: Atoms) -> float:
    """The same of the torque of a free cluster about its centre, with the lever arms in the denominator."""
    free = Atoms(atoms.numbers, atoms.positions - atoms.positions.mean(axis=0))
    f = forces_of(potential, free)
    torques = np.cross(free.positions, f)
    return float(np.linalg.norm(torques.sum(axis=0)) / (np.sqrt((torques**2).sum(axis=1).mean()) * np.sqrt(len(f))))


def work_round_a_square(potential: Potential, atoms: Atoms, side: float = 0.5, points: int = 40) -> float:
    """Work (eV) of the force on atom 0 once round a square, by Gauss-Legendre quadrature of each side."""
    x, w = np.polynomial.legendre.leggauss(points)
    corners = side * np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 0]], float)
    total = 0.0
    for a, b in zip(corners[:-1], corners[1:]):
        for s, weight in zip(0.5 * (x + 1), 0.5 * w):
            moved = atoms.copy()
            moved.positions[0] += a + s * (b - a)
            total += weight * float(forces_of(potential, moved)[0] @ (b - a))
    return total


def jacobian_asymmetry(potential: Potential, atoms: Atoms, h: float = 1e-4) -> float:
    """|J - J^T| / |J| with J_ab = d f_a / d x_b by central differences."""
    columns = []
    for k in range(3 * len(atoms)):
        plus, minus = atoms.copy(), atoms.copy()
        plus.positions.reshape(-1)[k] += h
        minus.positions.reshape(-1)[k] -= h
        columns.append((forces_of(potential, plus) - forces_of(potential, minus)).ravel() / (2 * h))
    J = np.array(columns)
    return float(np.linalg.norm(J - J.T) / np.linalg.norm(J))


def company_error(potential: Potential, atoms: Atoms) -> float:
    """Largest change of a force (eV/Å) when a smaller frame is in the same batch."""
    graphs = [graph_for(atoms, potential), graph_for(atoms[: len(atoms) // 2], potential)]
    together = energy_forces_stress(potential, batch(graphs)).forces
    assert together is not None
    return float(np.abs(together.detach().numpy()[: len(atoms)] - forces_of(potential, atoms)).max())


def supercell_error(potential: Potential, atoms: Atoms) -> float:
    """Largest difference (eV/Å) between forces in a cell and in two of it."""
    f = forces_of(potential, atoms)
    return float(np.abs(forces_of(potential, atoms * (2, 1, 1)) - np.tile(f, (2, 1))).max())


def jump_at_cutoff(potential: Potential, atoms: Atoms) -> float:
    """Largest jump of a force (eV/Å) while an atom, dragged away, crosses the cutoff of another by 2e-6 Å."""
    group = Atoms(atoms.numbers[:3], atoms.positions[:3])

    def at(d: float) -> np.ndarray:
        return forces_of(potential, group + Atoms(atoms.symbols[3:4], [group.positions[0] + (d, 0.0, 0.0)]))

    return float(np.abs(at(potential.cutoff - 1e-6) - at(potential.cutoff + 1e-6)).max())


def long_waves(charges: np.ndarray, positions: np.ndarray, cell: np.ndarray, length: float) -> np.ndarray:
    """Coulomb forces (n, 3), eV/Å, of the waves of charge in a rectangular box that are longer than `length`: no box of that length has them."""
    edges = np.diag(cell)
    reach = [range(-int(L / length), int(L / length) + 1) for L in edges]
    waves = np.array([m for m in itertools.product(*reach) if m > (0, 0, 0)], float).reshape(-1, 3)  # one of each pair k, -k
    k = 2 * np.pi * waves / edges
    k = k[np.linalg.norm(k, axis=1) < 0.999 * 2 * np.pi / length]
    e = np.exp(1j * positions @ k.T)  # (n, n_k)
    weights = 8 * np.pi * COULOMB / np.prod(edges) / (k**2).sum(1)
    return charges[:, None] * np.imag(e * weights * (charges @ e.conj())) @ k


def pair_curve(potential: Potential, d: np.ndarray, symbol: str = "Ar") -> np.ndarray:
    """Force (eV/Å) that pushes two lone atoms apart at these distances."""
    return np.array([forces_of(potential, Atoms([symbol] * 2, [[0, 0, 0], [x, 0, 0]]))[1, 0] for x in d])


def exact_pair_curve(d: np.ndarray) -> np.ndarray:
    q = (SIGMA / d) ** 6
    return 24 * EPSILON * (2 * q * q - q) / d


def curve_error(potential: Potential) -> float:
    """Root mean square of the pair curve's error between 3.2 and 6 Å over the largest attraction."""
    d = np.linspace(3.2, 6.0, 57)
    exact = exact_pair_curve(d)
    return float(np.sqrt(np.mean((pair_curve(potential, d) - exact) ** 2)) / -exact.min())


@dataclass
class NVE:
    """Constant-energy dynamics of argon with the temperature and the exact energy written down; goes on where it stopped."""

    potential: Potential
    start: Atoms
    file: Path  # .json: rows of (ps, temperature in K, exact total energy in meV/atom), and where the atoms are
    timestep_fs: float = 2.0
    every: int = 50  # steps between two rows
    compiled: bool = False  # steps by compiled code; what it makes of forces is theirs to rounding

    def run(self, ps: float) -> np.ndarray:
        """Rows up to so many ps."""
        state = json.loads(self.file.read_text()) if self.file.exists() else self._begin()
        evaluator = Evaluator(self.potential, derive=CompiledDerivatives(self.potential) if self.compiled else energy_forces_stress)
        exact = Evaluator(exact_argon())
        system = System(self.start.numbers, self.start.pbc)
        cell, masses = self.start.cell.array, self.start.get_masses()[:, None]
        x, p = np.array(state["positions"]), np.array(state["momenta"])
        dt, step = self.timestep_fs * FEMTOSECOND, state["step"]

        def forces() -> np.ndarray:
            return evaluator(system, x, cell).forces.detach().double().numpy()

        f = forces()
        while step < round(1000 * ps / self.timestep_fs):
            if step % self.every == 0 and len(state["rows"]) <= step // self.every:
                kinetic = float((p**2 / masses).sum() / 2)
                energy = kinetic + float(exact(system, x, cell).energy)
                temperature = 2 * kinetic / (3 * (len(x) - 1) * units.kB)
                state["rows"].append([step * self.timestep_fs / 1000, temperature, 1000 * energy / len(x)])
                if not np.isfinite(temperature) or temperature > 2000:
                    break
            p = p + 0.5 * dt * f
            x = x + dt * p / masses
            f = forces()
            p = p + 0.5 * dt * f
            step += 1
            if step % 500 == 0:
                self._save(state, x, p, step)
        self._save(state, x, p, step)
        return np.array(state["rows"])

    def _begin(self) -> dict:
        masses = self.start.get_masses()[:, None]
        p = np.random.default_rng(5).standard_normal(self.start.positions.shape) * np.sqrt(masses * units.kB * 90)
        p = p - masses * p.sum(axis=0) / masses.sum()
        p = p * np.sqrt(1.5 * len(p) * units.kB * 90 / (p**2 / masses).sum() * 2)  # 90 K as 3 N degrees of freedom count
        return {"rows": [], "positions": self.start.positions.tolist(), "momenta": p.tolist(), "step": 0}

    def _save(self, state: dict, x: np.ndarray, p: np.ndarray, step: int) -> None:
        state.update(positions=x.tolist(), momenta=p.tolist(), step=step)
        part = self.file.with_suffix(".part")
        part.write_text(json.dumps(state))
        part.replace(self.file)


def slopes(rows: np.ndarray, skip_ps: float = 2.0) -> tuple[float, float]:
    """Slopes of temperature (K/ps) and exact total energy (meV/atom/ps) after the first picoseconds, in which a start settles."""
    rows = rows[rows[:, 0] >= min(skip_ps, rows[-1, 0] / 2)]
    t = rows[:, 0] - rows[:, 0].mean()
    return float(t @ rows[:, 1] / (t @ t)), float(t @ rows[:, 2] / (t @ t))


def single(potential: Potential, dtype: torch.dtype) -> Potential:
    """The potential in this precision, without gradients of its weights."""
    return potential.to(dtype).eval().requires_grad_(False)
