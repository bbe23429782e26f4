"""`mdapp evaluate --calibration`: is a potential as unsure as it is wrong?"""
from __future__ import annotations

import csv
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mdapp.analysis.calibration import Calibration, binned, calibration, finds_worst, spearman
from mdapp.analysis.sampling import Reservoir
from mdapp.errors import UserError

if TYPE_CHECKING:
    from mdapp.analysis.errors import Compared
    from mdapp.jobs._evaluate_predict import Predictions
    from mdapp.jobs._potential import LoadedPotential
    from mdapp.screen import Screen

KEPT = 100_000  # atoms, and frames


def _reservoir(width: int) -> Any:
    return field(default_factory=lambda: Reservoir(KEPT, width, np.random.default_rng(0)))


@dataclass
class Doubts:
    """Errors beside what the potential said of them."""

    forces: Reservoir = _reservoir(4)  # (n, 4): error of each component and the spread of one component, eV/Å
    energies: Reservoir = _reservoir(2)  # (n, 2): error and spread per atom, eV
    distances: Reservoir = _reservoir(2)  # (n, 2): distance from the training set and size of the force error, eV/Å
    frames: Reservoir = _reservoir(3)  # (n, 3): of each frame the force error (RMSE), the largest spread and the largest distance, NaN where there is none

    def add(self, c: Compared, p: Predictions) -> None:
        """One batch."""
        if p.energy_spread is not None:
            rows = np.column_stack([c.predicted_energy - c.energy, p.energy_spread]) / c.atom_counts[:, None]
            self.energies.add(rows[np.isfinite(rows).all(axis=1)])
        if c.predicted_forces is None:
            return
        error = c.predicted_forces - c.forces
        if p.forces_spread is not None:
            rows = np.column_stack([error, p.forces_spread / np.sqrt(3.0)])
            self.forces.add(rows[np.isfinite(rows).all(axis=1)])
        if p.domain_distance is not None:
            rows = np.column_stack([p.domain_distance, np.linalg.norm(error, axis=1)])
            self.distances.add(rows[np.isfinite(rows).all(axis=1)])
        largest = lambda x: np.full(len(c.start) - 1, np.nan) if x is None else np.maximum.reduceat(x, c.start[:-1])
        rms = np.sqrt(np.add.reduceat(np.square(error).sum(axis=1), c.start[:-1]) / (3 * c.atom_counts))
        rows = np.column_stack([rms, largest(p.forces_spread), largest(p.domain_distance)])
        self.frames.add(rows[np.isfinite(rows[:, 0])])

    @cached_property
    def of_forces(self) -> Calibration | None:
        rows = self.forces.rows
        return calibration(rows[:, :3], np.repeat(rows[:, 3:], 3, axis=1))

    @cached_property
    def of_energies(self) -> Calibration | None:
        return calibration(*self.energies.rows.T)

    @cached_property
    def summary(self) -> dict[str, Any]:
        """Plain data; only what there was enough of."""
        found: dict[str, Any] = {}
        for name, one in (("forces", self.of_forces), ("energy_per_atom", self.of_energies)):
            if one is not None:
                found[name] = one.summary
        if "forces" in found:
            found["forces"]["spearman_frames"] = self._of_frames(1)
        rows = self.distances.rows
        if len(rows):
            outside = rows[:, 0] > 1
            rms = lambda x: float(1000 * np.sqrt(np.mean(np.square(x)) / 3)) if len(x) else None
            found["domain_distance"] = {"spearman": spearman(rows[:, 0], rows[:, 1]), "spearman_frames": self._of_frames(2),
                                        "auroc_worst_tenth": finds_worst(rows[:, 0], rows[:, 1]), "share_outside": float(outside.mean()), "values": len(rows),
                                        "forces_rmse_inside_meV_A": rms(rows[~outside, 1]), "forces_rmse_outside_meV_A": rms(rows[outside, 1])}
        return found

    def _of_frames(self, column: int) -> float | None:
        """Rank correlation of the largest doubt on an atom of a frame with the error of the frame."""
        rows = self.frames.rows
        rows = rows[np.isfinite(rows[:, column])]
        return spearman(rows[:, column], rows[:, 0]) if len(rows) > 2 else None

    def say(self, screen: Screen) -> None:
        for name, one in (("forces", self.of_forces), ("energies", self.of_energies)):
            if one is not None:
                screen.say(f"  Calibration of {name}: miscalibration area {one.area:.3f}; spreads times {one.scale:.3g} would leave {one.area_scaled:.3f}; "
                           f"Spearman of spread and error {one.spearman:.2f}{_worst(one.finds_worst)}.")
        far = self.summary.get("domain_distance")
        if far:
            words = [f"{key.split('_')[2]} {value:.3g} meV/Å" for key, value in far.items() if key.startswith("forces") and value is not None]
            screen.say(f"  Distance from the training set: {100 * far['share_outside']:.2g} % of the atoms are outside; RMSE {', '.join(words)}; "
                       f"Spearman with the error {far['spearman']:.2f}{_worst(far['auroc_worst_tenth'])}.")

    def write(self, folder: Path, suffix: str, title: str) -> None:
        """Curves as tables and figures, each where there is something to see."""
        from mdapp.plots.style import save
        from mdapp.plots.uncertainty import calibration_curve, error_by_distance

        rows = self.forces.rows
        values = {"forces": (self.of_forces, rows[:, :3].ravel(), np.repeat(rows[:, 3], 3), "eV/Å"),
                  "energy": (self.of_energies, *self.energies.rows.T, "eV/atom")}
        for name, (one, errors, spreads, unit) in values.items():
            if one is None:
                continue
            with (folder / f"calibration-{name}{suffix}.csv").open("w", newline="", encoding="utf-8") as file:
                table = csv.writer(file)
                table.writerow(["expected", "observed", "observed_scaled"])
                table.writerows([f"{v:.6g}" for v in row] for row in zip(one.expected, one.observed, one.scaled))
            figure = calibration_curve(one.expected, one.observed, one.scaled, one.area, one.area_scaled, one.scale, *binned(errors, spreads), unit, title)
            save(figure, folder / f"calibration-{name}{suffix}")
        if len(self.distances.rows) >= 20:
            distance, error = self.distances.rows.T
            save(error_by_distance(*binned(error, distance), "eV/Å", title), folder / f"errors-by-distance{suffix}")


def _worst(found: float | None) -> str:
    return "" if found is None else f", AUROC for the worst tenth {found:.2f}"


def refuse_without_doubts(potential: LoadedPotential) -> None:
    """UserError for a potential of ours that says nothing of its doubts; a stranger's calculator is asked."""
    own = getattr(potential.calculator, "potential", None)
    if own is None or getattr(own, "domain", None) is not None or hasattr(own, "members") or own.energy_heads > 1:
        return
    raise UserError(f"calibration is asked for, but {potential.title} does not say how sure it is. Name several potentials (-p a.pt -p b.pt), a pattern such as "
                    "'m*.pt', one with several heads, or one that keeps the domain of its training set.")
