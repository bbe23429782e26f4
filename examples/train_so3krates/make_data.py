"""How ethanol_gfn2_*.extxyz were made: frames of ethanol with GFN2-xTB energies and forces, 60 for training and 20 for validation.

    pip install ".[reference]"
    python examples/train_so3krates/make_data.py

Geometries as in scripts/generate_training_data.py (hot, distorted and relaxing ones), labels by tblite. Energies in eV, forces in eV/Å.
"""
from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "scripts"))


def main() -> None:
    from _sampling import sample
    from ase.calculators.singlepoint import SinglePointCalculator
    from ase.io import write
    from tblite.ase import TBLite

    rng = np.random.default_rng(1)
    gfn2 = TBLite(method="GFN2-xTB", accuracy=0.2, verbosity=0)
    frames = []
    for _, atoms in sample("CCO", 90, gfn2, rng):
        atoms.calc = gfn2
        labels = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()}
        if np.abs(labels["forces"]).max() < 30:
            atoms.calc = SinglePointCalculator(atoms, **labels)
            atoms.positions -= atoms.positions.mean(0)
            frames.append(atoms)
    chosen = [frames[i] for i in rng.permutation(len(frames))[:80]]
    for name, part in (("train", chosen[:60]), ("validation", chosen[60:])):
        write(HERE / f"ethanol_gfn2_{name}.extxyz", part, format="extxyz")


if __name__ == "__main__":
    main()
