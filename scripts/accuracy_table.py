"""How accurate are the trained potentials on the published sets, against what must be reached and what others published?

    python scripts/accuracy_table.py [NAME...] [--data FOLDER] [--potentials FOLDER] [--list accuracy.toml] [--results FILE] [--limit N]

Each set of scripts/accuracy.toml is trained by its config (`mdapp train CONFIG`) and measured here by the evaluation of `mdapp evaluate`; its rows take
the place of older rows of the same set, split and metric in scripts/results/accuracy.csv. With --limit the frames are thinned and nothing is kept.
"""
from __future__ import annotations

import argparse
import csv
import os
import shlex
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from _bench import RESULTS, commit, table

SCRIPTS = Path(__file__).resolve().parent
ROOT = SCRIPTS.parent
KCAL = 43.36410390059  # meV in 1 kcal/mol (CODATA 2018, 4.184 J/cal)
SCALE = {"meV": 1.0, "meV/atom": 1.0, "meV/A": 1.0, "kcal/mol": 1 / KCAL, "kcal/mol/A": 1 / KCAL, "1": 1.0, "meV along the path": 1.0}
KEY = ("set", "split", "metric", "unit")
COLUMNS = ("set", "split", "metric", "value", "unit", "must", "aim", "reached", "frames", "parameters", "training_hours", "trained_on", "potential_sha256", "published", "date",
           "commit", "command")
STARTS = 8  # frames from which a proton is sent on its way
SMOOTH_KINK, SMOOTH_SLOPE_MEV = 0.02, 1.0  # a part of the curvature's range; meV for the whole path


def main() -> int:
    words = _words()
    listed = sets(Path(words.list))
    unknown = sorted(set(words.names) - {one["name"] for one in listed})
    if unknown:
        raise SystemExit(f"No set {', '.join(unknown)} in {words.list}; known: {', '.join(one['name'] for one in listed)}.")
    rows: list[dict[str, Any]] = []
    for one in listed:
        if words.names and one["name"] not in words.names:
            continue
        potential = find_potential(one, Path(words.potentials))
        if potential is None:
            print(f"{one['name']}: no {one['name']}.pt and no {one['name']}/best.pt in {words.potentials}; left out.", flush=True)
            continue
        found = measure(one, potential, Path(words.data), words)
        rows += found
        print(shown(found), flush=True)
        if words.limit is None and found:
            write(Path(words.results), found)
    if not rows:
        print("Nothing was measured.", file=sys.stderr)
        return 1
    return 0


def sets(path: Path) -> list[dict[str, Any]]:
    """The list; a set that is `like` another is measured as that one."""
    listed = tomllib.loads(path.read_text())["set"]
    by_name = {one["name"]: one for one in listed}
    return [{**by_name[one["like"]], **one} if "like" in one else one for one in listed]


def _words() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="Sets; all of the list when none is named.")
    parser.add_argument("--data", default=str(ROOT.parent / "shared" / "data"), help="Folder of the data sets.")
    parser.add_argument("--potentials", default=str(RESULTS / "potentials"), help="Folder with NAME.pt or NAME/best.pt.")
    parser.add_argument("--list", default=str(SCRIPTS / "accuracy.toml"))
    parser.add_argument("--results", default=str(RESULTS / "accuracy.csv"))
    parser.add_argument("--limit", type=int, help="At most so many frames of a file, evenly; the rows are shown and not kept.")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int)
    return parser.parse_args()


def find_potential(one: dict[str, Any], folder: Path) -> str | None:
    """A potential file of the folder, or the shipped one that the list names."""
    places = (folder / f"{one['name']}.pt", folder / one["name"] / "best.pt")
    return next((str(place) for place in places if place.is_file()), one.get("potential"))


def measure(one: dict[str, Any], potential: str, data: Path, words: argparse.Namespace) -> list[dict[str, Any]]:
    """Every row of a set whose data are there."""
    with tempfile.TemporaryDirectory() as scratch:
        return _measured(one, potential, data, words, Path(scratch))


def _measured(one: dict[str, Any], potential: str, data: Path, words: argparse.Namespace, scratch: Path) -> list[dict[str, Any]]:
    from mdapp.config import EvaluateConfig
    from mdapp.jobs.evaluate import evaluate

    files = {row["data"]: held_out(data / row["data"], row.get("every"), scratch) for row in one["rows"] if (data / row["data"]).is_file()}
    missing = sorted({row["data"] for row in one["rows"]} - set(files))
    if missing:
        print(f"{one['name']}: {', '.join(missing)} not in {data}; left out.", flush=True)
    if not files:
        return []
    config = EvaluateConfig(data=tuple(map(str, files.values())), potential=(potential,), device=words.device, threads=words.threads,
                            limit=words.limit, worst=0)
    summary = evaluate(config).summary
    same = {**about(potential), "potential_sha256": summary["potential_sha256"][:16], **when(), "command": command(one)}
    rows = []
    for row in one["rows"]:
        if row["data"] in files:
            errors = summary["data"][str(files[row["data"]])]
            value = metric_of(errors, row["metric"])
            if value is None and words.limit is not None:
                continue  # too few frames to rank
            if value is None:
                raise SystemExit(f"{row['data']} gives no {row['metric']}; there: {', '.join({**errors['errors'], **errors['conformers']['all']})}.")
            rows.append(judged(one, row, value * SCALE[row["unit"]], errors["errors"]["frames"], same))
    if "h_transfer" in one and (data / one["h_transfer"]).is_file():
        rows += transfer_rows(one, potential, data / one["h_transfer"], words, same)
    return rows


def held_out(file: Path, every: int | None, scratch: Path) -> Path:
    """The file, or a copy of the frames that a training with `filters.hold_out = every` leaves out."""
    if every is None:
        return file
    from ase.io import read, write

    copy = scratch / f"{file.name.split('.')[0]}_every_{every}.extxyz"
    write(copy, read(file, index=f"::{every}", format="extxyz"), format="extxyz")
    return copy


def metric_of(found: dict[str, Any], name: str) -> float | None:
    """A metric of all frames, or of relative energies."""
    return {**found["errors"], **found["conformers"]["all"]}.get(name)


def judged(one: dict[str, Any], row: dict[str, Any], value: float, frames: int, same: dict[str, Any]) -> dict[str, Any]:
    """A row of the table."""
    return {"set": one["name"], "split": row["split"], "metric": row["metric"].partition("_meV")[0],
            "value": value, "unit": row["unit"], "must": row.get("must", ""), "aim": row.get("aim", ""), "frames": frames,
            "reached": reached(value, row.get("must"), row.get("aim"), row.get("larger_is_better", False)), "published": row.get("published", ""), **same}


def reached(value: float, must: float | None, aim: float | None, larger_is_better: bool = False) -> str:
    """'aim', 'must' or 'no'; '' where no limit is set."""
    def within(limit: float | None) -> bool:
        return limit is not None and (value >= limit if larger_is_better else value <= limit)

    if must is None and aim is None:
        return ""
    return "aim" if within(aim) else "must" if within(must) else "no"


def transfer_rows(one: dict[str, Any], potential: str, file: Path, words: argparse.Namespace, same: dict[str, Any]) -> list[dict[str, Any]]:
    """Barrier and smoothness of the proton's path, in float64."""
    from _transfer import lowest_transfer
    from ase import Atoms

    from potentials import load_calculator
    from potentials.data.read import read_labelled

    starts = [Atoms(frame.numbers, frame.positions) for frame in islice(read_labelled(file), STARTS)]
    path = lowest_transfer(starts, load_calculator(potential, device=words.device, dtype="float64"))
    smooth = path.extrema == 1 and path.kink <= SMOOTH_KINK and path.slope_error_meV <= SMOOTH_SLOPE_MEV
    split = f"H transfer, {len(path.energy)} points"
    limits = [("barrier", path.barrier_meV, "meV", {}), ("barriers_on_the_path", float(path.extrema), "1", {"must": 1, "aim": 1}),
              ("kink", path.kink, "1", {"must": SMOOTH_KINK, "aim": SMOOTH_KINK}),
              ("slope_error", path.slope_error_meV, "meV along the path", {"must": SMOOTH_SLOPE_MEV, "aim": SMOOTH_SLOPE_MEV})]
    rows = [judged(one, {"split": split, "metric": name, "unit": unit, **limit}, value, len(path.energy), same) for name, value, unit, limit in limits]
    rows[1]["reached"] = "aim" if path.extrema == 1 else "no"
    print(f"{one['name']}: the proton's path is {'smooth' if smooth else 'NOT smooth'}: barrier {path.barrier_meV:.1f} meV, {path.extrema} turning point(s).")
    return rows


def about(potential: str) -> dict[str, Any]:
    """Size of a potential, and what its training took, from its card."""
    from potentials import load_potential

    loaded = load_potential(potential)
    card = loaded.card.training
    hours = card.get("hours")
    return {"parameters": sum(p.numel() for p in loaded.parameters()), "training_hours": "" if hours is None else round(float(hours), 3),
            "trained_on": str(card.get("device") or "not stated") + (", compiled" if card.get("compiled") else "")}


def when() -> dict[str, str]:
    from datetime import UTC, datetime

    return {"date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M"), "commit": commit()}


def command(one: dict[str, Any]) -> str:
    """What makes the potential, and what makes the row, from the root of the repository."""
    return f"mdapp train {shlex.quote(one['config'])}; python scripts/accuracy_table.py {one['name']}"


def write(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Put rows in the place of older ones of the same set, split, metric and unit; the file appears whole."""
    kept: dict[tuple[str, ...], dict[str, Any]] = {}
    if path.exists():
        with path.open(newline="", encoding="utf-8") as file:
            kept = {tuple(row[name] for name in KEY): row for row in csv.DictReader(file)}
    for row in rows:
        kept[tuple(str(row[name]) for name in KEY)] = {name: f"{value:.4g}" if isinstance(value, float) else value for name, value in row.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    with part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="", extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(kept.values())
    os.replace(part, path)


def shown(rows: Sequence[dict[str, Any]]) -> str:
    names = ("set", "split", "metric", "value", "unit", "must", "aim", "reached", "frames", "parameters", "training_hours")
    return table([[row[name] for name in names] for row in rows], names) if rows else ""


if __name__ == "__main__":
    sys.exit(main())
