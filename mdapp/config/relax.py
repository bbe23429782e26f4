"""What `mdapp relax` was asked."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mdapp.config.words import (
    CHARGE, COMPILE, CUDA_GRAPHS, DEVICE, DTYPE, ELECTROSTATICS, LONG_RANGE, MULTIPLICITY, POTENTIAL, RADIAL_TABLE, THREADS, Dtype, check_common,
)  # fmt: skip
from mdapp.record import Record, chosen, option, positive, whole


@dataclass(frozen=True)
class RelaxConfig(Record):
    """Structures brought to their nearest minimum."""

    structure: tuple[str, ...] = option(help="Structures: files, patterns such as 'confs/*.xyz', files with many frames, folders of runs.")
    potential: tuple[str, ...] = option(help=POTENTIAL, short="p", metavar="P")
    stride: int = option(1, "Take every so many frames of a file or a run with many.")
    optimiser: str = option("lbfgs", "lbfgs, internal or fire (many structures together); bfgs, bfgslinesearch, fire2 or preconditioned (one after another).")
    fmax: float | None = option(
        None, "Converged when the largest force is below this; 0.01, or 2 % of the potential's typical force where that is less, when not given.", unit="eV/Å")
    steps: int = option(1000, "Most steps for one structure.")
    frequencies: bool = option(
        False, "Vibrational frequencies at the end (in double precision); imaginary modes are followed downhill, so that a minimum is known to be one.")
    temperature: float = option(298.15, "Temperature of the harmonic free energy, with --frequencies.", unit="K")
    cell: bool = option(False, "Relax the cell too (needs a periodic structure; one after another).")
    pressure: float = option(0.0, "Pressure on the cell when it is relaxed.", unit="bar")
    mask: str | None = option(None, "Strains that the cell may make, such as xx,yy or xx,yy,zz; all between periodic directions when not given.",
                              metavar="xx,yy,zz,yz,xz,xy")
    hydrostatic: bool = option(False, "The cell keeps its shape: one scale factor for the three directions.")
    constant_volume: bool = option(False, "The cell keeps its volume.")
    in_flight: int = option(256, "Most structures that relax at the same time.")
    resume: bool = option(False, "Go on in the --output folder of an earlier `mdapp relax` of the same structures: what is there is not done again.")
    device: str = option("auto", DEVICE)
    dtype: Dtype | None = option(None, DTYPE)
    charge: int | None = option(None, CHARGE)
    multiplicity: int | None = option(None, MULTIPLICITY)
    output: str | None = option(
        None, "One structure: FILE.extxyz or a folder; STRUCTURE-relaxed.extxyz when not given. Many: a folder; STRUCTURE-relaxed when not given.",
        short="o", metavar="FILE|FOLDER")
    threads: int | None = option(None, THREADS)
    long_range_cutoff: float | str | None = option(None, LONG_RANGE, metavar="Å|none")
    electrostatics: Literal["pairs", "ewald"] | None = option(None, ELECTROSTATICS, metavar="pairs|ewald")
    compile: bool = option(False, COMPILE)
    radial_table: bool = option(True, RADIAL_TABLE)
    cuda_graphs: bool = option(True, CUDA_GRAPHS)

    def check(self) -> None:
        check_common(self)
        if not self.structure:
            raise ValueError("structure: name at least one file.")
        whole(self, "stride", 1, 10**9)
        positive(self, "fmax")
        whole(self, "steps", 0, 10**9)
        whole(self, "in_flight", 1, 10**6)
        if not 0 <= self.temperature < 1e5:
            raise ValueError(f"temperature must be 0 to 100000 K, got {self.temperature:g}.")
        chosen("optimiser", self.optimiser, ["lbfgs", "internal", "fire", "bfgs", "bfgslinesearch", "fire2", "preconditioned"])
        for name, given in (("pressure", f"{self.pressure:g} bar"), ("mask", self.mask), ("hydrostatic", self.hydrostatic), ("constant_volume", True)):
            if getattr(self, name) and not self.cell:
                raise ValueError(f"{name} = {given} is given, but the cell stays as it is. Leave it out, or add --cell.")
        if self.cell and self.optimiser in ("preconditioned", "internal"):
            raise ValueError(f"optimiser {self.optimiser} keeps the cell as it is. Take lbfgs, bfgs or fire with --cell.")
        if self.resume and self.output is None:
            raise ValueError("resume: name the folder to go on in with --output.")
        for word in self.strains:
            chosen("mask", word, ["xx", "yy", "zz", "yz", "xz", "xy"])

    @property
    def sharp(self) -> float:
        """`fmax`, which the job has settled by its potential."""
        assert self.fmax is not None, "fmax is not settled"
        return self.fmax

    @property
    def strains(self) -> list[str]:
        """The words of the mask."""
        return [word.strip().lower() for word in self.mask.split(",")] if self.mask else []
