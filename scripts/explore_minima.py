"""Which minima does the shipped potential have that its reference has too? The question of the So3krates paper, asked of small peptides.

    python scripts/explore_minima.py question                   search, then reference, an hour at most together
    python scripts/explore_minima.py search                     Ac-Ala3-NHMe: until 1,000 distinct minima are known
    python scripts/explore_minima.py search --cis               the same with cis peptide bonds too
    python scripts/explore_minima.py reference --sample 200     relax a random sample of them with GFN2-xTB: how far they move, in which order they lie
    python scripts/explore_minima.py dipeptide                  Ac-Ala-NHMe: the named basins, saddles between them, populations
    python scripts/explore_minima.py table                      what there is so far

Everything goes on where it was when it is called again: searches from their hops, saddles pair by pair, the reference structure by structure. The work is under
--folder (scratch/explore), results go to scripts/results: explore_minima.csv, explore_basins.csv, explore_reference.csv and .png (with --cis explore_reference_cis).

J. T. Frank, O. T. Unke, K.-R. Müller and S. Chmiela, Nat. Commun. 15, 6539 (2024) (the exploration of minima by
So3krates); C. Bannwarth, S. Ehlert and S. Grimme, J. Chem. Theory Comput. 15, 1652 (2019) (GFN2-xTB).
"""
from __future__ import annotations

import argparse
import csv
import json
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from _bench import RESULTS, SCRATCH, environment, table
from ase import Atoms
from ase.io import write

from mdapp.config import AnalyseConfig, MinimaConfig, ResumeConfig
from mdapp.screen import Screen

POTENTIAL = "so3krates.pt"
PEPTIDES = {"A": "Ac-Ala-NHMe", "AAA": "Ac-Ala3-NHMe"}
SAME = 0.25  # Å, a minimum that the reference moves by no more is the same conformer
KINDS = (0.1, 0.25, 0.5)  # Å, shares that are told


def start_of(sequence: str, folder: Path) -> Path:
    """The capped peptide, extended, built once."""
    path = folder / f"{PEPTIDES[sequence]}.xyz"
    if not path.exists():
        from make_peptide import build

        folder.mkdir(parents=True, exist_ok=True)
        write(path, build(sequence, "ppii", seed=1), format="extxyz")
    return path


def folder_of(sequence: str, asked: argparse.Namespace) -> Path:
    """Where the search of a peptide lives."""
    return asked.folder / f"{PEPTIDES[sequence]}-minima{'-cis' if asked.cis else ''}"


def search(sequence: str, asked: argparse.Namespace, minima: int, seconds: float | None, hops: int | None = None) -> Path:
    """The search's folder, after this session of it."""
    folder = folder_of(sequence, asked)
    kind = {"move": ("dihedral:amides=true", "minima-hopping"), "keep_peptide_bonds": False} if asked.cis else {}
    screen = Screen()
    if not (folder / "run.toml").exists():
        from mdapp.jobs.minima import minima as job

        job(MinimaConfig(structure=str(start_of(sequence, asked.folder)), potential=(asked.potential,), output=str(folder), minima=minima, hops=hops, time=seconds, seed=asked.seed,
                         walkers=asked.walkers, compile=asked.compile, device=asked.device, threads=asked.threads, **kind), screen)
    else:
        from mdapp.jobs.resume import resume

        resume(ResumeConfig(run=str(folder), threads=asked.threads), screen)
    summary = json.loads((folder / "summary.json").read_text())
    if summary["verdict"] == "interrupted":
        raise SystemExit(f"{folder} is interrupted; the same call goes on.")
    note(asked, "search, cis and trans" if asked.cis else "search", PEPTIDES[sequence], {
        "minima": summary["minima"], "hops": summary["hops"], "evaluations": summary["evaluations"], "hours": summary["seconds"] / 3600, "why": summary["why"],
        "per_1000_evaluations": 1000 * summary["minima"] / max(summary["evaluations"], 1), "expected": summary["completeness"]["expected"],
        "coverage": summary["completeness"]["coverage"]})
    return folder


def dipeptide(asked: argparse.Namespace) -> None:
    """Ac-Ala-NHMe: basins by name, saddles between all neighbours, harmonic populations."""
    from mdapp.jobs.analyse import analyse
    from mdapp.minima.landscape.survey import survey
    from mdapp.minima.library import Library

    folder = search("A", asked, minima=10_000, seconds=None, hops=asked.hops)
    report = analyse(AnalyseConfig(run=(str(folder),), saddles=asked.saddles, frequencies=200), Screen()).reports[0]
    with Library(folder, "r") as library:
        view = survey(library)
    rows = []
    for name, k in view.lowest_of_each_region().items():
        phi, psi = float(view.angles.phi_deg[k, 0]), float(view.angles.psi_deg[k, 0])
        rows.append({"basin": name, "minimum": k, "phi_deg": round(phi, 1), "psi_deg": round(psi, 1), "above_lowest_eV": round(float(view.above[k]), 4),
                     "above_lowest_kcal_mol": round(23.060548 * float(view.above[k]), 2), "visits": int(view.visits[k])})
    write_rows(RESULTS / "explore_basins.csv", rows)
    print(table([list(r.values()) for r in rows], list(rows[0])))
    found = report.summary
    note(asked, "landscape", PEPTIDES["A"], {"minima": found["n_minima"], "saddles": found["n_saddles"], "pairs": found["n_pairs_tried"],
                                             "lowest_barrier_eV": found["barriers_eV"][0] if found["barriers_eV"] else ""})


def reference(asked: argparse.Namespace, seconds: float) -> None:
    """Relax a random sample of the minima with GFN2-xTB, each process one at a time, and compare; goes on where it was."""
    from mdapp.minima.library import Library

    folder = folder_of("AAA", asked)
    done_file = asked.folder / ("reference-cis.jsonl" if asked.cis else "reference.jsonl")
    with Library(folder, "r") as library:
        sample = np.random.default_rng(asked.seed).permutation(len(library))[: asked.sample].tolist()
        known = [row for row in read_lines(done_file) if fits(row, library)]
        left = [k for k in sample if k not in {row["minimum"] for row in known}]
        begin, count = time.monotonic(), len(sample) - len(left)
        workers = ProcessPoolExecutor(asked.threads, mp_context=get_context("spawn"), initializer=alone)
        jobs = {workers.submit(referred, library.atoms(k)): k for k in left}
        try:
            with open(done_file, "a", encoding="utf-8") as out:
                for job in as_completed(jobs, timeout=max(seconds, 1.0)):
                    k, end = jobs[job], job.result()
                    row = {"minimum": k, "energy_eV": float(library.energies()[k]), **end, "moved_A": library.identity.distance(library.positions()[k], np.array(end["positions"]))}
                    out.write(json.dumps(row) + "\n")
                    out.flush()
                    count += 1
                    print(f"{count}/{len(sample)}  minimum {k}: moved {row['moved_A']:.3f} Å in {row['steps']} steps{'' if row['converged'] else ', not converged'}  "
                          f"{(time.monotonic() - begin) / (count - len(sample) + len(left)):.1f} s each", flush=True)
        except TimeoutError:
            print(f"The time is up: {count} of {len(sample)}; the same call goes on.")
        finally:
            workers.shutdown(cancel_futures=True)
        compare(asked, library, [row for row in read_lines(done_file) if fits(row, library) and row["converged"]])


def fits(row: dict[str, Any], library: Any) -> bool:
    """Is this of the library's minima, and not of another search's in the same folder?"""
    k = row["minimum"]
    return k < len(library) and abs(row["energy_eV"] - library.energies()[k]) < 1e-6


def alone() -> None:
    """One thread a process."""
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"


def referred(atoms: Atoms) -> dict[str, Any]:
    """Where GFN2-xTB takes a structure."""
    from tblite.ase import TBLite

    from mdapp.relax import relax

    atoms.calc = TBLite(method="GFN2-xTB", verbosity=0, accuracy=0.1)
    end = relax(atoms, "internal", fmax=0.01, steps=500)
    return {"reference_eV": end.energy, "converged": end.converged, "steps": end.n_steps, "positions": end.atoms.positions.round(6).tolist()}


def compare(asked: argparse.Namespace, library: Any, rows: list[dict[str, Any]]) -> None:
    """How many of the minima are minima of the reference, and how many different ones they become."""
    from scipy.stats import spearmanr

    from mdapp.analysis.dihedrals import backbone_torsions, torsion_deg
    from mdapp.minima.regions import named_regions
    from mdapp.plots.minima import agreement
    from mdapp.plots.style import save
    from mdapp.topology import topology_of

    if len(rows) < 3:
        print(f"{len(rows)} minima are relaxed with the reference so far: too few to compare.")
        return
    torsions = backbone_torsions(topology_of(library.reference, library.identity.bonds))
    place = lambda x: named_regions(torsion_deg(x[None], torsions.phi), torsion_deg(x[None], torsions.psi))[0]
    moved = np.array([row["moved_A"] for row in rows])
    energy, ours = np.array([row["reference_eV"] for row in rows]), np.array([row["energy_eV"] for row in rows])
    positions = [np.array(row["positions"]) for row in rows]
    same_fold = np.array([bool(np.all(place(library.positions()[row["minimum"]]) == place(x))) for row, x in zip(rows, positions, strict=True)])
    distinct: list[int] = []  # of the reference
    for k in np.argsort(energy, kind="stable"):
        if not any(abs(energy[k] - energy[j]) < 0.005 and library.identity.same(positions[j], positions[k]) for j in reversed(distinct)):
            distinct.append(int(k))
    kept = (moved <= SAME) & same_fold
    above, reference_above = ours - ours.min(), energy - energy.min()
    write_rows(RESULTS / f"explore_reference{'_cis' if asked.cis else ''}.csv", [
        {"minimum": row["minimum"], "above_lowest_eV": round(float(a), 5), "reference_above_lowest_eV": round(float(b), 5), "moved_A": round(float(m), 4),
         "same_regions": bool(s), "kept": bool(k)} for row, a, b, m, s, k in zip(rows, above, reference_above, moved, same_fold, kept, strict=True)])
    figure = agreement(above, reference_above, moved, kept, "so3krates.pt", "GFN2-xTB", SAME)
    print(save(figure, RESULTS / f"explore_reference{'_cis' if asked.cis else ''}.png"))
    note(asked, "reference, cis and trans" if asked.cis else "reference", PEPTIDES["AAA"], {
        "compared": len(rows), "kept": float(kept.mean()), **{f"within_{d}_A": float(np.mean(moved <= d)) for d in KINDS}, "same_regions": float(same_fold.mean()),
        "distinct_in_reference": len(distinct), "median_moved_A": float(np.median(moved)), "spearman": float(spearmanr(above, reference_above).statistic),
        "mae_of_energies_meV": float(1000 * np.abs((ours - ours.mean()) - (energy - energy.mean())).mean()),
        "lowest_is_lowest": bool(np.argmin(ours) == np.argmin(energy))})


def note(asked: argparse.Namespace, what: str, molecule: str, numbers: dict[str, Any]) -> None:
    """Put a result into explore_minima.csv (one row a question and number, the newest stays) and show it."""
    path = RESULTS / "explore_minima.csv"
    where = environment(asked.threads, asked.device, asked.seed)
    kept = [row for row in read_csv(path) if (row["question"], row["molecule"]) != (what, molecule)]
    rows = kept + [{"question": what, "molecule": molecule, "potential": Path(asked.potential).name, "number": name,
                    "value": f"{value:.4g}" if isinstance(value, float) else str(value), "date": where["date"], "commit": where["commit"], "processor": where["processor"],
                    "cores": where["cores"], "threads": asked.threads, "load": where["load"]} for name, value in numbers.items()]
    write_rows(path, rows)
    print(f"{what}, {molecule}: " + ", ".join(f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in numbers.items()), flush=True)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Whole lines of JSON; a last one that was cut off is left out, and cut off the file."""
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        path.write_text(whole, encoding="utf-8")
    return [json.loads(line) for line in whole.splitlines()]


def read_csv(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines())) if path.exists() else []


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        out = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        out.writeheader()
        out.writerows(rows)


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=["question", "search", "reference", "dipeptide", "table"])
    parser.add_argument("--folder", type=Path, default=SCRATCH / "explore")
    parser.add_argument("--potential", default=POTENTIAL)
    parser.add_argument("--minima", type=int, default=1000, help="search: end at so many")
    parser.add_argument("--hours", type=float, default=1.0, help="end after so long; question: of both, the search at most two thirds of it")
    parser.add_argument("--cis", action="store_true", help="search, reference, question: peptide bonds may turn to cis; with all of them trans there are some 400 minima")
    parser.add_argument("--hops", type=int, default=600, help="dipeptide: end after so many")
    parser.add_argument("--saddles", type=int, default=60, help="dipeptide: pairs of minima between which saddles are looked for")
    parser.add_argument("--sample", type=int, default=200, help="reference: minima to relax")
    parser.add_argument("--walkers", type=int, default=16)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True)
    asked = parser.parse_args(words)
    os.environ.setdefault("OMP_NUM_THREADS", str(asked.threads))
    asked.folder.mkdir(parents=True, exist_ok=True)
    begin, seconds = time.monotonic(), 3600 * asked.hours
    if asked.what == "search":
        search("AAA", asked, asked.minima, seconds)
    elif asked.what == "question":
        finished = folder_of("AAA", asked) / "summary.json"
        if not (finished.exists() and json.loads(finished.read_text())["verdict"] == "finished"):
            search("AAA", asked, asked.minima, 2 / 3 * seconds)
        if json.loads(finished.read_text())["verdict"] != "finished":
            print("The search was stopped; the same call goes on.")
            return
        reference(asked, seconds - (time.monotonic() - begin))
    elif asked.what == "dipeptide":
        dipeptide(asked)
    elif asked.what == "reference":
        reference(asked, seconds)
    else:
        rows = read_csv(RESULTS / "explore_minima.csv")
        print(table([[r["question"], r["molecule"], r["number"], r["value"]] for r in rows], ["question", "molecule", "number", "value"]) if rows else "nothing yet")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main()
