"""The models of the message-passing study and how they come about: reference runs, parts of them, configs with changes, trainings."""
from __future__ import annotations

import gzip
import os
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data" / "lammps"
HEADS = ("energy", "both", "vector", "pair", "free")
COUNTS = (5, 20, 50, 200)  # argon frames to learn from


def _head(head: str, **train: Any) -> dict[str, Any]:
    return {"rotations": head == "free", **train, "potential": {"config": {"head": head}}}


def _argon(n: int) -> dict[str, Any]:
    return {"max_steps": 600, "validate_every": 100, "data": {
        "train": [{"path": "{work}/argon_second.lammpstrj.gz", "filters": {"limit": n}}], "validation": ["{work}/argon_test.lammpstrj.gz"]}}  # fmt: skip


SOAP = {"kind": "soap", "learning_rate": 0.004, "final_learning_rate": 4e-6, "schedule": "cosine", "warmup_steps": 30}
TRANSFER = {"head": "pair", "cutoff": 9.0, "num_layers": 0, "num_features": 24, "element_embedding": False,
            "physical": {"O": [-0.82, 0.0067214, 3.165], "H": [0.41, 0.0, 0.0], "Ar": [0.0, 0.010312, 3.405]}}  # fmt: skip
# name: (config, changes under [train])
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    **{f"argon-{head}": ("lammps_argon_message_passing", _head(head, max_steps=3000)) for head in HEADS},
    "argon-best": ("lammps_argon_message_passing", {"max_steps": 3000, "potential": {"config": {"head": "vector", "cutoff": 9.0}}}),
    "water-energy": ("lammps_water_message_passing", {"max_steps": 1500}),
    "water-vector": ("lammps_water_message_passing", _head("vector", max_steps=1500)),
    **{f"water-{head}-ewald": ("lammps_water_message_passing", _head(head, max_steps=700) | {"potential": {"config": {"head": head, "electrostatics": "ewald"}}})
       for head in ("energy", "vector")},
    "gnnformd-random": ("gnnformd_message_passing", {"epochs": 18, "potential": {"config": {"num_features": 48}}}),
    "gnnformd-random-soap": ("gnnformd_message_passing", {"epochs": 90, "best_by": "loss", "optimiser": SOAP}),
    "gnnformd-random-rms": ("gnnformd_message_passing", {"epochs": 18, "best_by": "loss", "potential": {"config": {
        "num_features": 48, "norm": "rms", "activation": "silu", "element_embedding": True}}, "optimiser": SOAP}),
    "gnnformd-random-vector": ("gnnformd_message_passing", {
        "epochs": 18, "rotations": False, "best_by": "loss", "optimiser": SOAP,
        "potential": {"config": {"head": "vector", "norm": "rms", "activation": "silu", "num_features": 32}}}),
    "gnnformd-time": ("gnnformd_message_passing", {
        "epochs": 18, "potential": {"config": {"num_features": 48}},
        "data": {"train": ["{work}/n216_20to80.lammpstrj.gz"], "validation": ["{work}/n216_100.lammpstrj.gz"]}}),
    "gnnformd-time-vector": ("gnnformd_message_passing", {
        "epochs": 18, "rotations": False, "best_by": "loss", "loss": {"wake": 0.0}, "optimiser": SOAP,
        "potential": {"config": {"head": "vector", "norm": "rms", "activation": "silu", "cutoff": 4.5, "num_features": 32}},
        "data": {"train": ["{work}/n216_20to80.lammpstrj.gz"], "validation": ["{work}/n216_100.lammpstrj.gz"]}}),
    "parent": ("lammps_water_message_passing", {"max_steps": 600, "potential": {"config": TRANSFER}}),
    **{f"scratch-{n}": ("lammps_argon_message_passing", {**_argon(n), "potential": {"config": TRANSFER}}) for n in COUNTS},
    **{f"tuned-{n}": ("lammps_argon_message_passing", {**_argon(n), "fine_tune": {"potential": "{work}/parent/best.pt", "units": "refit"},
                                                       "potential": None}) for n in COUNTS},
}  # fmt: skip


def make_data(work: Path) -> None:
    """A second run of argon, a box of 1728 waters, and a run of 216 that no training has seen: what is there stays."""
    import _lammps_runs

    if not (work / "argon_second.lammpstrj.gz").exists():
        _lammps_runs.argon(work / "argon_second.lammpstrj.gz", seed=113, first=10000, every=100, frames=220)
    if not (work / "water1728_300K.lammpstrj.gz").exists():
        _lammps_runs.water(work / "water1728_300K.lammpstrj.gz", DATA / "water216_topology.data.gz", DATA / "water216_300K.lammpstrj.gz", (2, 2, 2), 7, 1600, 400, 3)
    if not (work / "water216_second.lammpstrj.gz").exists():
        _lammps_runs.water(work / "water216_second.lammpstrj.gz", DATA / "water216_topology.data.gz", DATA / "water216_300K.lammpstrj.gz", (1, 1, 1), 11, 4000, 500, 12)


def parts(work: Path) -> None:
    """Frames of the reference dumps in files of their own: equilibrated parts of GNNforMD's run by time, argon to test with."""
    for name, source, chosen in (
        ("n216_20to80", "water_N216_thinned", range(10, 70)), ("n216_100", "water_N216_thinned", range(80, 90)), ("argon_test", "argon_90K", range(80, 100)),
        ("water216_test", "water216_300K", range(25, 31)),
    ):  # fmt: skip
        target = work / f"{name}.lammpstrj.gz"
        if not target.exists():
            frames = gzip.open(DATA / f"{source}.lammpstrj.gz", "rt").read().split("ITEM: TIMESTEP\n")[1:]
            target.write_bytes(gzip.compress("".join("ITEM: TIMESTEP\n" + frames[k] for k in chosen).encode()))


def train(names: Iterable[str], work: Path, scale: float) -> None:
    """Train what is not there, in the order of MODELS or of the names."""
    from potentials.training.fit import fit
    from potentials.training.config import TrainConfig
    from potentials.typed import from_mapping

    parts(work)
    os.chdir(ROOT)
    for name in names or MODELS:
        folder = work / name
        if (folder / "errors.json").exists():
            continue
        if not name.startswith(("argon", "water", "gnnformd", "parent")) and not (work / "argon_second.lammpstrj.gz").exists():
            print(f"{name}: no argon_second.lammpstrj.gz in {work}; make it with `data`. Left out.", flush=True)
            continue
        settings = settings_of(name, work, scale)
        print(f"--- {name}", flush=True)
        fit(from_mapping(TrainConfig, settings, name), resume=(folder / "last.pt").exists())


def settings_of(name: str, work: Path, scale: float = 1.0) -> dict[str, Any]:
    """[train] of a model: its config with its changes."""
    config, changes = MODELS[name]
    settings = merged(tomllib.loads((ROOT / "examples" / "training" / f"{config}.toml").read_text())["train"], filled(changes, work))
    for key in ("max_steps", "epochs"):
        if key in settings:
            settings[key] = max(1, round(scale * settings[key]))
    return {**settings, "output": str(work / name)}


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with tables merged and other values replaced; None takes a key away."""
    out = dict(base)
    for key, value in changes.items():
        out[key] = merged(base.get(key) or {}, value) if isinstance(value, Mapping) else value
    return {key: value for key, value in out.items() if value is not None}


def filled(value: Any, work: Path) -> Any:
    if isinstance(value, str):
        return value.replace("{work}", str(work))
    if isinstance(value, Mapping):
        return {key: filled(v, work) for key, v in value.items()}
    return [filled(v, work) for v in value] if isinstance(value, list) else value
