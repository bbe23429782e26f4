"""What every potential must pass, ours or a stranger's.

``check_potential(potential)`` builds small structures of the potential's own elements, free and in an oblique periodic cell,
and holds it to laws, not to numbers: invariance, forces as minus the gradient, stress by strain, smoothness at the cutoff,
one structure alone = the same in a batch, two far copies = twice the energy, float32 = float64, CPU = CUDA.
"""
from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from ase import Atoms

from potentials.derivatives import Results, energy_forces_stress
from potentials.graph import batch
from potentials.neighbours import graph_for
from potentials.potential import Potential


class ConformanceError(AssertionError):
    """A potential breaks a law; the message names the law, the error found and the limit."""


@dataclass(frozen=True)
class Law:
    """One law and how well it was kept."""

    name: str
    error: float
    limit: float
    unit: str

    @property
    def kept(self) -> bool:
        return bool(self.error <= self.limit)  # NaN is not kept

    def __str__(self) -> str:
        return f"{self.name}: {self.error:.1e} {self.unit} (limit {self.limit:.0e}){'' if self.kept else ' BROKEN'}"


def check_potential(potential: Potential, *, n_atoms: int = 8, seed: int = 0) -> list[Law]:
    """Hold a potential to all laws that apply to it; a copy is tested, the potential itself stays as it is.

    Parameters
    ----------
    n_atoms : size of the test structures.
    seed : of the test structures.

    Returns
    -------
    The laws with the errors found.

    Raises
    ------
    ConformanceError : at least one law is broken; the message lists those.
    """
    potential = copy.deepcopy(potential).double().cpu().eval().requires_grad_(False)
    bench = _Bench(potential, _cluster(potential, n_atoms, seed), _crystal(potential, max(2, n_atoms // 2), seed))
    laws = [law for check in _CHECKS for law in check(bench)]
    broken = [law for law in laws if not law.kept]
    if broken:
        raise ConformanceError(f"{type(potential).__name__} breaks {len(broken)} of {len(laws)} laws. " + "; ".join(map(str, broken)))
    return laws


@dataclass(frozen=True)
class _Bench:
    potential: Potential
    free: Atoms
    periodic: Atoms

    def __call__(self, atoms: Atoms, stress: bool = False) -> Results:
        p = self.potential
        return energy_forces_stress(p, graph_for(atoms, p), stress=stress)

    def energy(self, atoms: Atoms) -> float:
        return float(self(atoms).energy)

    def forces(self, atoms: Atoms) -> np.ndarray:
        f = self(atoms).forces
        assert f is not None
        return f.numpy()

    @property
    def both(self) -> list[tuple[str, Atoms]]:
        return [("free", self.free), ("periodic", self.periodic)]


def _rotation(bench: _Bench) -> list[Law]:
    laws = []
    rng = np.random.default_rng(1)
    for name, sign in (("rotation", 1.0), ("reflection", -1.0)):
        R = _rotation_matrix(rng) * sign
        error_e = error_f = 0.0
        for _, atoms in bench.both:
            turned = atoms.copy()
            turned.set_cell(atoms.cell.array @ R.T)
            turned.positions = atoms.positions @ R.T
            error_e = max(error_e, abs(bench.energy(turned) - bench.energy(atoms)))
            error_f = max(error_f, _largest(bench.forces(turned) - bench.forces(atoms) @ R.T))
        laws += [Law(f"{name} leaves the energy", error_e, 1e-9, "eV"), Law(f"{name} turns the forces", error_f, 1e-8, "eV/Å")]
    return laws if bench.potential.equivariant else laws[:0]


def _translation(bench: _Bench) -> list[Law]:
    error_e = error_f = 0.0
    for _, atoms in bench.both:
        moved = atoms.copy()
        moved.positions += (500.0, -300.0, 77.7)
        error_e = max(error_e, abs(bench.energy(moved) - bench.energy(atoms)))
        error_f = max(error_f, _largest(bench.forces(moved) - bench.forces(atoms)))
    return [Law("translation by 588 Å leaves the energy", error_e, 1e-9, "eV"), Law("translation leaves the forces", error_f, 1e-8, "eV/Å")]


def _permutation(bench: _Bench) -> list[Law]:
    error = 0.0
    for _, atoms in bench.both:
        order = np.random.default_rng(2).permutation(len(atoms))
        error = max(error, _largest(bench.forces(atoms[order]) - bench.forces(atoms)[order]), abs(bench.energy(atoms[order]) - bench.energy(atoms)))
    return [Law("permutation", error, 1e-9, "eV, eV/Å")]


def _gradient(bench: _Bench) -> list[Law]:
    if not bench.potential.conservative:
        return []
    laws, rng = [], np.random.default_rng(3)
    for name, atoms in bench.both:
        direction = rng.normal(size=atoms.positions.shape)
        slope = _central(lambda h: bench.energy(_moved(atoms, h * direction)), 1e-3)
        scale = 1 + np.abs(bench.forces(atoms)).max()
        laws.append(Law(f"forces are minus the gradient ({name})", abs(slope + (bench.forces(atoms) * direction).sum()) / scale, 1e-6, "of the largest force"))
    return laws


def _stress(bench: _Bench) -> list[Law]:
    if not (bench.potential.provides_stress and bench.potential.conservative):
        return []
    atoms = bench.periodic
    sigma = bench(atoms, stress=True).stress
    assert sigma is not None
    direction = np.random.default_rng(4).normal(size=(3, 3))
    direction = direction + direction.T

    def strained(h: float) -> float:
        other = atoms.copy()
        other.set_cell(atoms.cell.array @ (np.eye(3) + h * direction), scale_atoms=True)
        return bench.energy(other)

    slope = _central(strained, 1e-4) / atoms.get_volume()
    found = float((sigma[0].numpy() * direction).sum())
    return [Law("stress is the slope of the energy with strain", abs(found - slope) / (1 + abs(slope)), 1e-6, "eV/Å³, relative above 1")]


def _cutoff(bench: _Bench) -> list[Law]:
    """An atom leaves a dense group: energy and force must not jump while it crosses the cutoff of the nearest ones. An energy that reaches farther may slope there."""
    cutoff = bench.potential.cutoff
    group = bench.free[:3]

    def at(distance: float) -> tuple[float, np.ndarray]:
        atoms = group + Atoms([bench.free.numbers[-1]], [group.positions[0] + (distance, 0.0, 0.0)])
        return bench.energy(atoms), bench.forces(atoms)

    (e_before, _), (e_in, f_in), (e_out, f_out) = at(cutoff - 3e-5), at(cutoff - 1e-5), at(cutoff + 1e-5)
    jump = abs((e_out - e_in) - (e_in - e_before))
    return [Law("energy is continuous at the cutoff", jump, 1e-6, "eV"), Law("forces are continuous at the cutoff", _largest(f_in - f_out), 1e-4, "eV/Å")]


def _batching(bench: _Bench) -> list[Law]:
    p = bench.potential
    graphs = [graph_for(atoms, p) for _, atoms in bench.both]
    alone = [energy_forces_stress(p, g) for g in graphs]
    together = energy_forces_stress(p, batch(graphs))
    assert together.forces is not None
    error_e = float((together.energy - torch.cat([r.energy for r in alone])).abs().max())
    error_f = float((together.forces - torch.cat([r.forces for r in alone if r.forces is not None])).abs().max())
    return [Law("a batch gives what single structures give", max(error_e, error_f), 1e-9, "eV, eV/Å")]


def _far_copies(bench: _Bench) -> list[Law]:
    if bench.potential.has_long_range or not bench.potential.local:
        return []
    two = bench.free + _moved(bench.free, np.array([10 * bench.potential.cutoff + 100, 0.0, 0.0]))
    laws = [Law("two far copies have twice the energy", abs(bench.energy(two) - 2 * bench.energy(bench.free)), 1e-9, "eV")]
    if bench.potential.net_force_zero:
        laws.append(Law("forces sum to zero", _largest(bench.forces(bench.free).sum(0)), 1e-8, "eV/Å"))
    double = bench.periodic * (2, 1, 1)
    laws.append(Law("a doubled cell has twice the energy", abs(bench.energy(double) - 2 * bench.energy(bench.periodic)), 1e-8, "eV"))
    return laws


def _alone(bench: _Bench) -> list[Law]:
    forces = bench.forces(bench.free[:1])
    return [Law("a lone atom feels no force", _largest(forces) if np.isfinite(bench.energy(bench.free[:1])) else np.nan, 1e-12, "eV/Å")]


def _precision(bench: _Bench) -> list[Law]:
    if not any(True for _ in bench.potential.parameters()):
        return []
    single = _Bench(copy.deepcopy(bench.potential).float(), bench.free, bench.periodic)
    scale = 1 + np.abs(bench.forces(bench.free)).max()
    error = _largest(single.forces(bench.free) - bench.forces(bench.free)) / scale
    return [Law("float32 gives the forces of float64", error, 1e-4, "of the largest force")]


def _devices(bench: _Bench) -> list[Law]:
    if not torch.cuda.is_available():
        return []
    p = copy.deepcopy(bench.potential).cuda()
    result = energy_forces_stress(p, graph_for(bench.free, p).to("cuda"))
    assert result.forces is not None
    return [Law("CUDA gives the forces of the CPU", _largest(result.forces.cpu().numpy() - bench.forces(bench.free)), 1e-8, "eV/Å")]


_CHECKS: list[Callable[[_Bench], list[Law]]] = [
    _rotation, _translation, _permutation, _gradient, _stress, _cutoff, _batching, _far_copies, _alone, _precision, _devices,
]  # fmt: skip


def _elements(potential: Potential, n: int, rng: np.random.Generator) -> np.ndarray:
    known = potential.elements or (1, 6, 7, 8)
    return rng.choice(known, n)


def _cluster(potential: Potential, n: int, seed: int) -> Atoms:
    """Atoms at random, no two nearer than 0.3 cutoffs."""
    rng = np.random.default_rng(seed)
    least = 0.3 * potential.cutoff
    positions = [np.zeros(3)]
    while len(positions) < n:
        trial = rng.normal(size=3) * least * n ** (1 / 3)
        if np.linalg.norm(np.array(positions) - trial, axis=1).min() > least:
            positions.append(trial)
    return Atoms(_elements(potential, n, rng), positions)


def _crystal(potential: Potential, n: int, seed: int) -> Atoms:
    """An oblique cell whose heights are below the cutoff, so that atoms see their own images."""
    rng = np.random.default_rng(seed + 1)
    a = 0.35 * potential.cutoff
    grid = np.array([(x, y, z) for x in range(2) for y in range(2) for z in range(2)], dtype=float)[: max(n, 2)]
    cell = 2 * a * (np.eye(3) + 0.15 * np.array([[0, 0, 0], [1, 0, 0], [-1, 1, 0]]))
    positions = (grid / 2) @ cell + rng.normal(size=grid.shape) * 0.05 * a
    return Atoms(_elements(potential, len(grid), rng), positions, cell=cell, pbc=True)


def _moved(atoms: Atoms, by: np.ndarray) -> Atoms:
    other = atoms.copy()
    other.positions += by
    return other


def _central(f: Callable[[float], float], h: float) -> float:
    """The slope of f at 0, to fourth order in h."""
    return (8 * (f(h) - f(-h)) - (f(2 * h) - f(-2 * h))) / (12 * h)


def _rotation_matrix(rng: np.random.Generator) -> np.ndarray:
    q, r = np.linalg.qr(rng.normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    return q * np.linalg.det(q)


def _largest(values: np.ndarray) -> float:
    return float(np.abs(values).max(initial=0.0)) if np.isfinite(values).all() else float("nan")
