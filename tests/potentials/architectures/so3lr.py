"""Published numbers of SO3LR: weights, structures and settings. They live beside the repository, not in it."""
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

from potentials.derivatives import Results, energy_forces_stress
from potentials.imports import imports
from potentials.neighbours import graph_for
from potentials.potential import Potential

FOLDER = Path(__file__).resolve().parents[4] / "shared" / "reference" / "so3lr"
PARAMETERS, PICKLE = FOLDER / "weights" / "so3lr_params.npz", FOLDER / "weights" / "params.pkl"
CUTOFFS = {"lr6": 6.0, "lr12": 12.0, "lr1000": 1000.0, "lrnone": None}  # Å, by the settings' names
TERMS = {"network": "ml", "repulsion": "zbl", "electrostatics": "electrostatic", "dispersion": "dispersion"}


def need(path: Path) -> Path:
    if not path.exists():
        pytest.skip(f"the reference numbers of SO3LR are not here ({path})")
    return path


def names() -> list[str]:
    """All structures; one that stands for the missing folder where there is none."""
    found = sorted(f.stem for f in FOLDER.glob("*.npz") if "intermediates" not in f.stem and f.stem != "water_222")
    return found or ["ethanol"]


@cache
def potential(dtype: str = "float64") -> Potential:
    p = imports.get("so3lr")(need(PARAMETERS))
    return p.double() if dtype == "float64" else p


@cache
def said(name: str) -> dict[str, np.ndarray]:
    return dict(np.load(need(FOLDER / f"{name}.npz"), allow_pickle=False))


def structure(name: str) -> Atoms:
    r = said(name)
    atoms = Atoms(r["numbers"], r["positions"], cell=r["cell"], pbc=r["pbc"])
    atoms.info.update(charge=float(r["charge"]), multiplicity=int(r["multiplicity"]))
    return atoms


def settings(name: str) -> list[str]:
    return [tag for tag in CUTOFFS if f"{tag}.energy" in said(name)]


def evaluate(name: str, tag: str, dtype: str = "float64") -> Results:
    p, atoms = potential(dtype), structure(name)
    p.long_range_cutoff = CUTOFFS[tag]
    return energy_forces_stress(p, graph_for(atoms, p), stress=bool(atoms.pbc.all()))
