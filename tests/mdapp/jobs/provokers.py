"""Calculators for `ase:jobs.provokers:NAME` that lead a molecule into one kind of trouble each.

Every atom hangs on a spring whose end stays at the start for 20 evaluations and then goes along a straight line to the end of the trouble, so that
every guard can be shown what it is there for, in a run of some hundred steps.
"""
from __future__ import annotations

import numpy as np
from ase.calculators.calculator import Calculator, all_changes

CALM = 20  # evaluations


class Led(Calculator):
    """Springs whose ends go from the start to `end`."""

    implemented_properties = ["energy", "free_energy", "forces"]
    k = 20.0  # eV/Å²
    evaluations = 150  # on the way

    def __init__(self):
        super().__init__()
        self.start: np.ndarray | None = None
        self.calls = 0

    def end(self, r: np.ndarray) -> np.ndarray:
        """(n_atoms, 3), Å, of the start's."""
        return r

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.calls += 1
        if self.start is None:
            self.start = atoms.positions.copy()
        share = min(max(self.calls - CALM, 0) / self.evaluations, 1.0)
        ends = self.start + share * (self.end(self.start.copy()) - self.start)
        u = atoms.positions - ends
        energy = 0.5 * self.k * float(np.einsum("ij,ij->", u, u))
        self.results = {"energy": energy, "free_energy": energy, "forces": -self.k * u}
        self.disturb(max(self.calls - CALM, 0))

    def disturb(self, calls: int) -> None:
        """Change the results, so many evaluations after the calm."""


class Breaks(Led):
    """Methanol's oxygen leaves its carbon, and takes its hydrogen along."""

    def end(self, r):
        r[[1, 3]] += 2.2 * (r[1] - r[0]) / np.linalg.norm(r[1] - r[0])
        return r


class Hops(Led):
    """The proton of formic acid's OH goes to a water beside it."""

    def end(self, r):
        r[3] = r[5] + 0.97 * (r[3] - r[5]) / np.linalg.norm(r[3] - r[5])
        return r


class Forms(Led):
    """The carbons of two methanes come as close as a bond."""

    def end(self, r):
        r[5:] += (1.55 - np.linalg.norm(r[5] - r[0])) * (r[5] - r[0]) / np.linalg.norm(r[5] - r[0])
        return r


class Collides(Led):
    """The same, and closer still."""

    def end(self, r):
        r[5:] += (0.4 - np.linalg.norm(r[5] - r[0])) * (r[5] - r[0]) / np.linalg.norm(r[5] - r[0])
        return r


class Inverts(Led):
    """CHFClBr through a mirror."""

    def end(self, r):
        return r * (1.0, 1.0, -1.0)


class Turns(Led):
    """The carbonyl side of N-methylacetamide's peptide bond is turned half round: trans becomes cis."""

    def end(self, r):
        axis = (r[6] - r[4]) / np.linalg.norm(r[6] - r[4])
        far = [7, 8, 9, 10, 11]  # what hangs on the nitrogen
        d = r[far] - r[6]
        r[far] = r[6] + 2.0 * (d @ axis)[:, None] * axis - d
        return r


class Buckles(Led):
    """One carbon of benzene leaves the plane."""

    def end(self, r):
        r[[0, 6]] += (0.0, 0.0, 2.4)
        return r


class Evaporates(Led):
    """The second methane leaves."""

    k, evaluations = 60.0, 300

    def end(self, r):
        r[5:] += (30.0, 0.0, 0.0)
        return r


class Heats(Led):
    """Everything is shaken by ever faster, wider springs."""

    evaluations = 1

    def end(self, r):
        t = max(self.calls - CALM, 0)
        return r + 0.0008 * t * np.sin(0.7 * t) * np.random.default_rng(1).standard_normal(r.shape)


class Kicks(Led):
    """The spring of one hydrogen is shaken alone."""

    evaluations = 1

    def end(self, r):
        t = max(self.calls - CALM, 0)
        r[2] += 0.002 * t * np.sin(0.45 * t)
        return r


class Pulls(Led):
    """The force on one atom grows and turns about with every evaluation, too fast for the atom to follow."""

    def disturb(self, calls):
        self.results["forces"][2, 0] += 1.0 * calls * (-1) ** calls


class Drifts(Led):
    """The energy creeps up: at first by 40 meV/ps for each atom, later by 25 times as much."""

    def disturb(self, calls):
        late = max(calls - 300, 0)
        for name in ("energy", "free_energy"):
            self.results[name] += 6 * 0.5e-3 * (0.04 * calls + 0.96 * late)


class Jumps(Led):
    """The energy jumps, at first by 0.3 eV and later by 3."""

    def disturb(self, calls):
        for name in ("energy", "free_energy"):
            self.results[name] += 0.3 * (calls > 15) + 3.0 * (calls > 80)


class Disagrees(Led):
    """A committee's spread that grows, of one atom."""

    def disturb(self, calls):
        self.results["forces_spread"] = np.array([0.02, 0.02, 0.04 * calls, 0.02, 0.02, 0.02])


class Strays(Led):
    """Surroundings that leave the training set."""

    def disturb(self, calls):
        self.results["domain_distance"] = np.array([0.2, 0.2, 0.2, 0.05 * calls, 0.2, 0.2])


class Extrapolates(Led):
    """Descriptors of one atom that leave their range."""

    def disturb(self, calls):
        over = np.array([0.0, 0.02 * calls if calls else 0.0, 0.0, 0.0, 0.0, 0.0])
        self.results["overshoot"], self.results["extrapolations"] = over, (over > 0).astype(np.int64)


class NotANumber(Led):
    """The force on one atom is no number."""

    def disturb(self, calls):
        if calls > 30:
            self.results["forces"][4] = np.nan
