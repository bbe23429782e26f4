"""`mdapp evaluate`: how far a potential is off, on labelled data.

Files are read lazily and in one pass, so that a file of any length is evaluated in little memory: of each frame a few numbers stay, of its atoms a
sample for the figures. Energies are compared as they are, without a shift; the mean signed error, and what other reference energies would take
away, say whether the zeros differ.
"""
from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mdapp.analysis.conformers import conformers, together
from mdapp.analysis.energy_offsets import energy_offsets
from mdapp.analysis.errors import HOPELESS, Compared, FrameTable, Tally
from mdapp.analysis.sampling import Reservoir
from mdapp.config import EvaluateConfig
from mdapp.errors import EXIT_FINISHED, OutputError, UserError
from mdapp.jobs._evaluate_data import Frame, LabelledDataError, LeftOut, evenly, frames_of, listening, portions
from mdapp.jobs._evaluate_doubts import Doubts, refuse_without_doubts
from mdapp.jobs._evaluate_predict import Predict, Predictions, predictor
from mdapp.jobs._evaluate_worst import Bad, Worst
from mdapp.screen import Screen, silent

if TYPE_CHECKING:
    from mdapp.jobs._potential import LoadedPotential

DRAWN_FORCES = 60_000  # atoms whose forces are drawn
WORST_SHOWN = 3

__all__ = ["EvaluateResult", "LabelledDataError", "evaluate"]


@dataclass(frozen=True)
class EvaluateResult:
    """Errors of each data set, and how the job ended."""

    summary: dict[str, Any]
    exit_code: int = EXIT_FINISHED


@dataclass
class Evaluated:
    """The errors on one file."""

    tally: Tally
    worst: Worst
    samples: Reservoir  # (n, 7): element, labelled force, predicted force
    left_out: LeftOut
    seconds: float = 0.0
    doubts: Doubts | None = None  # where calibration is asked for

    @cached_property
    def table(self) -> FrameTable:
        return self.tally.table

    @cached_property
    def symbols(self) -> dict[int, str]:
        """Symbols of the elements that occur, by atomic number."""
        from ase.data import chemical_symbols

        return {z: chemical_symbols[z] for z in sorted(self.tally.elements)}

    @cached_property
    def summary(self) -> dict[str, Any]:
        """Plain finite data; what had no label is left out."""
        from mdapp.jobs._evaluate_write import offsets_summary

        tally = self.tally
        of_molecules = conformers(self.table)
        errors = tally.all.metrics
        summary: dict[str, Any] = {
            "errors": errors,
            "energy_after_element_offsets": offsets_summary(energy_offsets(self.table)),
            "molecules": {name: sums.metrics for name, sums in sorted(tally.molecules.items())},
            "elements": {self.symbols[z]: {**sums.metrics, "atoms": sums.atoms} for z, sums in sorted(tally.elements.items()) if sums.atoms},
            "force_bins": tally.force_bins,
            "conformers": {"all": together(of_molecules), "molecules": {name: one.summary for name, one in of_molecules.items()}},
            "worst": {"by_energy": [b.row for b in self.worst.by_energy], "by_forces": [b.row for b in self.worst.by_forces]},
            "frames_not_finite": tally.not_finite,
            "frames_left_out": {"isolated_atoms": self.left_out.isolated, "charged": self.left_out.charged},
            "seconds": round(self.seconds, 3),
        }
        if self.doubts is not None:
            summary["calibration"] = self.doubts.summary
        if "energy_offset_meV_atom" in errors:
            summary["energy_offset_meV_atom"] = errors["energy_offset_meV_atom"]
        return summary


def evaluate(config: EvaluateConfig, screen: Screen | None = None) -> EvaluateResult:
    """Errors of a potential on every file of `config.data`: of all frames, and by molecule, element, size of the force and relative energy.

    Raises
    ------
    UserError : an output folder that exists, an option that does not fit.
    PotentialError : a potential that cannot be loaded or does not know charges that frames have.
    LabelledDataError : data that cannot be read, or with elements that the potential does not know.
    """
    from mdapp.jobs._compute import device_for, set_threads
    from mdapp.jobs._potential import load

    screen = screen or silent()
    folder = None if config.output is None else _fresh(Path(config.output))
    device = device_for(config.device)
    set_threads(config.threads, 1000)  # batches are large
    potential = load(config.potential, device, config.dtype, config.long_range_cutoff, electrostatics=config.electrostatics)
    screen.header(f"mdapp evaluate  {potential.title}", _header(config, potential, device))
    _refuse_what_means_nothing(config, potential)
    if config.calibration:
        refuse_without_doubts(potential)
    predict = predictor(potential, device, config.compile, config.batch_edges, config.calibration)
    found = {path: _evaluated(path, config, potential, predict, screen) for path in dict.fromkeys(config.data)}
    summary = {
        "verdict": "finished", "potential": list(config.potential), "potential_file": potential.source, "potential_sha256": potential.fingerprint,
        "level_of_theory": potential.theory, "dtype": potential.dtype, "device": device, "charge": config.charge, "multiplicity": config.multiplicity,
        "long_range_cutoff": config.long_range_cutoff, "electrostatics": config.electrostatics,
        "data": {path: one.summary for path, one in found.items()}, "exit_code": EXIT_FINISHED,
    }  # fmt: skip
    for path, one in found.items():
        _say(path, one, screen)
    if folder is not None:
        from mdapp.jobs._evaluate_write import write_folder

        write_folder(folder, summary, found)
        screen.say(f"{folder} holds errors.json, tables, figures and the worst frames.")
    return EvaluateResult(summary)


def _evaluated(path: str, config: EvaluateConfig, potential: LoadedPotential, predict: Predict, screen: Screen) -> Evaluated:
    """One file, portion after portion."""
    left_out = LeftOut()
    one = Evaluated(Tally(), Worst(config.worst), Reservoir(DRAWN_FORCES, 7, np.random.default_rng(0)), left_out, doubts=Doubts() if config.calibration else None)
    begin = time.perf_counter()
    done = 0
    with listening(screen.say) as log:
        frames = frames_of(path, config, left_out, potential.knows_charge, potential.knows_spin, potential.title)
        if "energy" not in potential.provides:
            frames = (replace(frame, labelled=replace(frame.labelled, energy=None)) for frame in frames)
        for portion in portions(evenly(frames, config.limit)):
            log.pass_on()
            for chosen, predictions in predict([frame.labelled for frame in portion]):
                _count(one, path, [portion[k] for k in chosen], predictions)
                done += len(chosen)
                if screen.due():
                    screen.live(f"{path}  {done} frames  {done / (time.perf_counter() - begin):.3g} frames/s")
        screen.end_live()
    if not done:
        raise LabelledDataError(f"{path} holds no frame to evaluate{_left_words(left_out)}.")
    one.seconds = time.perf_counter() - begin
    return one


def _count(one: Evaluated, path: str, frames: list[Frame], p: Predictions) -> None:
    """Labels beside predictions of one batch: into the sums, the sample and the worst."""
    c = _compared(frames, p)
    one.tally.add(c)
    if one.doubts is not None:
        one.doubts.add(c, p)
    labelled = np.isfinite(c.forces).all(axis=1)
    if c.predicted_forces is not None and labelled.any():
        rows = np.column_stack([c.numbers, c.forces, np.nan_to_num(c.predicted_forces, nan=HOPELESS, posinf=HOPELESS, neginf=-HOPELESS)])
        one.samples.add(rows[labelled & (np.abs(rows[:, 4:]) < HOPELESS).all(axis=1)])
    if one.worst.size:
        for bad in _bad(path, frames, c):
            one.worst.add(bad)


def _compared(frames: list[Frame], p: Predictions) -> Compared:
    structures = [frame.labelled for frame in frames]
    counts = [len(s.numbers) for s in structures]

    def of_atoms(name: str, width: tuple[int, ...]) -> np.ndarray:
        values = [getattr(s, name) for s in structures]
        return np.concatenate([np.full((n, *width), np.nan) if v is None else np.asarray(v, dtype=np.float64) for v, n in zip(values, counts)])

    def of_frames(name: str, shape: tuple[int, ...]) -> np.ndarray:
        return np.stack([np.full(shape, np.nan) if getattr(s, name) is None else np.asarray(getattr(s, name), dtype=np.float64) for s in structures])

    return Compared(
        number=np.array([frame.number for frame in frames]), molecules=tuple(s.molecule for s in structures),
        start=np.concatenate([[0], np.cumsum(counts)]), numbers=np.concatenate([s.numbers for s in structures]),
        energy=of_frames("energy", ()), predicted_energy=p.energy, forces=of_atoms("forces", (3,)), predicted_forces=p.forces,
        stress=None if p.stress is None else of_frames("stress", (3, 3)), predicted_stress=p.stress,
        charges=None if p.charges is None else of_atoms("charges", ()), predicted_charges=p.charges,
        dipole=None if p.dipole is None else of_frames("dipole", (3,)), predicted_dipole=p.dipole,
    )  # fmt: skip


def _bad(path: str, frames: list[Frame], c: Compared) -> Iterator[Bad]:
    from mdapp.analysis.errors import error

    per_atom = error(c.predicted_energy, c.energy) / c.atom_counts
    off = np.linalg.norm(error(c.predicted_forces, c.forces), axis=1)  # (n_atoms,)
    for k, (frame, a, b) in enumerate(zip(frames, c.start[:-1], c.start[1:])):
        known = np.isfinite(off[a:b]).any()
        atom = int(np.nanargmax(off[a:b])) if known else None
        forces = None if c.predicted_forces is None else c.predicted_forces[a:b]
        yield Bad(path, frame.number, frame.labelled, float(c.predicted_energy[k]), forces, float(per_atom[k]),
                  float(off[a:b][atom]) if atom is not None else float("nan"), atom)


def _refuse_what_means_nothing(config: EvaluateConfig, potential: LoadedPotential) -> None:
    """Options about charge and spin, for a potential that knows none."""
    if config.charge and potential.knows_charge is False and config.charged == "refuse":
        raise UserError(f"charge = {config.charge:+d} is given, but {potential.title} knows no charge. Leave it out, or take a potential that does.")
    if config.multiplicity not in (None, 1) and potential.knows_spin is False:
        raise UserError(f"multiplicity = {config.multiplicity} is given, but {potential.title} knows no unpaired electrons. Leave it out.")


def _header(config: EvaluateConfig, potential: LoadedPotential, device: str) -> list[tuple[str, str]]:
    own = getattr(potential.calculator, "potential", None)
    kind = f"{potential.architecture}, {potential.dtype}, {device}" if own is not None else type(potential.calculator).__name__
    rows = [("data", ", ".join(config.data)), ("potential", f"{potential.source} ({kind})")]
    if potential.theory:
        rows.append(("theory", potential.theory))
    if getattr(own, "has_long_range", False):
        asked = config.long_range_cutoff
        words = "all pairs of a molecule, 12 Å in a cell" if asked is None else "all pairs" if asked == "none" else f"cutoff {asked:g} Å"
        rows.append(("long range", words + ("; electrostatics over all images (Ewald)" if config.electrostatics == "ewald" else "")))
    if potential.knows_charge:
        spin = "" if not potential.knows_spin else ", multiplicity " + ("of each frame" if config.multiplicity is None else f"{config.multiplicity}")
        rows.append(("charge", ("of each frame" if config.charge is None else f"{config.charge:+d} e for every frame (--charge)") + spin))
    return rows


def _say(path: str, one: Evaluated, screen: Screen) -> None:
    s = one.summary
    errors, all_conformers = s["errors"], s["conformers"]["all"]
    parts = [f"energy {errors['energy_mae_meV_atom']:.3g} meV/atom ({errors['energy_mae_meV']:.3g} meV)" if "energy_mae_meV" in errors else "no energies",
             f"forces {errors['forces_mae_meV_A']:.3g} meV/Å" if "forces_mae_meV_A" in errors else "no forces"]
    if "stress_mae_meV_A3" in errors:
        parts.append(f"stress {errors['stress_mae_meV_A3']:.3g} meV/Å³")
    screen.say(f"{path}: {_some(errors['frames'], 'frame')} of {_some(len(s['molecules']), 'molecule')}{_left_words(one.left_out)}; {', '.join(parts)} (MAE).")
    rmse = [f"energy {errors['energy_rmse_meV_atom']:.3g} meV/atom ({errors['energy_rmse_meV']:.3g} meV)" if "energy_rmse_meV" in errors else "",
            f"forces {errors['forces_rmse_meV_A']:.3g} meV/Å" if "forces_rmse_meV_A" in errors else ""]
    screen.say(f"  RMSE: {', '.join(filter(None, rmse))}; angle between forces {errors.get('forces_angle_mean_deg', float('nan')):.2g} degrees on average."
               if any(rmse) else "  Nothing has a label that the potential predicts.")
    if "energy_offset_meV_atom" in s:
        rest = s["energy_after_element_offsets"]["rest_mae_meV_atom"]
        screen.say(f"  The energy is off by {s['energy_offset_meV_atom']:+.3g} meV/atom on average; other reference energies of the elements would leave "
                   f"{rest:.3g} meV/atom (MAE).")
        if rest < 0.2 * errors["energy_mae_meV_atom"] and errors["energy_mae_meV_atom"] > 5:
            screen.warn(f"{path}: nearly all of the energy error is a matter of reference energies: the potential's zero, or the level of theory of the "
                        "labels, is another.")
    if "spearman_median" in all_conformers:
        screen.say(f"  Relative energies of the frames of a molecule: {all_conformers['relative_energy_mae_meV']:.3g} meV (MAE); Spearman "
                   f"{all_conformers['spearman_median']:.3f}, Kendall {all_conformers['kendall_median']:.3f} (median of {all_conformers['molecules']}).")
    if one.doubts is not None:
        one.doubts.say(screen)
        if not one.doubts.summary:
            screen.warn(f"{path}: nothing to calibrate: the potential gave no spread, or fewer than 20 values have a label.")
    if one.tally.not_finite:
        screen.warn(f"{path}: predictions are not finite for {one.tally.not_finite} frames; their errors count as {HOPELESS:g}.")
    for bad in one.worst.by_forces[:WORST_SHOWN] or one.worst.by_energy[:WORST_SHOWN]:
        screen.detail(f"  worst: {bad.labelled.source} ({bad.labelled.molecule}), {_bad_words(bad)}")
    for name, row in sorted(s["molecules"].items(), key=lambda item: -item[1].get("forces_mae_meV_A", item[1].get("energy_mae_meV_atom", 0.0))):
        energy, forces = row.get("energy_mae_meV_atom", float("nan")), row.get("forces_mae_meV_A", float("nan"))
        screen.detail(f"  {name:<40} {energy:9.2f} meV/atom {forces:9.1f} meV/Å {row['frames']:6d} frames")


def _bad_words(bad: Bad) -> str:
    if bad.atom is None:
        return f"energy off by {1000 * bad.energy_error_eV_atom:+.3g} meV/atom"
    return f"force on atom {bad.atom} off by {1000 * bad.force_error_eV_A:.3g} meV/Å"


def _some(n: int, what: str) -> str:
    return f"{n} {what}{'s' if n != 1 else ''}"


def _left_words(left: LeftOut) -> str:
    parts = [_some(left.isolated, "isolated reference atom")] * bool(left.isolated) + [_some(left.charged, "charged frame")] * bool(left.charged)
    return f" ({' and '.join(parts)} left out)" if parts else ""


def _fresh(folder: Path) -> Path:
    if folder.exists():
        raise OutputError(f"{folder} exists already and is not overwritten. Choose another --output or move it away.")
    return folder
