"""What is asked of labelled data: errors of a potential on them, and what is wrong with them."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mdapp.config.words import DEVICE, DTYPE, ELECTROSTATICS, LONG_RANGE, POTENTIAL, THREADS, Dtype, check_common, pairs
from mdapp.record import Record, chosen, option, whole


@dataclass(frozen=True)
class EvaluateConfig(Record):
    """Errors of a potential on labelled data."""

    data: tuple[str, ...] = option(help="Labelled structures, in any format that training reads.")
    potential: tuple[str, ...] = option(help=POTENTIAL, short="p", metavar="P")
    output: str | None = option(None, "Folder of errors.json, tables, figures and the worst frames; nothing is written when not given.", short="o",
                                metavar="FOLDER")
    limit: int | None = option(None, "Use at most so many structures, drawn evenly over each file.")
    calibration: bool = option(False, "Compare what the potential says of its own uncertainty (a committee's spread, the distance from its training set) with its errors.")
    worst: int = option(20, "How many of the worst frames are kept, by energy and by forces.")
    format: str | None = option(None, "Format of the data, where the file's name does not say it.", metavar="FORMAT")
    energy_key: str | None = option(None, "Name of the energy in the data; the usual names are tried when not given.", metavar="KEY")
    forces_key: str | None = option(None, "Name of the forces in the data; the usual names are tried when not given.", metavar="KEY")
    key: tuple[str, ...] = option((), "LABEL=KEY for the name of another label (stress, molecule, charges, dipole, ...); may be repeated.",
                                  metavar="LABEL=KEY")
    unit: tuple[str, ...] = option(
        (), "energy=UNIT, length=UNIT, forces=UNIT or stress=UNIT of the data; may be repeated. Those of the format when none is given; eV and Å for what "
        "is not named beside one that is, but for a stress, which then needs its own.", metavar="QUANTITY=UNIT")
    charge: int | None = option(None, "Total charge of every structure in e, in place of what the data say.")
    multiplicity: int | None = option(None, "Spin multiplicity of every structure (2S + 1), in place of what the data say.")
    charged: Literal["refuse", "keep", "drop"] = option(
        "refuse", "What is done with frames that have a total charge, for a potential that knows none: refuse, keep or drop.", metavar="refuse|keep|drop")
    long_range_cutoff: float | str | None = option(None, LONG_RANGE, metavar="Å|none")
    electrostatics: Literal["pairs", "ewald"] | None = option(None, ELECTROSTATICS, metavar="pairs|ewald")
    compile: bool = option(False, "Change over to compiled code (CPU) after a minute of evaluation, which is when it begins to pay.")
    batch_edges: int | None = option(None, "Pairs of neighbours, counted both ways, that are evaluated together; chosen for the device when not given.")
    device: str = option("auto", DEVICE)
    dtype: Dtype | None = option(None, DTYPE)
    threads: int | None = option(None, THREADS)

    def check(self) -> None:
        check_common(self)
        if not self.data:
            raise ValueError("data: name at least one file with labelled structures.")
        whole(self, "limit", 1, 10**12)
        whole(self, "worst", 0, 100_000)
        whole(self, "batch_edges", 1, 10**9)
        chosen("charged", self.charged, ["refuse", "keep", "drop"])


@dataclass(frozen=True)
class DataReportConfig(Record):
    """What labelled data hold, and what is suspected."""

    data: tuple[str, ...] = option(help="Labelled structures, in any format that training reads.")
    validation: tuple[str, ...] = option((), "Files that are held out: copies across the split are looked for. May be repeated.", metavar="FILE")
    format: str | None = option(None, "Format of the data, where the file's name does not say it.", metavar="FORMAT")
    energy_key: str | None = option(None, "Name of the energy in the data; the usual names are tried when not given.", metavar="KEY")
    forces_key: str | None = option(None, "Name of the forces in the data; the usual names are tried when not given.", metavar="KEY")
    key: tuple[str, ...] = option((), "LABEL=KEY for the name of another label (stress, molecule, charges, dipole, ...); may be repeated.",
                                  metavar="LABEL=KEY")
    unit: tuple[str, ...] = option(
        (), "energy=UNIT, length=UNIT, forces=UNIT or stress=UNIT of the data; may be repeated. Those of the format when none is given.",
        metavar="QUANTITY=UNIT")
    level_of_theory: tuple[str, ...] = option(
        (), "Of the labels: TEXT for all files, or FILE=TEXT for one; energies are compared within one level. May be repeated.", metavar="[FILE=]TEXT")
    elements: tuple[str, ...] = option((), "Elements that are wanted, such as C,H,N,O; frames with others are counted.", metavar="SYMBOLS")
    threshold: tuple[str, ...] = option((), "NAME=VALUE for a threshold of the checks, such as too_close=0.5; a wrong name lists them. May be repeated.",
                                        metavar="NAME=VALUE")
    output: str | None = option(None, "Folder of the report; FILE-data-report when not given.", short="o", metavar="FOLDER")
    plots: bool = option(True, "Draw the page of plots.")

    def check(self) -> None:
        if not self.data:
            raise ValueError("data: name at least one file with labelled structures.")
        files = [*self.data, *self.validation]
        if len(set(files)) < len(files):
            twice = next(f for f in files if files.count(f) > 1)
            raise ValueError(f"data: {twice} is named twice.")
        for name in ("key", "unit", "threshold"):
            pairs(getattr(self, name), name)
