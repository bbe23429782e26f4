"""Spectra of the velocities of a peptide at several temperatures, against its harmonic frequencies.

Each temperature is a run of its own with velocity rescaling, which hardly disturbs the velocities' correlations; a run folder that is there already is
used as it is. Writes spectra.png, spectra.svg, one CSV a temperature and harmonic.csv into the output folder.

    python scripts/spectra.py [--structure FILE] [--potential P] [--temperatures 100 300 500] [--time 20ps] [--output spectra]
"""
from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from mdapp.analysis.power_spectrum import power_spectrum
from mdapp.config import RunConfig
from mdapp.jobs.run import run
from mdapp.plots.observables import spectra
from mdapp.plots.style import save
from mdapp.relax import normal_modes, relax
from mdapp.structure import read_structure
from mdapp.trajectory import read_frames
from potentials import load_calculator

FRAME_FS = 2.0  # between stored frames: the spectrum reaches 8300 1/cm
TIMESTEP_FS = 0.5


def harmonic_cm1(structure: str, potential: str) -> np.ndarray:
    """Frequencies of the nearest minimum, (n_modes,)."""
    atoms = read_structure(structure)
    atoms.calc = load_calculator(potential, dtype="float64")
    relaxed = relax(atoms, fmax=1e-3, steps=2000)
    if not relaxed.converged:
        print(f"The relaxation ended before its end ({relaxed.reason}): its frequencies are approximate.")
    relaxed.atoms.calc = atoms.calc
    return normal_modes(relaxed.atoms).frequencies_cm1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--structure", default="../shared/structures/alanine_dipeptide.xyz")
    parser.add_argument("--potential", default="so3krates")
    parser.add_argument("--temperatures", type=float, nargs="+", default=[100.0, 300.0, 500.0])
    parser.add_argument("--time", default="20ps")
    parser.add_argument("--output", default="spectra")
    parser.add_argument("--compile", action="store_true", help="evaluate by compiled code; the physics is the same, the wait is shorter")
    asked = parser.parse_args()
    folder = Path(asked.output)
    folder.mkdir(parents=True, exist_ok=True)
    modes = harmonic_cm1(asked.structure, asked.potential)
    np.savetxt(folder / "harmonic.csv", modes, header="wavenumber_cm1", comments="", fmt="%.2f")
    found = {}
    for kelvin in asked.temperatures:
        place = folder / f"{kelvin:g}K"
        if not (place / "summary.json").exists():
            run(RunConfig(structure=asked.structure, potential=(asked.potential,), ensemble="nvt", thermostat="csvr", temperature=kelvin, time=asked.time,
                          timestep=TIMESTEP_FS, every=round(FRAME_FS / TIMESTEP_FS), output=str(place), compile=asked.compile))
        one = power_spectrum(read_frames(place))
        one.to_csv(folder / f"spectrum-{kelvin:g}K.csv")
        found[f"{kelvin:g} K"] = one
        print(f"{kelvin:6g} K: {one.temperature_K:.0f} K in the spectrum, {one.n_segments} segments of {one.frame_fs:g} fs frames, "
              f"largest above 2500 1/cm at {_peak(one, 2500.0):.0f} 1/cm")
    save(spectra(found, modes, f"Spectra of {Path(asked.structure).stem}"), folder / "spectra.png", svg=True)
    print(f"{folder / 'spectra.png'}; harmonic frequencies from {modes.min():.0f} to {modes.max():.0f} 1/cm")


def _peak(one, above: float) -> float:
    high = one.wavenumber_cm1 > above
    return float(one.wavenumber_cm1[high][one.power_eV_cm[high].argmax()])


if __name__ == "__main__":
    main()
