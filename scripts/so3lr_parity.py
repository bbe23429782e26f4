"""Does our SO3LR give the published numbers?

    python scripts/so3lr_parity.py PARAMS REFERENCE_FOLDER

PARAMS are the published parameters (params.pkl, or the flattened .npz), REFERENCE_FOLDER holds one NAME.npz per structure with what the published code
says in float64: energies and their terms, forces, partial charges, Hirshfeld ratios, stress, under several long-range cutoffs. Prints the largest error of
each structure and cutoff in float64 and float32, and writes scripts/results/so3lr_parity.csv anew. Ends with 1 where a tolerance is missed:
float64 1e-8 eV, 1e-8 eV/Å, 1e-9 e (and ratios), 1e-8 eV/Å³; float32 1e-6 |E| + 1e-5 eV and 1e-4 eV/Å.
"""
from __future__ import annotations

import argparse
import csv
import math
import sys
from pathlib import Path

import numpy as np
from _bench import RESULTS, environment
from ase import Atoms

from potentials.derivatives import energy_forces_stress
from potentials.imports import imports
from potentials.neighbours import graph_for
from potentials.potential import Potential

CUTOFFS = {"lr6": 6.0, "lr12": 12.0, "lr1000": 1000.0, "lrnone": None}  # Å
TERMS = {"network": "ml", "repulsion": "zbl", "electrostatics": "electrostatic", "dispersion": "dispersion"}
COLUMNS = ("structure", "atoms", "periodic", "charge", "multiplicity", "long_range", "dtype", "energy_eV", "dE_eV", "dterm_eV", "dF_eV_A", "dq_e", "dratio", "dstress_eV_A3", "within")


def errors(potential: Potential, said: dict[str, np.ndarray], tag: str) -> dict[str, float]:
    """Largest errors of a structure under one setting."""
    atoms = Atoms(said["numbers"], said["positions"], cell=said["cell"], pbc=said["pbc"])
    atoms.info.update(charge=float(said["charge"]), multiplicity=float(said["multiplicity"]))
    potential.long_range_cutoff = CUTOFFS[tag]
    with_stress = f"{tag}.stress" in said
    ours = energy_forces_stress(potential, graph_for(atoms, potential), stress=with_stress)
    assert ours.forces is not None and ours.outputs.charges is not None and ours.outputs.hirshfeld_ratios is not None
    stress = math.nan if not with_stress or ours.stress is None else _largest(ours.stress[0].numpy(), said[f"{tag}.stress"])
    return {
        "dE_eV": abs(float(ours.energy) - float(said[f"{tag}.energy"])),
        "dterm_eV": max(abs(float(ours.outputs.terms[a].sum()) - float(said[f"{tag}.energy_{b}"])) for a, b in TERMS.items()),
        "dF_eV_A": _largest(ours.forces.numpy(), said[f"{tag}.forces"]),
        "dq_e": _largest(ours.outputs.charges.numpy(), said["partial_charges"]),
        "dratio": _largest(ours.outputs.hirshfeld_ratios.numpy(), said["hirshfeld_ratios"]),
        "dstress_eV_A3": stress,
    }


def within(found: dict[str, float], energy: float, dtype: str) -> bool:
    """Are the errors within the tolerances of that precision?"""
    if dtype == "float32":
        return found["dE_eV"] < 1e-6 * abs(energy) + 1e-5 and found["dF_eV_A"] < 1e-4
    limits = {"dE_eV": 1e-8, "dterm_eV": 1e-8, "dF_eV_A": 1e-8, "dq_e": 1e-9, "dratio": 1e-9, "dstress_eV_A3": 1e-8}
    return all(math.isnan(found[name]) or found[name] < limit for name, limit in limits.items())


def rows(parameters: str, folder: Path) -> list[dict[str, object]]:
    """One row for each structure, setting and precision."""
    potentials = {"float64": imports.get("so3lr")(parameters).double(), "float32": imports.get("so3lr")(parameters).float()}
    made: list[dict[str, object]] = []
    for file in sorted(folder.glob("*.npz")):
        said = dict(np.load(file, allow_pickle=False))
        for tag in (tag for tag in CUTOFFS if f"{tag}.energy" in said and "numbers" in said):
            for dtype, potential in potentials.items():
                found, energy = errors(potential, said, tag), float(said[f"{tag}.energy"])
                made.append({
                    "structure": file.stem, "atoms": len(said["numbers"]), "periodic": bool(said["pbc"].all()), "charge": int(said["charge"]),
                    "multiplicity": int(said["multiplicity"]), "long_range": tag.removeprefix("lr"), "dtype": dtype, "energy_eV": energy, **found,
                    "within": within(found, energy, dtype),
                })  # fmt: skip
    return made


def show(made: list[dict[str, object]]) -> None:
    """The table: a line for a structure and setting, float64 to the left, float32 to the right."""
    print(f"{'':27}{'float64':>42}{'float32':>31}")
    print(f"{'structure':<18}{'atoms':>5}{'R/Å':>6}  {'dE':>8}{'dF':>8}{'dq':>8}{'dv':>8}{'dstress':>9}   {'dE/eV':>8}{'dF/(eV/Å)':>11}")
    for double, single in zip(made[::2], made[1::2], strict=True):
        numbers = "".join(_short(double[name], 8) for name in ("dE_eV", "dF_eV_A", "dq_e", "dratio")) + _short(double["dstress_eV_A3"], 9)
        marks = "" if double["within"] and single["within"] else "   MISSED"
        print(f"{double['structure']!s:<18}{double['atoms']:>5}{double['long_range']!s:>6}  {numbers}   {_short(single['dE_eV'], 8)}{_short(single['dF_eV_A'], 11)}{marks}")
    for dtype, part in (("float64", made[::2]), ("float32", made[1::2])):
        worst = {name: max(float(row[name]) for row in part if not math.isnan(float(row[name]))) for name in ("dE_eV", "dterm_eV", "dF_eV_A", "dq_e", "dratio")}  # type: ignore[arg-type]
        print(f"largest of {len(part)} in {dtype}: " + ", ".join(f"{name} {value:.1e}" for name, value in worst.items()))


def _short(value: object, width: int) -> str:
    number = float(value)  # type: ignore[arg-type]
    return " " * (width - 1) + "-" if math.isnan(number) else f"{number:>{width}.0e}"


def _largest(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float(np.abs(ours.astype(float) - theirs).max())


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("parameters", metavar="PARAMS")
    parser.add_argument("folder", metavar="REFERENCE_FOLDER", type=Path)
    asked = parser.parse_args(argv)
    made = rows(asked.parameters, asked.folder)
    if not made:
        parser.error(f"{asked.folder} holds no NAME.npz with reference numbers.")
    show(made)
    where = environment()
    RESULTS.mkdir(parents=True, exist_ok=True)
    with (RESULTS / "so3lr_parity.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, [*COLUMNS, "date", "commit", "torch"], lineterminator="\n")
        writer.writeheader()
        for row in made:
            short = {name: "" if isinstance(v, float) and math.isnan(v) else f"{v:.10g}" if name == "energy_eV" else f"{v:.1e}" if isinstance(v, float) else v for name, v in row.items()}
            writer.writerow({**short, **{name: where[name] for name in ("date", "commit", "torch")}})
    missed = sum(not row["within"] for row in made)
    print(f"{len(made) - missed} of {len(made)} within the tolerances" + (f", {missed} missed" if missed else ""))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
