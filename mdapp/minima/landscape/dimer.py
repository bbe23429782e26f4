"""From near a saddle to the saddle without a Hessian: ASE's dimer, started along a given direction.

Slower than `eigenvector` where Hessians are cheap (small molecules), the only choice where they are not. The end is judged by the same rule.

G. Henkelman and H. Jonsson, J. Chem. Phys. 111, 7010 (1999); J. Kaestner and P. Sherwood, J. Chem. Phys. 128, 014106 (2008).
"""
from __future__ import annotations

import numpy as np
from ase.mep import DimerControl, MinModeAtoms, MinModeTranslate

from mdapp.minima.landscape.eigenvector import Climbed, FollowOptions
from mdapp.minima.landscape.surface import Surface, lowest_modes


def dimer(surface: Surface, positions: np.ndarray, direction: np.ndarray, options: FollowOptions = FollowOptions(steps=400),
          rng: np.random.Generator | None = None) -> Climbed:
    """Climb to a saddle of first order; parameters as in `eigenvector.follow`, `direction` is where the dimer points at first."""
    atoms = surface.at(positions)
    direction = direction / np.linalg.norm(direction)
    control = DimerControl(initial_eigenmode_method="displacement", displacement_method="vector", logfile=None, eigenmode_logfile=None,
                           max_num_rot=4, dimer_separation=1e-3, maximum_translation=options.trust)
    moving = MinModeAtoms(atoms, control, eigenmodes=[direction.copy()], random_seed=int((rng or np.random.default_rng(0)).integers(2**31)))
    search = MinModeTranslate(moving, logfile=None)
    arrived = bool(search.run(fmax=options.fmax, steps=options.steps))
    steps = search.nsteps
    x = atoms.positions.copy()
    energies, forces = surface(x[None])
    hessian = surface.hessian(x)
    values, vectors = lowest_modes(hessian, surface.inner(x))
    negative = int(np.sum(values < 0))
    reason = f"{options.steps} steps were not enough" if not arrived else "converged" if negative == 1 else f"{negative} negative eigenvalues in place of one"
    fmax = float(np.linalg.norm(forces[0], axis=1).max())
    return Climbed(x, float(energies[0]), fmax, values, vectors[:, 0].reshape(x.shape), hessian, reason == "converged", steps, reason)
