"""Potential energies that belong to a LAMMPS dump, from a log or an .npz beside it."""
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from potentials.data.labelled import DataError
from potentials.data.lammps_text import opened


class Energies:
    """Potential energies by step, or by frame where there are no steps."""

    def __init__(self, path: Path, key: str | None):
        if not path.is_file():
            raise FileNotFoundError(f"No file {path}, which lammps.energies names.")
        self.used = 0
        self._by_step: dict[int, float] | None
        self._by_frame: np.ndarray
        self._by_step, self._by_frame = _npz_energies(path, key) if path.suffix == ".npz" else (_log_energies(path, key or "PotEng"), np.zeros(0))

    def of(self, step: int, frame: int) -> float | None:
        if self._by_step is not None:
            energy = self._by_step.get(step)
        else:
            energy = float(self._by_frame[frame]) if frame < len(self._by_frame) else None
        self.used += energy is not None
        return energy

    def first_steps(self) -> str:
        return ", ".join(map(str, list(self._by_step or {})[:3])) or "nothing"


def _npz_energies(path: Path, key: str | None) -> tuple[dict[int, float] | None, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            there: Mapping[str, np.ndarray] = {name: arrays[name] for name in arrays.files if name in (key, "timestep", "step", "energy", "pe")}
            names = arrays.files
    except Exception as error:
        raise DataError(f"{path} cannot be read as .npz: {error or type(error).__name__}.") from error
    key = key or next((name for name in ("energy", "pe") if name in there), None)
    if key is None or key not in there:
        raise DataError(f"No energies in {path.name}: looked for {key or 'energy, pe'}; there: {', '.join(names)}. Name them with lammps.energies_key.")
    energies = np.ravel(there[key])
    steps = there.get("timestep", there.get("step"))
    return (None if steps is None else dict(zip(np.ravel(steps).astype(int).tolist(), energies.tolist()))), energies


def _log_energies(path: Path, key: str) -> dict[int, float]:
    """Potential energies by step from the tables of a LAMMPS log; of a step printed twice the last."""
    energies: dict[int, float] = {}
    columns: list[str] = []
    with opened(path) as file:
        for text in file:
            words = text.split()
            if words[:1] == ["Step"]:
                columns = words
                if key not in columns:
                    raise DataError(f"No column '{key}' in {path.name}; there: {', '.join(columns)}. Name it with lammps.energies_key.")
            elif columns and len(words) == len(columns) and words[0].isdigit():
                try:
                    energies[int(words[0])] = float(words[columns.index(key)])
                except ValueError:
                    columns = []
            elif text.startswith("Loop time"):
                columns = []
    if not energies:
        raise DataError(f"{path} is no LAMMPS log with a table of Step and {key}.")
    return energies
