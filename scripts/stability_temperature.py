"""How does a potential hold as it gets hotter? Failures per nanosecond against temperature, from the runs of a stability study.

    python scripts/stability_temperature.py [survival.csv ...] [--structures NAME ...] [--output FOLDER]

Reads the tables that scripts/stability_study.py writes (scripts/results/survival.csv when none is given) and writes stability_temperature.csv and .png: failures of all
runs of one potential at one temperature in the time that they simulated together, with exact Poisson limits. Where no run failed there is an upper limit, and no more.
"""
from __future__ import annotations

import argparse
import csv
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from _bench import RESULTS

from mdapp.analysis.failure_rate import FailureRate, failure_rate
from mdapp.plots.stability import failures_against_temperature
from mdapp.plots.style import save


def read_runs(paths: Sequence[Path], structures: Sequence[str] = ()) -> dict[str, dict[float, tuple[list[float], list[bool]]]]:
    """Times in ps and whether they ended in a failure, by potential and temperature."""
    found: dict[str, dict[float, tuple[list[float], list[bool]]]] = defaultdict(lambda: defaultdict(lambda: ([], [])))
    for path in paths:
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                if not structures or Path(row["structure"]).stem in structures or row["structure"] in structures:
                    times, failed = found[row["potential"]][float(row["temperature_K"])]
                    times.append(float(row["time_ps"]))
                    failed.append(bool(int(row["failed"])))
    return found


def rates_of(runs: dict[str, dict[float, tuple[list[float], list[bool]]]]) -> dict[str, dict[float, FailureRate]]:
    """Failure rates by potential and temperature; runs without a step are left out."""
    return {name: {T: failure_rate(np.array(times), np.array(failed)) for T, (times, failed) in sorted(by.items()) if sum(times) > 0} for name, by in runs.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("tables", nargs="*", type=Path, default=[RESULTS / "survival.csv"])
    parser.add_argument("--structures", nargs="+", default=[])
    parser.add_argument("--output", type=Path, default=RESULTS)
    asked = parser.parse_args()
    missing = [str(path) for path in asked.tables if not path.is_file()]
    if missing:
        parser.error(f"no table {', '.join(missing)}; scripts/stability_study.py writes one")
    rates = rates_of(read_runs(asked.tables, asked.structures))
    if not rates:
        parser.error(f"no run of {', '.join(asked.structures) or 'any structure'} in {', '.join(map(str, asked.tables))}")
    asked.output.mkdir(parents=True, exist_ok=True)
    with (asked.output / "stability_temperature.csv").open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(["potential", "temperature_K", "runs", "failures", "simulated_ps", "failures_per_ns", "low_per_ns", "high_per_ns", "level"])
        for name, by in rates.items():
            for T, rate in by.items():
                out.writerow([name, f"{T:g}", rate.runs, rate.failures, *(f"{x:.4g}" for x in (rate.simulated_ps, rate.per_ns, rate.low_per_ns, rate.high_per_ns, rate.level))])
                print(f"{name:12s} {T:6g} K: {rate.failures} of {rate.runs} runs failed in {rate.simulated_ps:.4g} ps, {rate.low_per_ns:.3g} to {rate.high_per_ns:.3g} per ns")
    print(save(failures_against_temperature(rates), asked.output / "stability_temperature.png"))


if __name__ == "__main__":
    main()
