"""Make training data for peptides from nothing: molecules by RDKit, geometries by MMFF94 and GFN2-xTB, labels by tblite.

    python scripts/generate_training_data.py data/peptides --workers 8
    python scripts/generate_training_data.py data/smoke --quick

Writes FOLDER/train.h5 and FOLDER/validation.h5 in the layout of SPICE (one group a molecule; bohr, hartree, hartree/bohr), which
`mdapp train` reads. The labels are GFN2-xTB (semi-empirical), whatever the data sets' names say: gas phase, closed shell, 300 K electronic
temperature, accuracy 0.2. The molecules stand in training_molecules.toml. Each finished molecule is a file in FOLDER/parts: a
stopped run goes on with the next one, and one seed gives one data set. Needs rdkit and tblite (extra `reference`).

C. Bannwarth, S. Ehlert, S. Grimme, J. Chem. Theory Comput. 15, 1652 (2019) (GFN2-xTB).
"""
from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")  # one molecule a process; before numpy and tblite are loaded

import argparse
import json
import multiprocessing
import sys
import time
import tomllib
import zlib
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import h5py
import numpy as np

BOHR_A, HARTREE_EV = 0.529177210903, 27.211386245988
LARGEST_FORCE = 30.0  # eV/Å; frames above it are dropped
UNPAIRED = {1: 1, 6: 2, 7: 3, 8: 2, 16: 2}  # of free atoms
MOLECULES = Path(__file__).with_name("training_molecules.toml")
THREE = dict(zip("ARNDCQEGHILKMFPSTWYV", "Ala Arg Asn Asp Cys Gln Glu Gly His Ile Leu Lys Met Phe Pro Ser Thr Trp Tyr Val".split()))


@dataclass(frozen=True)
class Molecule:
    """One entry of the list."""

    name: str
    smiles: str
    subset: str
    split: str  # train or validation


@dataclass(frozen=True)
class Settings:
    """What the data hang on; a folder made with other ones is refused."""

    frames: int = 120  # a molecule, about
    seed: int = 1
    quick: bool = False


def molecules(path: Path = MOLECULES) -> list[Molecule]:
    """The molecules of a list, in its order.

    Raises
    ------
    ValueError : two of one name, a part of a complex that is no small molecule, an unknown subset.
    """
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    small = {**content["train"]["small"], **content["validation"].get("small", {})}
    found = [m for split in ("train", "validation") for m in _of_split(split, content[split], small)]
    names = [m.name for m in found]
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise ValueError(f"{path.name} names {', '.join(twice)} more than once.")
    return found


def _of_split(split: str, subsets: dict, small: dict[str, str]) -> list[Molecule]:
    found = []
    for subset, entries in subsets.items():
        if subset == "small":
            found += [Molecule(name, smiles, subset, split) for name, smiles in entries.items()]
        elif subset in ("capped", "uncapped"):
            found += [Molecule(*_peptide(sequence, subset == "capped"), subset, split) for sequence in " ".join(entries).split()]
        elif subset == "complex":
            for parts in entries:
                foreign = [p for p in parts.split("+") if p not in small and not p.startswith("Ac-")]
                if foreign:
                    raise ValueError(f"complex {parts}: no small molecule '{foreign[0]}' in the list; a capped peptide is written Ac-ALA with one-letter codes.")
                smiles = [small.get(p) or _peptide(p[3:], True)[1] for p in parts.split("+")]
                found.append(Molecule(parts, ".".join(smiles), subset, split))
        else:
            raise ValueError(f"unknown subset '{subset}' of {split}; known: small, capped, uncapped, complex.")
    return found


def _peptide(sequence: str, capped: bool) -> tuple[str, str]:
    """Name and SMILES of a peptide with acetyl and N-methylamide, or with NH2 and COOH."""
    from make_peptide import peptide_smiles

    codes, smiles = "-".join(THREE[letter] for letter in sequence), peptide_smiles(sequence)
    return (f"Ac-{codes}-NHMe", smiles) if capped else (codes, smiles.removeprefix("CC(=O)").removesuffix("NC") + "O")


def make(molecule: Molecule, settings: Settings, part: Path) -> tuple[int, int]:
    """Sample and label one molecule, write its part file. Returns frames kept and dropped."""
    from _sampling import Lengths, sample
    from tblite.ase import TBLite

    rng = np.random.default_rng([settings.seed, zlib.crc32(molecule.name.encode())])
    lengths = Lengths(apart=28.0, frames_per_burst=2, relax_steps=8) if settings.quick else Lengths()
    gfn2 = TBLite(method="GFN2-xTB", accuracy=0.2, verbosity=0)
    kept: list[tuple[int, dict[str, np.ndarray]]] = []
    dropped = 0
    numbers = np.zeros(0, np.int16)
    for kind, atoms in sample(molecule.smiles, settings.frames, gfn2, rng, lengths):
        numbers = atoms.numbers.astype(np.int16)
        labels = label(atoms.numbers, atoms.positions)
        sound = labels is not None and np.linalg.norm(labels["gradient"], axis=1).max() * HARTREE_EV / BOHR_A <= LARGEST_FORCE
        dropped += not sound
        if labels is not None and sound:
            kept.append((kind, labels))
    if not kept:
        raise RuntimeError("no frame is left: all forces too large, or no self-consistent field converged")
    _write_part(part, molecule, numbers, np.array([k for k, _ in kept], np.uint8), {name: np.array([f[name] for _, f in kept]) for name in kept[0][1]})
    return len(kept), dropped


def label(numbers: np.ndarray, positions: np.ndarray) -> dict[str, np.ndarray] | None:
    """Energy (hartree), gradient (hartree/bohr), dipole (e bohr) and charges (e) of a neutral, closed-shell frame centred on the origin
    (positions in bohr); None where the self-consistent field does not converge. `positions` are in Å."""
    centred = (positions - positions.mean(0)) / BOHR_A
    centred = centred.astype(np.float32).astype(float)  # the label is that of the geometry as stored
    try:
        found = _single_point(numbers, centred)
    except RuntimeError:
        return None
    labels = {"positions": centred, "energy": np.float64(found.get("energy")), "gradient": found.get("gradient"), "dipole": found.get("dipole"), "charges": found.get("charges")}
    return labels if all(np.isfinite(v).all() for v in labels.values()) else None


def _single_point(numbers: np.ndarray, positions_bohr: np.ndarray, unpaired: int = 0):
    from tblite.interface import Calculator

    calculator = Calculator("GFN2-xTB", np.asarray(numbers, int), positions_bohr, 0.0, unpaired)
    calculator.set("verbosity", 0)
    calculator.set("accuracy", 0.2)
    return calculator.singlepoint()


def atom_energies(numbers: Sequence[int]) -> dict[int, float]:
    """GFN2-xTB energies of free atoms in their high-spin states, hartree, by atomic number."""
    return {int(z): float(_single_point(np.array([z]), np.zeros((1, 3)), UNPAIRED[int(z)]).get("energy")) for z in sorted(set(numbers))}


def _write_part(part: Path, molecule: Molecule, numbers: np.ndarray, kinds: np.ndarray, labels: dict[str, np.ndarray]) -> None:
    """Whole or not at all: written aside and renamed."""
    free = atom_energies(numbers.tolist())
    aside = part.with_name(part.name + ".tmp")
    with h5py.File(aside, "w") as file:
        group = file.create_group(molecule.name)
        group.attrs["total_charge"] = 0
        group.create_dataset("atomic_numbers", data=numbers)
        for name, values, unit in (
            ("conformations", labels["positions"].astype(np.float32), "bohr"), ("dft_total_energy", labels["energy"], "hartree"),
            ("formation_energy", labels["energy"] - sum(free[int(z)] for z in numbers), "hartree"),
            ("dft_total_gradient", labels["gradient"].astype(np.float32), "hartree/bohr"), ("scf_dipole", labels["dipole"].astype(np.float32), "e*bohr"),
            ("gfn2_charges", labels["charges"].astype(np.float16), "e"), ("frame_kind", kinds, ""),
        ):  # fmt: skip
            dataset = group.create_dataset(name, data=values, compression="gzip", shuffle=True)
            if unit:
                dataset.attrs["units"] = unit
        for name, text in (("smiles", molecule.smiles), ("subset", molecule.subset)):
            group.create_dataset(name, data=[text], dtype=h5py.string_dtype())
    os.replace(aside, part)


def merge(folder: Path, entries: Sequence[Molecule], settings: Settings) -> list[Path]:
    """train.h5 and validation.h5 out of the parts."""
    from _sampling import KINDS

    made = []
    for split in ("train", "validation"):
        chosen = [m for m in entries if m.split == split]
        if not chosen:
            continue
        path = folder / f"{split}.h5"
        aside = path.with_name(path.name + ".tmp")
        with h5py.File(aside, "w") as file:
            file.attrs["level_of_theory"] = f"GFN2-xTB (tblite {version('tblite')}), gas phase, closed shell, electronic temperature 300 K, accuracy 0.2"
            file.attrs["note"] = "data sets named dft_* keep the layout of SPICE; the numbers are GFN2-xTB, not DFT"
            file.attrs["frame_kind"] = ", ".join(f"{k} {name}" for k, name in enumerate(KINDS))
            file.attrs["made_by"] = json.dumps({"script": Path(__file__).name, **asdict(settings), **{p: version(p) for p in ("rdkit", "tblite", "ase", "numpy")}})
            for molecule in chosen:
                with h5py.File(_part(folder, molecule), "r") as part:
                    part.copy(molecule.name, file)
        os.replace(aside, path)
        made.append(path)
    return made


def _part(folder: Path, molecule: Molecule) -> Path:
    return folder / "parts" / f"{molecule.split}-{zlib.crc32(molecule.name.encode()):08x}.h5"


def generate(folder: Path, entries: Sequence[Molecule], settings: Settings, workers: int = 1) -> list[str]:
    """Make what is missing of the data set in `folder`; the names of molecules that failed (none of them merged).

    Raises
    ------
    ValueError : the folder was begun with other settings.
    """
    (folder / "parts").mkdir(parents=True, exist_ok=True)
    begun = folder / "parts" / "settings.json"
    if begun.exists() and json.loads(begun.read_text()) != asdict(settings):
        raise ValueError(f"{folder} was begun with {begun.read_text().strip()}; give the same settings to go on, or another folder.")
    begun.write_text(json.dumps(asdict(settings)) + "\n")
    todo = sorted((m for m in entries if not _part(folder, m).exists()), key=lambda m: -len(m.smiles))  # the longest first: no worker is left alone at the end
    print(f"{len(entries)} molecules, {len(entries) - len(todo)} made before; about {settings.frames} frames each, {workers} processes", flush=True)
    begin, failed = time.monotonic(), []
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        running = {pool.submit(make, m, settings, _part(folder, m)): m for m in todo}
        try:
            for k, job in enumerate(as_completed(running), 1):
                name, seconds = running[job].name, time.monotonic() - begin
                try:
                    kept, dropped = job.result()
                    print(f"{k}/{len(todo)}  {name}: {kept} frames, {dropped} dropped; {seconds:.0f} s, about {seconds / k * (len(todo) - k):.0f} s left", flush=True)
                except Exception as error:  # one bad molecule must not cost the others
                    failed.append(name)
                    print(f"{k}/{len(todo)}  {name} FAILED ({type(error).__name__}): {error}", flush=True)
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
            raise
    for path in merge(folder, [m for m in entries if m.name not in failed], settings):
        with h5py.File(path, "r") as file:
            print(f"{path}: {len(file)} molecules, {sum(len(g['dft_total_energy']) for g in file.values())} frames, {path.stat().st_size / 1e6:.1f} MB")
    return failed


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--molecules", type=Path, default=MOLECULES, help="another list, TOML")
    parser.add_argument("--only", nargs="+", help="these molecules of the list alone, by name")
    parser.add_argument("--frames", type=int, default=Settings.frames, help="frames a molecule, about")
    parser.add_argument("--seed", type=int, default=Settings.seed)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    parser.add_argument("--quick", action="store_true", help="two molecules, a few frames: a smoke test of less than a minute")
    asked = parser.parse_args(words)
    try:
        entries = molecules(asked.molecules)
        only = asked.only or (["methanol", "water+methanol"] if asked.quick else None)
        missing = sorted(set(only or ()) - {m.name for m in entries})
        if missing:
            raise ValueError(f"{asked.molecules.name} has no molecule {', '.join(missing)}.")
        settings = Settings(10 if asked.quick else asked.frames, asked.seed, asked.quick)
        failed = generate(asked.folder, [m for m in entries if only is None or m.name in only], settings, max(1, asked.workers))
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f"Error: {error}")
    except KeyboardInterrupt:
        sys.exit("Interrupted; the same command goes on where it stopped.")
    if failed:
        sys.exit(f"{len(failed)} molecules failed and are left out: {', '.join(failed)}.")


if __name__ == "__main__":
    main()
