"""What a run says of itself: the header, the summary that machines read, the closing block."""
from __future__ import annotations

import math
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mdapp import version
from mdapp.analysis.midstep import THERMAL_IN_THE_MIDDLE, in_the_middle, middle_words, midstep_excess_K
from mdapp.analysis.statistics import Drift, Mean
from mdapp.analysis.verdict import SHORT, doubts_of, judge, relaxations_of, shows_drift
from mdapp.config import RunConfig
from mdapp.errors import EXIT_FINISHED, EXIT_GUARD, EXIT_STOPPED
from mdapp.jobs._charge import charge_words, state_words
from mdapp.jobs._long_range import long_range_words
from mdapp.quantities import shown_time

if TYPE_CHECKING:
    from ase import Atoms

    from mdapp.jobs._start import Start
    from mdapp.simulation import Outcome

PACKAGES = ("ase", "torch", "numpy", "scipy", "h5py", "mdtraj", "vesin")
SAMPLED = 100  # frames of which a mean is taken
SHOWN_FROM = 5  # independent samples from which an error is shown
WATER = ("HOH", "WAT", "H2O", "SOL", "TIP3", "TIP")


def header(start: Start, folder: Path | None, first_step: int = 0) -> list[tuple[str, str]]:
    """Rows of (label, sentence): structure, potential, charge and long range where it knows them, ensemble, length, guards, output."""
    c, p = start.config, start.potential
    rows = [("structure", structure_words(start)), ("potential", potential_words(start))]
    if p.source != p.title:
        rows.append(("", f"from {p.source}"))
    if p.knows_charge:
        rows.append(("charge", state_words(start.original, c.charge, c.multiplicity, p.knows_spin)))
    far = long_range_words(start.original, c.long_range_cutoff, p, c.electrostatics)
    if far:
        rows.append(("long range", far))
    rows += start.changes
    rows.append(("ensemble", ensemble_words(c, start.ensemble)))
    if c.schedule is not None:
        rows.append(("schedule", str(c.schedule)))
    done = f", going on at step {first_step}" if first_step else ""
    frames = f"a frame every {c.every} ({shown_time(c.every * c.timestep)})"
    rows.append(("length", f"{c.steps} steps of {c.timestep:g} fs = {shown_time(c.length_fs)}, {frames}{done}"))
    names = [guard.name for guard in start.guards]
    rewinds = f", at most {c.rewinds} times" if c.on_event == "rewind" else ""
    rows.append(("guards", f"{', '.join(names) or 'off (non-finite numbers still stop the run)'}; on event: {c.on_event}{rewinds}"))
    code = ", compiled (a minute the first time; the code is kept for later runs)" if c.compile else ""
    table = getattr(p.calculator, "radial_table", None)
    if table is not None:
        code += f", radial filters from a table (off by {table.rms:.0e} rms, {table.largest:.0e} at most)"
    rows.append(("machine", f"{c.device}, {p.dtype}, {c.threads} thread{'s' if c.threads != 1 else ''}, seed {c.seed}{code}"))
    if folder is not None:
        rows.append(("output", str(folder)))
    return rows


def structure_words(start: Start) -> str:
    """'peptide.xyz: C12H22N4O4, 42 atoms, charge 0, ACE-ALA-ALA-ALA-NME, no cell'."""
    atoms = start.original
    parts = [f"{atoms.get_chemical_formula('hill')}, {len(atoms)} atom{'s' if len(atoms) != 1 else ''}", f"charge {charge_words(atoms.info.get('charge', 0))}"]
    residues = sequence_words(start.topology)
    if residues:
        parts.append(residues)
    if atoms.pbc.any():
        lengths = " x ".join(f"{length:.2f}" for length in atoms.cell.lengths())
        parts.append(f"cell {lengths} Å" + ("" if atoms.pbc.all() else f", periodic along {''.join(x for x, p in zip('abc', atoms.pbc) if p)}"))
    return f"{start.config.structure}: {', '.join(parts)}"


def sequence_words(topology: Any, longest: int = 12) -> str:
    """The residues of the peptide chains, caps included, and how much water; '' where there is no residue that has a name."""
    names = [r.name for r in topology.residues]
    waters = sum(name in WATER for name in names)
    peptide = [name for name in names if name not in WATER and name not in ("UNL", "UNK", "MOL", "LIG", "") and not _is_ion(name)]
    words = []
    if peptide:
        shown = peptide if len(peptide) <= longest else [*peptide[: longest // 2], f"...({len(peptide) - longest})...", *peptide[-(longest // 2):]]
        words.append("-".join(shown))
    if waters:
        words.append(f"{waters} water{'s' if waters > 1 else ''}")
    return ", ".join(words)


def _is_ion(name: str) -> bool:
    return len(name) <= 2


def potential_words(start: Start) -> str:
    """'so3krates.pt: So3krates, GFN2-xTB, H C N O S, cutoff 5 Å'."""
    from ase.data import chemical_symbols

    p = start.potential
    parts = [p.architecture] if p.architecture != p.title else []
    parts += [p.theory] if p.theory else []
    parts += [" ".join(chemical_symbols[z] for z in p.elements)] if p.elements is not None and len(p.elements) <= 12 else []
    parts += [f"{len(p.elements)} elements"] if p.elements is not None and len(p.elements) > 12 else []
    parts += [f"cutoff {p.cutoff:g} Å"] if p.cutoff else []
    return f"{p.title}: {', '.join(parts)}" if parts else p.title


def ensemble_words(config: RunConfig, ensemble: Any) -> str:
    """'NVT, Langevin (BAOAB), 300 K, friction 1 /ps'."""
    words = [str(getattr(ensemble, "title", config.method))]
    words.append(f"{config.temperature:g} K" + (" at the start" if config.ensemble == "nve" else ""))
    shown = {
        "friction_per_ps": "friction {:g} /ps", "thermostat_time_fs": "thermostat {:g} fs", "pressure_bar": "{:g} bar", "barostat_time_fs": "barostat {:g} fs",
    }  # fmt: skip
    if config.method == "nvt-andersen":
        shown["friction_per_ps"] = "{:g} collisions of an atom in a ps"
    for field, text in shown.items():
        if hasattr(ensemble, field):
            words.append(text.format(getattr(ensemble, field)))
    if getattr(ensemble, "flexible", False):
        words.append("flexible cell")
    if getattr(ensemble, "cell_mask", None):
        words.append(f"cell vectors {ensemble.cell_mask}")
    return ", ".join(words)


def versions() -> dict[str, str]:
    """Python, mdapp and the packages that a result hangs on."""
    found = {"python": platform.python_version(), "mdapp": version()}
    for name in PACKAGES:
        try:
            found[name] = installed(name)
        except PackageNotFoundError:
            pass
    return found


@dataclass(frozen=True)
class Speed:
    """How fast this session went."""

    steps: int
    seconds: float
    timestep_fs: float

    @property
    def ms_per_step(self) -> float | None:
        return 1000 * self.seconds / self.steps if self.steps else None

    @property
    def ns_per_day(self) -> float | None:
        return self.steps * self.timestep_fs * 1e-6 / (self.seconds / 86400) if self.steps and self.seconds > 0 else None


@dataclass(frozen=True)
class Ending:
    """The verdict on a run as far as it has come, and why."""

    verdict: str  # sound, suspect, too short or stopped
    status: str  # finished, interrupted or stopped
    why: str
    exit_code: int


def ending(outcome: Outcome, config: RunConfig, reason: str | None, numbers: Numbers, warnings: dict[str, int],
           rewinds: Sequence[dict[str, Any]] = (), start_warnings: Sequence[str] = ()) -> Ending:
    """Sound, suspect, too short to tell, or stopped.

    Parameters
    ----------
    reason : why the loop was asked to stop, where it was.
    warnings : how often each guard raised an alarm, in all sessions of the run.
    rewinds : the run's returns to an earlier moment.
    start_warnings : what was said of the start; those that cast doubt on all that follows make the run suspect.
    """
    length_fs = outcome.step * config.timestep
    at = f"step {outcome.step} of {config.steps} ({shown_time(length_fs)})"
    if outcome.cause is not None:
        verdict = outcome.cause.verdict
        tried = f" {len(rewinds)} rewind{'s' if len(rewinds) != 1 else ''} did not help." if rewinds else ""
        return Ending("stopped", "stopped", f"guard {verdict.monitor} at {at}: {verdict.reason}.{tried}", EXIT_GUARD)
    target = None if config.ensemble == "nve" or config.schedule is not None else config.temperature
    relaxations = relaxations_of(length_fs, config.method, config.friction, config.thermostat_time)
    judgement = judge(drift=numbers.drift if numbers.long_enough else None, temperature=in_the_middle(numbers.temperature, numbers.midstep_excess_K),
                      target_K=target, warnings=warnings,
                      relaxations=relaxations, doubts=doubts_of(start_warnings, rewinds), length_fs=length_fs)
    if judgement.word == SHORT:
        word, said = SHORT, f", no guard raised an alarm; {judgement.sentence}"
    elif judgement.reasons:
        word, said = "suspect", f", but {judgement.sentence}"
    else:
        word, said = "sound", ", no guard raised an alarm" + ("." if numbers.long_enough else "; too few frames to judge a drift.")
    if outcome.reason == "finished":
        return Ending(word, "finished", f"finished {config.steps} steps ({shown_time(config.length_fs)}){said}", EXIT_FINISHED)
    return Ending(word, "interrupted", f"interrupted by {reason or 'request'} at {at}{said}", EXIT_STOPPED)


@dataclass(frozen=True)
class Numbers:
    """What the thermo table of the whole run says."""

    drift: Drift | None  # of the conserved energy, meV/atom/ps
    temperature: Mean | None  # K, the approach to equilibrium left out
    long_enough: bool = False  # to hold a drift against the run
    midstep_excess_K: float | None = None  # of the temperature in the middle of the steps, where that is the one that counts

    @property
    def rows(self) -> list[tuple[str, str]]:
        """For the closing block."""
        found = []
        if self.temperature is not None:
            error = f" ± {self.temperature.error:.2g}" if self.temperature.n_independent >= SHOWN_FROM else ""
            found.append(("T", f"{self.temperature.value:.1f}{error} K{middle_words(self.temperature, self.midstep_excess_K)}"))
        if self.drift is not None:
            found.append(("drift", f"{self.drift.slope:+.3g} ± {self.drift.error:.1g} meV/atom/ps of the conserved energy"))
        return found

    @property
    def summary(self) -> dict[str, float | None]:
        drift, mean = self.drift, self.temperature
        return {
            "drift_meV_atom_ps": _finite(drift.slope if drift else None), "drift_error_meV_atom_ps": _finite(drift.error if drift else None),
            "temperature_K": _finite(mean.value if mean else None), "temperature_error_K": _finite(mean.error if mean else None),
            "midstep_excess_K": _finite(self.midstep_excess_K),
        }


def numbers_of(folder: Path, atoms: Atoms, config: RunConfig) -> Numbers:
    """Drift and mean temperature from the thermo table on disk, all sessions of the run included; nothing where a guard refused the very first frame."""
    from mdapp.analysis.statistics import sound_mean
    from mdapp.analysis.thermo import thermo_of_columns
    from mdapp.trajectory import load_series, sample_frames
    from mdapp.trajectory.write import TRAJECTORY

    if not (folder / TRAJECTORY).exists():
        return Numbers(None, None)
    thermo = thermo_of_columns(load_series(folder).columns, len(atoms))
    if len(thermo) < 3 or thermo.T_K is None:
        return Numbers(None, None)
    relaxations = relaxations_of(float(thermo.time_fs[-1] - thermo.time_fs[0]), config.method, config.friction, config.thermostat_time)
    thermal = config.method in THERMAL_IN_THE_MIDDLE
    excess_K = midstep_excess_K(sample_frames(folder, SAMPLED), config.timestep, atoms.constraints) if thermal else None
    return Numbers(thermo.drift_meV(), sound_mean(thermo.T_K, relaxations), shows_drift(thermo.time_fs), excess_K)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
