"""Frames whose every number follows from their step, so that a file can be checked without the run that wrote it."""
from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.build import molecule

from mdapp.frame import Frame
from mdapp.topology import topology_of

CELL = np.array([[9.0, 0.5, 0.2], [-0.3, 8.0, 0.1], [0.4, -0.6, 10.0]])  # in no standard orientation


def ethanol(periodic: bool = False) -> Atoms:
    atoms = molecule("CH3CH2OH")
    if periodic:
        atoms.cell, atoms.pbc = CELL, True
    return atoms


def shuffled_water() -> Atoms:
    """Two waters, their atoms in turns: residues do not stand together."""
    first, second = molecule("H2O"), molecule("H2O")
    second.translate([4, 0, 0])
    return (first + second)[[0, 3, 1, 4, 2, 5]]


def topology(atoms: Atoms):
    return topology_of(atoms)


def frame(atoms: Atoms, step: int, full: bool = False) -> Frame:
    """The frame of a step; `full` with stress, pressure, spread and charges."""
    rng = np.random.default_rng(step)
    n = len(atoms)
    cell = atoms.cell.array * (1 + 1e-3 * rng.normal()) if atoms.pbc.any() else np.zeros((3, 3))
    more = dict(stress=rng.normal(size=6), pressure=rng.normal(), spread=abs(rng.normal()), extras={"charges": rng.normal(size=n)}) if full else {}
    momenta = rng.normal(size=(n, 3))
    return Frame(
        step=step, time_fs=0.5 * step, numbers=atoms.numbers, masses=atoms.get_masses(), positions=atoms.positions + 0.05 * rng.normal(size=(n, 3)),
        momenta=momenta, forces=rng.normal(size=(n, 3)), cell=cell, pbc=atoms.pbc.copy(), potential_energy=-12345.678901 + rng.normal(),
        kinetic_energy=float((momenta**2 / (2 * atoms.get_masses()[:, None])).sum()), temperature_K=300 + rng.normal(), conserved_energy=-12340 + 1e-6 * rng.normal(),
        **more,
    )  # fmt: skip


def assert_same(found: Frame, expected: Frame) -> None:
    """Equal up to single precision of vectors in nm, and to double precision of scalars."""
    assert found.step == expected.step and abs(found.time_fs - expected.time_fs) < 1e-9
    for name, atol in (("positions", 2e-6), ("momenta", 2e-5), ("forces", 2e-6)):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), atol=atol, rtol=3e-7)
    for name in ("potential_energy", "kinetic_energy", "temperature_K", "conserved_energy"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-13)
    for name in ("cell", "pbc", "numbers", "masses"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    for name in ("stress", "pressure", "spread"):
        assert (getattr(found, name) is None) == (getattr(expected, name) is None)
        if getattr(expected, name) is not None:
            np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-13)
    assert set(found.extras) == set(expected.extras)
    for name, values in expected.extras.items():
        np.testing.assert_allclose(found.extras[name], values, rtol=1e-6)
