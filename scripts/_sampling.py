"""Geometries of a molecule that a potential should know: hot, distorted, relaxing and parting ones.

`sample` walks through the five kinds; nothing here is labelled. Fragments of a dimer or cluster are held together during MD by a
flat-bottomed restraint that no stored force ever contains.
"""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator, all_changes
from ase.optimize import FIRE
from make_peptide import BASINS, atoms_of, backbone_torsions, clean_up, conformers, set_backbone, with_hydrogens
from mdapp.dynamics._velocities import draw_momenta
from mdapp.dynamics.nvt_langevin import LangevinNVT
from rdkit import Chem
from rdkit.Chem.rdForceFieldHelpers import MMFFGetMoleculeForceField, MMFFGetMoleculeProperties
from scipy.spatial.distance import cdist

KINDS = ("MMFF94 MD", "GFN2 MD", "distorted", "relaxation path", "rigid separation")
HOT_K = (300.0, 400.0, 500.0, 700.0, 1000.0)  # of MMFF94 MD
BURST_K = (300.0, 500.0, 700.0)  # of GFN2 MD
SHARES = (0.60, 0.20, 0.12, 0.08)  # of the frames of a molecule, for kinds 0 to 3
KCAL = units.kcal / units.mol
Method = Calculator


@dataclass(frozen=True)
class Lengths:
    """How long the walks are; times in fs."""

    equilibrate: float = 70.0  # MMFF94, before the first frame
    apart: float = 140.0  # MMFF94, between frames
    frames_per_start: int = 6  # MMFF94 frames from one conformer
    burst_apart: float = 6.0  # GFN2, between frames
    frames_per_burst: int = 5
    relax_steps: int = 40


class MMFF94(Calculator):
    """RDKit's MMFF94 for one conformer, interactions between fragments included."""

    implemented_properties = ["energy", "forces"]

    def __init__(self, molecule: Chem.Mol, conformer: int = -1):
        super().__init__()
        self.field = MMFFGetMoleculeForceField(molecule, MMFFGetMoleculeProperties(molecule), confId=conformer, ignoreInterfragInteractions=False)
        self.field.Initialize()

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        flat = atoms.positions.ravel().tolist()
        energy = self.field.CalcEnergy(flat)  # first, always: CalcGrad alone would give a gradient partly of the geometry before
        self.results = {"energy": energy * KCAL, "forces": -np.reshape(self.field.CalcGrad(flat), (-1, 3)) * KCAL}


class Together(Calculator):
    """Another calculator, plus a weak pull on fragments whose centres have drifted from the first one's by more than `slack` Å."""

    implemented_properties = ["energy", "forces"]

    def __init__(self, inner: Calculator, start: Atoms, fragments: Sequence[np.ndarray], slack: float = 1.0, k: float = 0.2):
        super().__init__()
        self.inner, self.fragments, self.k = inner, fragments, k
        self.reach = [np.linalg.norm(self._gap(start.positions, f)) + slack for f in fragments[1:]]  # Å

    def _gap(self, positions: np.ndarray, fragment: np.ndarray) -> np.ndarray:
        return positions[fragment].mean(0) - positions[self.fragments[0]].mean(0)

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.inner.calculate(atoms, ["energy", "forces"], system_changes)
        energy, forces = self.inner.results["energy"], np.array(self.inner.results["forces"])
        for fragment, reach in zip(self.fragments[1:], self.reach):
            gap = self._gap(atoms.positions, fragment)
            far = np.linalg.norm(gap) - reach
            if far > 0:
                energy += 0.5 * self.k * far**2
                pull = self.k * far * gap / np.linalg.norm(gap)  # (3,), eV/Å
                forces[fragment] -= pull / len(fragment)
                forces[self.fragments[0]] += pull / len(self.fragments[0])
        self.results = {"energy": energy, "forces": forces}


def sample(smiles: str, n_frames: int, gfn2: Calculator, rng: np.random.Generator, lengths: Lengths = Lengths()) -> Iterator[tuple[int, Atoms]]:
    """Kind and geometry of about `n_frames` frames, one after the other; more, of kind 4, where there are several fragments.

    Parameters
    ----------
    gfn2 : the calculator of GFN2 bursts and relaxations.
    rng : everything random comes from it.

    Raises
    ------
    ValueError, RuntimeError : a SMILES that RDKit cannot turn into a geometry with MMFF94 parameters.
    """
    molecule = with_hydrogens(smiles)
    fragments = [np.array(f) for f in Chem.GetMolFrags(molecule)]
    counts = [max(1, round(share * n_frames)) for share in SHARES]
    hot: list[Atoms] = []
    for frame in _hot(molecule, fragments, counts[0], rng, lengths):
        hot.append(frame)
        yield 0, frame
    for kind, walk, per_walk in ((1, _burst, lengths.frames_per_burst), (3, _relaxation, 8)):
        for start in _picks(hot, -(-counts[kind] // per_walk), rng):
            yield from ((kind, frame) for frame in walk(start, fragments, gfn2, min(per_walk, counts[kind]), rng, lengths))
    bonds = np.array([(b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in molecule.GetBonds()]).reshape(-1, 2)
    for start in _picks(hot, counts[2], rng):
        yield 2, distorted(start, bonds, rng)
    if len(fragments) > 1:
        for start in _picks(hot, max(1, n_frames // 5), rng):
            yield 4, parted(start, fragments, rng)


def _picks(frames: list[Atoms], count: int, rng: np.random.Generator) -> list[Atoms]:
    """Frames at random, none twice before all were taken."""
    order = np.concatenate([rng.permutation(len(frames)) for _ in range(-(-count // len(frames)))])
    return [frames[i].copy() for i in order[:count]]


def _hot(molecule: Chem.Mol, fragments: list[np.ndarray], count: int, rng: np.random.Generator, lengths: Lengths) -> Iterator[Atoms]:
    """MMFF94 Langevin MD from many conformers, the temperatures in turn, 0.7 fs steps."""
    n_starts = -(-count // lengths.frames_per_start)
    left = count
    for k, conformer in enumerate(conformers(molecule, n_starts, int(rng.integers(1, 2**31 - 1)))):
        torsions = backbone_torsions(molecule)
        if torsions and k % 2:
            basins = [BASINS[name] for name in rng.choice(list(BASINS), len(torsions))]
            set_backbone(molecule, conformer, [tuple(np.array(b) + rng.normal(0, 12, 2)) for b in basins])
        if len(fragments) > 1:
            _place(molecule, conformer, fragments, rng)
        clean_up(molecule, conformer, steps=200)
        atoms = atoms_of(molecule, conformer)
        n_here = min(left, lengths.frames_per_start if k < n_starts - 1 else left)
        yield from _langevin(atoms, _held(MMFF94(molecule, conformer), atoms, fragments), HOT_K[k % len(HOT_K)], 0.7, lengths.equilibrate, lengths.apart, n_here, rng)
        left -= n_here
        if not left:
            return


def _burst(start: Atoms, fragments: list[np.ndarray], gfn2: Calculator, count: int, rng: np.random.Generator, lengths: Lengths) -> Iterator[Atoms]:
    """GFN2 Langevin MD, 1 fs steps."""
    yield from _langevin(start, _held(gfn2, start, fragments), float(rng.choice(BURST_K)), 1.0, lengths.burst_apart, lengths.burst_apart, count, rng)


def _relaxation(start: Atoms, fragments: list[np.ndarray], gfn2: Calculator, count: int, rng: np.random.Generator, lengths: Lengths) -> Iterator[Atoms]:
    """Damped GFN2 relaxation, seen at equal numbers of steps."""
    atoms = _with(start, gfn2)
    search = FIRE(atoms, logfile=None, maxstep=0.05)
    for _ in range(count):
        search.run(fmax=0.01, steps=search.nsteps + max(1, lengths.relax_steps // count))
        yield _bare(atoms)


def _langevin(start: Atoms, calculator: Calculator, temperature_K: float, timestep_fs: float, first_fs: float, apart_fs: float, count: int,
              rng: np.random.Generator) -> Iterator[Atoms]:
    atoms = _with(start, calculator)
    atoms.set_momenta(draw_momenta(atoms, temperature_K, rng))
    dynamics = LangevinNVT(temperature_K, friction_per_ps=10.0).dynamics(atoms, timestep_fs, rng)
    for k in range(count):
        for _ in range(max(1, round((apart_fs if k else first_fs) / timestep_fs))):
            dynamics.step()
        if not np.isfinite(atoms.positions).all():
            return
        yield _bare(atoms)


def distorted(start: Atoms, bonds: np.ndarray, rng: np.random.Generator) -> Atoms:
    """Gaussian noise of 0.03 to 0.12 Å; or one bond at 0.78 to 1.45 of its length; or two distant atoms pushed to 1.2 to 2.0 Å."""
    atoms = _bare(start)
    choice = rng.integers(3)
    distances = cdist(atoms.positions, atoms.positions)
    far = np.argwhere(np.triu(distances > 2.5)) if choice == 2 else np.zeros((0, 2), int)
    if choice == 1 and len(bonds):
        i, j = bonds[rng.integers(len(bonds))]
        _stretch(atoms, int(i), int(j), distances[i, j] * rng.uniform(0.78, 1.45))
    elif len(far):
        i, j = far[rng.choice(len(far), p=_near_first(distances[far[:, 0], far[:, 1]]))]
        _stretch(atoms, int(i), int(j), rng.uniform(1.2, 2.0))
    else:
        atoms.positions += rng.normal(0, rng.uniform(0.03, 0.12), atoms.positions.shape)
    return atoms


def _near_first(distances: np.ndarray) -> np.ndarray:
    """Chances to be picked: pairs that could really meet come first."""
    weight = np.exp(-distances)
    return weight / weight.sum()


def _stretch(atoms: Atoms, i: int, j: int, length: float) -> None:
    """Both atoms move by half of what is missing."""
    axis = atoms.positions[j] - atoms.positions[i]
    move = 0.5 * (length - np.linalg.norm(axis)) * axis / np.linalg.norm(axis)
    atoms.positions[i] -= move
    atoms.positions[j] += move


def parted(start: Atoms, fragments: Sequence[np.ndarray], rng: np.random.Generator) -> Atoms:
    """One fragment moved by -0.5 to +4.5 Å along the line from the others."""
    atoms = _bare(start)
    mover = fragments[rng.integers(len(fragments))]
    rest = np.setdiff1d(np.arange(len(atoms)), mover)
    axis = atoms.positions[mover].mean(0) - atoms.positions[rest].mean(0)
    atoms.positions[mover] += rng.uniform(-0.5, 4.5) * axis / max(np.linalg.norm(axis), 1e-9)
    return atoms


def _place(molecule: Chem.Mol, conformer: int, fragments: Sequence[np.ndarray], rng: np.random.Generator) -> None:
    """Fragments side by side, turned at random, closest contacts of 1.8 to 2.8 Å."""
    c = molecule.GetConformer(conformer)
    x = np.array(c.GetPositions())
    done = fragments[0]
    x[done] -= x[done].mean(0)
    for fragment in fragments[1:]:
        direction = rng.normal(size=3)
        direction /= np.linalg.norm(direction)
        shape = (x[fragment] - x[fragment].mean(0)) @ _rotation(rng)
        contact = rng.uniform(1.8, 2.8)
        steps = np.arange(0.0, 60.0, 0.05)
        gaps = np.array([cdist(shape + s * direction, x[done]).min() for s in steps])
        near = steps[np.flatnonzero(gaps < contact).max(initial=-1) + 1]  # just outside the last place that is too near
        x[fragment] = shape + near * direction
        done = np.concatenate([done, fragment])
    for i, place in enumerate(x):
        c.SetAtomPosition(i, place.tolist())


def _rotation(rng: np.random.Generator) -> np.ndarray:
    q, r = np.linalg.qr(rng.normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    return q * np.linalg.det(q)


def _held(calculator: Calculator, start: Atoms, fragments: Sequence[np.ndarray]) -> Calculator:
    return Together(calculator, start, fragments) if len(fragments) > 1 else calculator


def _with(start: Atoms, calculator: Calculator) -> Atoms:
    atoms = _bare(start)
    atoms.calc = calculator
    return atoms


def _bare(atoms: Atoms) -> Atoms:
    """Elements and positions, nothing else."""
    return Atoms(atoms.numbers, atoms.positions)
