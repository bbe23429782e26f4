"""Are the ensembles that are offered the ensembles that they claim to be?

Every ensemble that is installed is run on cheap systems and held to statistical mechanics, most of it by the package physical_validation (Merz and
Shirts, PLoS ONE 13, e0202764 (2018)): mean and width of the kinetic energy, equipartition, the ratio of two temperatures and of two pressures; and
NVE and the constants of motion to their order in the time step, reversibility and drift. Prints a table; adds it to results/validate_ensembles.csv.

    python scripts/validate_ensembles.py [--systems argon,liquid,water,dipeptide,peptide] [--only 'nvt-*'] [--length 1.0] [--short]

A table is made in as many parts as one likes: what it holds already, of the same length or more, is not run again, unless a figure came out as no number (too
few independent samples for a verdict, although both runs were made up to five times as long). New figures of an ensemble and a system take the place of old ones.
"""
from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
from ase import units
from scipy import stats

from _bench import say_where, table
from _ensemble_runs import EVERY, Run, Series, data_of, minimum, sampled, start
from _ensemble_systems import System, argon, dipeptide, liquid, peptide, water
from _ensemble_table import Row, judged, keep
from _physical_validation import physical_validation, quietly
from mdapp.analysis.statistics import drift
from mdapp.dynamics import ensembles

SIGMAS = 4.0  # of an estimate's own error; some forty estimates are made, of which one in 16 000 lies beyond by chance
ORDER = 0.25  # off 2
REVERSED_A = 1e-8
DRIFT = 1.0  # meV per atom and ns, double precision
DRIFT_EXTENDED = 2.0
INDEPENDENT = 16  # runs from momenta of their own, for the mean and for equipartition
LONGER = 4  # times that two runs are lengthened where what is independent in them fills too few bins for a verdict


def kinetic_rows(name: str, system: System, data: Any, runs: list[Series], temperature_K: float) -> list[Row]:
    """Temperature by the mean and by the width of the kinetic energy.

    The width is physical_validation's. It judges the mean too, but by the autocorrelation of one run, which called a run of 200 relaxation times 5 standard errors off where
    five others were within 2 of theirs: the error here is that of independent runs, and Student's t is turned into the standard deviations of the same probability.
    """
    pv = physical_validation()
    with quietly():
        _, off_width = pv.kinetic_energy.distribution(data, strict=False, verbosity=0, bootstrap_seed=1)
    means = np.array([series.kinetic.mean() for series in runs]) / (0.5 * runs[0].degrees_of_freedom * units.kB * temperature_K)
    t = abs(means.mean() - 1) / (means.std(ddof=1) / np.sqrt(len(means)))
    return [Row(name, system.name, "kinetic energy, mean", float(stats.norm.isf(stats.t.sf(t, len(means) - 1))), "sigma", SIGMAS),
            Row(name, system.name, "kinetic energy, width", float(off_width), "sigma", SIGMAS)]


def equipartition_row(name: str, system: System, runs: list[Series], temperature_K: float) -> Row:
    """The worst of the three directions and of each element, against their share of what can move (the projection onto it, averaged).

    The error is that of the mean over independent runs and knows nothing of time: in a crystal of 32 atoms the directions keep their heat to themselves for
    tens of picoseconds under a global thermostat, and blocks of one run would call that precision.
    """
    atoms = system.build()
    masses = atoms.get_masses()
    groups = [(slice(None), k) for k in range(3)] + [(np.flatnonzero(atoms.numbers == z), slice(None)) for z in np.unique(atoms.numbers)]
    off = np.zeros((len(runs), len(groups)))
    for n, series in enumerate(runs):
        p2 = (series.momenta**2 / masses[None, :, None]).mean(axis=0) / (units.kB * temperature_K)  # (n_atoms, 3)
        share = np.ones_like(p2)
        if ensembles.get(name).conserves_momentum:
            share = np.mean([_internal_shares(x, masses, turns=not atoms.pbc.any()) for x in series.positions[::20]], axis=0)
        off[n] = [(p2 - share)[who][..., axis].sum() for who, axis in groups]
    sigmas = np.abs(off.mean(axis=0)) / (off.std(axis=0, ddof=1) / np.sqrt(len(runs)))
    return Row(name, system.name, "equipartition", float(sigmas.max()), "sigma", SIGMAS + 0.5)  # the worst of several, and Student's tails


def _internal_shares(positions: np.ndarray, masses: np.ndarray, *, turns: bool) -> np.ndarray:
    """(n_atoms, 3): 1 less what drift (and spin) take of each momentum."""
    root, r = np.sqrt(masses)[:, None], positions - masses @ positions / masses.sum()
    fields = [root * np.broadcast_to(e, r.shape) for e in np.eye(3)] + ([root * np.cross(e, r) for e in np.eye(3)] if turns else [])
    q, _ = np.linalg.qr(np.array([f.ravel() for f in fields]).T)
    return 1 - (q**2).sum(axis=1).reshape(-1, 3)


class NoVerdict(Exception):
    """Too little that is independent for one."""


def pair_row(name: str, system: System, what: str, first: Any, second: Any) -> list[Row]:
    """How far the ratio of two distributions is off Boltzmann's, in its own error.

    Raises
    ------
    NoVerdict : after physical_validation's own pruning the two do not overlap.
    """
    pv = physical_validation()
    with quietly():
        try:
            found = pv.ensemble.check(first, second, total_energy=False, verbosity=0, bootstrap_seed=1)
        except pv.util.error.InputError as error:
            raise NoVerdict(str(error.args[-1]).splitlines()[0]) from None
    return [Row(name, system.name, what if len(found) == 1 else f"{what} ({k})", float(value), "sigma", SIGMAS) for k, value in zip(("energy", "volume"), found)]


def pair_rows(what: str, first: Run, second: Run, steps: int) -> list[Row]:
    """The ratio of two states; where their samples are too few for a verdict, the runs go on by as many steps again. No verdict in the end is no pass."""
    for tried in range(LONGER + 1):
        try:
            return pair_row(first.name, first.system, what, first.data, second.data)
        except NoVerdict as none:
            if tried == LONGER:
                return [Row(first.name, first.system.name, f"{what}: {none}", np.nan, "sigma", SIGMAS)]
        first.lengthen(steps)
        second.lengthen(steps)
    raise AssertionError


def thermostat_rows(name: str, system: System, length: float, relaxed: np.ndarray, **options: Any) -> list[Row]:
    """Constant temperature, with or without a barostat: kinetic energy, equipartition, two temperatures, two pressures."""
    boxed = ensembles.get(name).needs_cell
    steps = max(1000, int(system.steps * length))
    states = [(T, system.pressures_bar[0] if boxed and system.pressures_bar else None) for T in system.temperatures_K]
    if boxed and system.pressures_bar:
        states.append((system.temperatures_K[0], system.pressures_bar[1]))
    runs, rows = [], []
    for seed, (T, P) in enumerate(states):
        more = {**options, **({} if P is None else {"pressure_bar": P})}
        stepper = start(name, system, system.timestep_fs, T, seed, relaxed, **more)
        run = Run(name, system, stepper, T, P, sampled(stepper, steps, skip=steps // 10))
        runs.append(run)
        if seed == 0:
            series, part = run.series, max(100, steps // INDEPENDENT)
            late = np.linspace(len(series.positions) // 4, len(series.positions) - 1, INDEPENDENT).astype(int)  # from the minimum they would be cold for long
            short = [sampled(start(name, system, system.timestep_fs, T, 100 + k, series.positions[n], series.cells[n], **more), part, skip=part // 5)
                     for k, n in enumerate(late)]
            rows += [*kinetic_rows(name, system, run.data, short, T), equipartition_row(name, system, short, T), drift_row(name, system, series)]
    rows += pair_rows("two temperatures", runs[0], runs[1], steps)
    if len(runs) == 3:
        rows += pair_rows("two pressures", runs[0], runs[2], steps)
    return [Row(shown(name, options), *(getattr(r, f) for f in ("system", "test", "figure", "unit", "limit"))) for r in rows]


def drift_row(name: str, system: System, series: Series) -> Row:
    """Slope of the constant of motion; what lies within four of its errors of zero counts as none.

    The errors of the steps wander with the heat of stiff bonds (by the square of the time step, and back again), so that the residuals of the line are correlated. With a
    stochastic bath they add up to a random walk, whose end is uncertain by the root of the number of its blocks.
    """
    n_atoms = series.positions.shape[1]
    time_ns = np.arange(len(series.conserved)) * EVERY * system.timestep_fs * 1e-6
    line = drift(time_ns, series.conserved)
    error = line.error
    if not name.endswith(("nve", "nose-hoover", "mtk")):
        t, e = (np.array([part.mean() for part in np.array_split(values, 20)]) for values in (time_ns, series.conserved))
        error = max(error, np.diff(e).std(ddof=1) * np.sqrt(len(e) - 1) / (t[-1] - t[0]))
    real = np.sign(line.slope) * max(0.0, abs(line.slope) - SIGMAS * error)
    return Row(name, system.name, "drift of the constant of motion", float(1000 * real / n_atoms), "meV/atom/ns", DRIFT if name == "nve" else DRIFT_EXTENDED)


def integrator_rows(system: System, length: float, relaxed: np.ndarray) -> list[Row]:
    """NVE: order of the energy's error, physical_validation's measure of it, the way back, the drift."""
    pv = physical_validation()
    T, dt = system.temperatures_K[0], system.timestep_fs
    span = max(40, int(400 * length))  # of the longest step
    series = [sampled(start("nve", system, dt * 2 / k, T, 1, relaxed), span * k, every=k) for k in (1, 2, 4)]
    errors = np.array([np.std(s.conserved) for s in series])
    orders = np.log2(errors[:-1] / errors[1:])
    rows = [Row("nve", system.name, f"order of the error, less 2 ({name})", float(order - 2), "", ORDER) for name, order in zip(("2 to 1", "1 to 1/2"), orders)]
    with quietly():
        data = [data_of("nve", system, s, T, None, dt * 2 / k) for s, k in zip(series, (1, 2, 4))]
        for one in data:
            one.ensemble = pv.data.EnsembleData("NVE", natoms=len(system.molecule_of), volume=series[0].volumes[0], energy=float(one.observables.total_energy[0]))
        off = pv.integrator.convergence(data, verbose=False)
    rows.append(Row("nve", system.name, "convergence (physical_validation)", float(off), "", 0.25))
    stepper = start("nve", system, dt, T, 1, relaxed)
    begin, n = stepper.atoms.get_positions(), max(50, int(1000 * min(length, 1.0)))
    for _ in range(2):
        for _ in range(n):
            stepper.step()
        stepper.atoms.set_momenta(-stepper.atoms.get_momenta())
    back = float(np.abs(stepper.atoms.positions - begin).max())
    rows.append(Row("nve", system.name, f"{n} steps and back", back, "A", REVERSED_A))
    steps = max(500, int(system.steps * length))
    rows.append(drift_row("nve", system, sampled(start("nve", system, dt, T, 2, relaxed), steps, skip=steps // 10)))
    return rows


def cases(system: System) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each ensemble with its options; barostats only where there is a cell, also under a mask, which needs a solid: a liquid's cell has no shape of its own."""
    for name in ["nve", *(name for name in ensembles.names() if name != "nve")]:
        kind = ensembles.get(name)
        if not (kind.needs_cell and system.pressures_bar is None):
            yield name, {}
            if "cell_mask" in kind.__dataclass_fields__ and system.name != "liquid":
                yield name, {"cell_mask": "1,1,0"}


def shown(name: str, options: Mapping[str, Any]) -> str:
    """'npt-mtk cell_mask=1,1,0'."""
    return name + "".join(f" {k}={v}" for k, v in options.items())


def validated(system: System, length: float, wanted: Callable[[str], bool] = lambda title: True) -> Iterator[list[Row]]:
    """The rows of each ensemble in turn."""
    relaxed: np.ndarray | None = None
    for name, options in cases(system):
        if wanted(shown(name, options)):
            relaxed = minimum(system) if relaxed is None else relaxed
            yield integrator_rows(system, length, relaxed) if name == "nve" else thermostat_rows(name, system, length, relaxed, **options)


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--systems", default="argon,liquid,water,dipeptide", help="of argon, liquid, water, dipeptide and peptide")
    parser.add_argument("--only", action="append", default=[], metavar="PATTERN", help="ensembles, such as nvt-* (may be repeated)")
    parser.add_argument("--length", type=float, default=1.0, help="times the usual length")
    parser.add_argument("--peptide", type=Path, default=Path(__file__).parents[1] / "examples" / "peptide.xyz")
    parser.add_argument("--short", action="store_true", help="a twentieth of the length: shows that all runs, proves little")
    parser.add_argument("--again", action="store_true", help="also what the table holds already")
    parser.add_argument("--no-row", action="store_true", help="add nothing to results/validate_ensembles.csv")
    asked = parser.parse_args(words)
    length = 0.05 if asked.short else asked.length
    makers = {"argon": argon, "liquid": liquid, "water": water, "dipeptide": dipeptide, "peptide": lambda: peptide(asked.peptide)}
    unknown = set(asked.systems.split(",")) - set(makers)
    if unknown:
        parser.error(f"no system {', '.join(sorted(unknown))}; known: {', '.join(makers)}.")
    where, rows = say_where(threads=1, seed=0), []
    for system in (makers[name]() for name in asked.systems.split(",")):
        known = set() if asked.no_row or asked.again else judged(length)

        def wanted(title: str, system: System = system, known: set[tuple[str, str]] = known) -> bool:
            return (title, system.name) not in known and (not asked.only or any(fnmatch(title, pattern) for pattern in asked.only))

        for part in validated(system, length, wanted):
            rows += part
            for row in part:
                print(f"{row.ensemble:40s} {row.system:8s} {row.test:40s} {row.figure:10.3g} {row.unit:12s} limit {row.limit:g}  {row.verdict}", flush=True)
            if not asked.no_row:
                keep(part, length, where)
    failed = [row for row in rows if row.verdict != "pass"]
    print()
    if not rows:
        print("Nothing is left to run: the table holds it all.")
        return 0
    print(table([[r.ensemble, r.system, r.test, f"{r.figure:.3g}", r.unit, f"{r.limit:g}", r.verdict] for r in failed or rows],
                ("ensemble", "system", "test", "figure", "unit", "limit", "verdict")))
    print(f"{len(rows) - len(failed)} of {len(rows)} figures within their limits.")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
