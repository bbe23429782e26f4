"""A path between two minima: ASE's nudged elastic band, its first guess by IDPP, at the end with a climbing image.

All images are evaluated in one batch. The band need not be tight: what it owes is the shape of the path, that is, how many barriers it
crosses and about where; each of its maxima is then refined by itself (`eigenvector`, `dimer`).

G. Henkelman, B. P. Uberuaga and H. Jonsson, J. Chem. Phys. 113, 9901 (2000) (climbing image); G. Henkelman and H. Jonsson, ibid. 9978 (tangent);
S. Smidstrup, A. Pedersen, K. Stokbro and H. Jonsson, J. Chem. Phys. 140, 214106 (2014) (IDPP).
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.mep import NEB
from ase.optimize import FIRE
from scipy.signal import find_peaks

from mdapp.minima.identity import rotation
from mdapp.minima.landscape.charts import torsion_path
from mdapp.minima.landscape.surface import Surface
from mdapp.relax.internals import Internals


@dataclass(frozen=True)
class BandOptions:
    """How a path is found. Defaults serve dihedral barriers of peptides."""

    images: int = 7  # between the two ends, at least
    spacing: float = 0.35  # Å, RMS displacement between images where the ends are far apart
    most_images: int = 25
    spring: float = 0.1  # eV/Å²
    fmax: float = 0.4  # eV/Å, largest force on the band before its highest image begins to climb
    climb_fmax: float = 0.15  # eV/Å, at the end
    steps: int = 70  # of both parts together
    max_step: float = 0.2  # Å

    def __post_init__(self) -> None:
        if not 1 <= self.images <= self.most_images:
            raise ValueError(f"images must be from 1 to most_images = {self.most_images}, got {self.images}.")
        if self.steps < 0:
            raise ValueError(f"steps must be 0 or more, got {self.steps}.")


@dataclass(frozen=True)
class Band:
    """A path, its two ends included."""

    positions: np.ndarray  # (n_images, n_atoms, 3), Å
    energies: np.ndarray  # (n_images,), eV
    converged: bool

    def tops(self, prominence: float = 0.003) -> list[int]:
        """Images that stand out by `prominence` eV from the lower of the dips beside them, the highest first; the ends are none."""
        found, _ = find_peaks(self.energies, prominence=prominence)
        return sorted(found.tolist(), key=lambda k: -self.energies[k])

    def shoulder(self) -> int:
        """Of a path without a top: the image beside its higher end. A low saddle may lie between the two."""
        return 1 if self.energies[0] > self.energies[-1] else len(self.energies) - 2

    def flanks(self, top: int) -> list[int]:
        """Images halfway between a top and each end, the side of the higher end first; those that are the top or an end are left out."""
        last = len(self.energies) - 1
        halves = [top // 2, (top + last + 1) // 2]
        return [k for k in (halves if self.energies[0] > self.energies[-1] else halves[::-1]) if k not in (0, top, last)]

    def tangent(self, image: int) -> np.ndarray:
        """(n_atoms, 3) direction of the path at an image, of length one."""
        along = self.positions[min(image + 1, len(self.positions) - 1)] - self.positions[max(image - 1, 0)]
        return along / np.linalg.norm(along)


def find_path(surface: Surface, start: np.ndarray, end: np.ndarray, options: BandOptions = BandOptions(), internals: Internals | None = None) -> Band:
    """Relax a band between two sets of positions (n_atoms, 3), Å, that are aligned and whose atoms correspond.

    Parameters
    ----------
    internals : where given, a first guess that turns torsions is tried beside that of IDPP, and the one with the lower top is taken.

    Raises
    ------
    ValueError : the two are the same.
    FloatingPointError : an energy on the way is not finite.
    """
    apart = float(np.sqrt(np.mean(np.sum((end - start) ** 2, axis=1))))
    if apart < 1e-3:
        raise ValueError(f"The two ends of a path are {apart:.1g} Å apart: they are one minimum.")
    count = int(np.clip(np.ceil(apart / options.spacing), options.images, options.most_images))
    images = [surface.atoms.copy() for _ in range(count + 2)]
    images[0].positions, images[-1].positions = start, end
    energies, forces = surface(np.stack([start, end]))
    for image, e, f in zip((images[0], images[-1]), energies, forces, strict=True):
        image.calc = SinglePointCalculator(image, energy=float(e), forces=f)
    ends = [image.calc for image in (images[0], images[-1])]
    NEB(images, method="improvedtangent").interpolate(method="idpp")  # by a plain band: it puts a potential of distances on the images
    images[0].calc, images[-1].calc = ends
    band = _BatchedNEB(surface, images, k=options.spring, method="improvedtangent")
    if internals is not None:
        _lower_guess(surface, band, torsion_path(internals, start, end, count))
    climbing = options.steps // 3
    _run(band, options.fmax, options.steps - climbing, options.max_step)
    band.climb = True
    converged = _run(band, options.climb_fmax, climbing, options.max_step)
    band.get_forces()
    return Band(np.stack([image.positions for image in images]), np.array([image.get_potential_energy() for image in images]), converged)


def _lower_guess(surface: Surface, band: _BatchedNEB, turned: np.ndarray) -> None:
    """Take the images of another guess (n_images, n_atoms, 3) where its highest one lies lower."""
    given = np.stack([image.positions for image in band.images])
    energies, _ = surface(np.concatenate([given[1:-1], turned[1:-1]]))
    tops = np.where(np.isfinite(energies), energies, np.inf).reshape(2, -1).max(axis=1)
    if tops[1] < tops[0]:
        last = band.images[-1]
        turn = rotation(turned[-1] - turned[-1].mean(axis=0), last.positions - last.positions.mean(axis=0))
        forces = last.calc.results["forces"] @ turn
        for image, x in zip(band.images, turned, strict=True):
            image.positions = x
        last.calc = SinglePointCalculator(last, energy=float(last.calc.results["energy"]), forces=forces)
        band.images[0].calc = SinglePointCalculator(band.images[0], **band.images[0].calc.results)


def _run(band: _BatchedNEB, fmax: float, steps: int, max_step: float) -> bool:
    return bool(FIRE(band, logfile=None, maxstep=max_step).run(fmax=fmax, steps=steps))


class _BatchedNEB(NEB):
    """ASE's band, whose images are evaluated together."""

    def __init__(self, surface: Surface, images: list[Atoms], **options: object):
        super().__init__(images, **options)
        self.surface = surface
        self._evaluated: np.ndarray | None = None  # where the images were; ASE's searches ask several times for one place

    def get_forces(self) -> np.ndarray:
        inner = self.images[1:-1]
        places = np.stack([image.positions for image in inner])
        if self._evaluated is not None and np.array_equal(places, self._evaluated):
            return super().get_forces()
        energies, forces = self.surface(places)
        if not (np.all(np.isfinite(energies)) and np.all(np.isfinite(forces))):
            raise FloatingPointError("an energy or a force on the path is not finite")
        for image, e, f in zip(inner, energies, forces, strict=True):
            image.calc = SinglePointCalculator(image, energy=float(e), forces=f)
        self._evaluated = places
        return super().get_forces()
