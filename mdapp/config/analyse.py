"""What `mdapp analyse` was asked."""
from __future__ import annotations

from dataclasses import dataclass

from mdapp.record import Record, option, positive, whole


@dataclass(frozen=True)
class AnalyseConfig(Record):
    """Numbers and plots from trajectories and from libraries of minima."""

    run: tuple[str, ...] = option(help="Run folders, trajectory files of any program, folders of searches for minima.")
    output: str | None = option(None, "Folder of numbers and plots; RUN/report when not given.", short="o", metavar="FOLDER")
    start: float = option(0.0, "Leave out what lies before this time.", unit="fs")
    topology: str | None = option(
        None, "File with the same atoms, for formats that know no elements: PDB or another structure for dcd, xtc, trr and nc, a LAMMPS data file with masses for dumps.",
        metavar="FILE")
    elements: tuple[str, ...] = option((), "Of a LAMMPS dump: the elements of types 1, 2, ..., such as O,H; without, those of its column element or of --topology.")
    frame_time: float | None = option(None, "Time between frames, for files that tell none.", unit="fs")
    reference: str | None = option(None, "A run or trajectory of the same atoms to compare with: bonds, angles, distances, radial distributions.", metavar="RUN")
    rdf: tuple[str, ...] = option((), "Pairs of elements for radial distributions, such as O-H or all-all; the commonest when not given.", metavar="A-B")
    plots: bool = option(True, "Draw PNG files beside the numbers.")
    saddles: int = option(0, "Of a library of minima: look for saddles between so many pairs of neighbouring minima in all; kept beside the library, and gone on with.")
    frequencies: int = option(0, "Of a library of minima: harmonic frequencies of so many of the lowest, for populations.")
    temperature: float = option(300.0, "Of the populations of minima.", unit="K")
    potential: str | None = option(None, "Potential for saddles and frequencies; that of the search when not given.", short="p", metavar="P")

    def check(self) -> None:
        if not self.run:
            raise ValueError("run: give at least one run folder.")
        self._set("elements", tuple(part.strip() for word in self.elements for part in word.split(",") if part.strip()))
        self._set("rdf", tuple(part.strip() for word in self.rdf for part in word.split(",") if part.strip()))
        for pair in self.rdf:
            if len(pair.split("-")) != 2 or not all(pair.split("-")):
                raise ValueError(f"rdf: '{pair}' is no pair of elements; write one such as O-H.")
        if self.frame_time is not None:
            positive(self, "frame_time")
        whole(self, "saddles", 0, 10**6)
        whole(self, "frequencies", 0, 10**6)
        positive(self, "temperature")
        if self.start < 0:
            raise ValueError(f"start must be >= 0 fs, got {self.start:g}.")
