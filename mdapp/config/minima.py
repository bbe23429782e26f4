"""What a search for minima was asked, and what a library of them is asked."""
from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from typing import Literal

from mdapp.config.words import (
    CHARGE, COMPILE, CUDA_GRAPHS, DEVICE, DTYPE, ELECTROSTATICS, LONG_RANGE, MULTIPLICITY, POTENTIAL, RADIAL_TABLE, THREADS,
    Dtype, check_common, check_move_word, pairs,
)  # fmt: skip
from mdapp.record import Record, chosen, option, positive, whole


@dataclass(frozen=True)
class LibraryConfig(Record):
    """A question to a library of minima."""

    library: str = option(help="A file minima.h5, or the folder that holds it.")
    below: float | None = option(None, "Minima at most so far above the lowest one; such as 5kcal/mol, 0.2eV, 20kJ/mol.", unit="eV")
    region: str | None = option(
        None, "Minima with a residue in this region of the Ramachandran map: C7eq, PII, alphaR, C5, beta2, alphaP, C7ax, alphaL, epsilonD, or a box of phi and "
        "psi such as -100:-60,50:90. Residue by residue with slashes: C7eq/any/C5.", metavar="REGION")
    lowest: int | None = option(None, "At most so many minima, the lowest ones.")
    export: str | None = option(None, "Write the minima that fit to this file: .xyz and .extxyz with energies, .pdb one model each.", metavar="FILE")

    def check(self) -> None:
        if self.below is not None and self.below < 0:
            raise ValueError(f"below must be >= 0 eV, got {self.below:g}; it is counted from the lowest minimum.")
        whole(self, "lowest", 1)


@dataclass(frozen=True)
class MinimaConfig(Record):
    """A search for minima: structure, potential, moves, what must stay as it was, and when it is enough."""

    structure: str = option(help="The start: a molecule or a cluster.")
    potential: tuple[str, ...] = option(help=POTENTIAL, short="p", metavar="P")
    move: tuple[str, ...] = option(
        ("mixture",), "mixture (all that fit, those that pay most often), NAME, or NAME:key=value,... for its options; may be repeated: then a mixture of these. "
        "Names: dihedral, minima-hopping, basin-hopping, quench, scatter.",
        metavar="MOVE")
    walkers: int | None = option(None, "Walks that go on at the same time and are evaluated in one batch; 16 on a CPU, 128 on a GPU when not given.")
    hops: int | None = option(None, "End after so many hops: moves with the relaxation that follows; 1000 when no other end is given.")
    minima: int | None = option(None, "End when the library holds so many minima.")
    time: float | None = option(None, "End after so much real time: 3600, 2h, 23:50:00.", unit="s")
    complete: float | None = option(None, "End when so large a share of what can be reached seems to be found, 0 to 1 (Good-Turing and Chao).")
    threshold: float = option(0.2, "Rise in energy that a walker takes, at first; it adapts so that half of the hops are taken.", unit="eV")
    window: float | None = option(None, "Minima this far above the lowest are kept, but no walker goes on from there.", unit="eV")
    random_start: bool = option(False, "Throw the atoms (or molecules) of a cluster anew for every walker.")
    restart_after: int | None = option(None, "With --random-start: throw a walker anew when it has found nothing lower in so many hops; never when not given.")
    keep_bonds: bool = option(True, "Refuse structures whose bonds are not those of the start.")
    keep_chirality: bool = option(True, "Refuse structures with a stereocentre turned over.")
    keep_peptide_bonds: bool = option(True, "Refuse structures with a peptide or double bond gone from cis to trans or back.")
    optimiser: str = option("internal", "Of the relaxations: internal (L-BFGS in bonds, angles and torsions), lbfgs or fire.")
    fmax: float | None = option(
        None, "A relaxation has converged when the largest force is below this; 0.01, or 2 % of the potential's typical force where that is less, when not given.", unit="eV/Å")
    relax_steps: int = option(1000, "Most steps of one relaxation; what has not converged is refused.")
    rmsd: float = option(0.1, "Two minima are one when they superpose this well, equivalent atoms exchanged.", unit="Å")
    same_energy: float = option(0.01, "Two minima that differ by more than this are two.", unit="eV")
    seed: int | None = option(None, "Seed of all moves; drawn and written down when not given.")
    device: str = option("auto", DEVICE)
    dtype: Dtype | None = option(None, DTYPE)
    charge: int | None = option(None, CHARGE)
    multiplicity: int | None = option(None, MULTIPLICITY)
    output: str | None = option(None, "The search's folder; runs/STRUCTURE-minima when not given.", short="o", metavar="FOLDER")
    wall_time: float | None = option(None, "Stop cleanly before this much real time has passed, to be resumed: 3600, 2h, 23:50:00.", unit="s")
    threads: int | None = option(None, THREADS)
    cluster: str | None = option(
        None, "Hop on Dask workers: local, the address of a scheduler (tcp://HOST:PORT), or slurm (needs dask, distributed, dask-jobqueue).",
        metavar="local|ADDRESS|slurm")
    workers: int | None = option(None, "With --cluster local or slurm: how many worker processes; the free cores, or 4 jobs, when not given.")
    cluster_option: tuple[str, ...] = option((), "key=value for the jobs of --cluster slurm (cores, memory, queue, account, walltime, ...); may be repeated.",
                                             metavar="KEY=VALUE")
    long_range_cutoff: float | str | None = option(None, LONG_RANGE, metavar="Å|none")
    electrostatics: Literal["pairs", "ewald"] | None = option(None, ELECTROSTATICS, metavar="pairs|ewald")
    compile: bool = option(False, COMPILE)
    radial_table: bool = option(True, RADIAL_TABLE)
    cuda_graphs: bool = option(True, CUDA_GRAPHS)

    def check(self) -> None:
        check_common(self)
        positive(self, "time", "wall_time", "threshold", "window", "fmax", "rmsd", "same_energy")
        for name, most in (("walkers", 100_000), ("hops", 10**12), ("minima", 10**9), ("restart_after", 10**9), ("relax_steps", 10**9), ("workers", 10_000)):
            whole(self, name, 1, most)
        whole(self, "seed", 0, 2**63 - 1)
        if self.complete is not None and not 0 < self.complete <= 1:
            raise ValueError(f"complete must be above 0 and at most 1, got {self.complete:g}.")
        if self.restart_after is not None and not self.random_start:
            raise ValueError(f"restart_after = {self.restart_after} is given, but walkers do not begin at random. Leave it out, or add --random-start.")
        chosen("optimiser", self.optimiser, ["internal", "lbfgs", "fire"])
        if not self.move:
            raise ValueError("move: name at least one, or leave it out for the mixture.")
        for word in self.move:
            check_move_word(word)
        self._check_cluster()
        if self.hops is None and self.minima is None and self.time is None and self.complete is None:
            self._set("hops", 1000)

    def _check_cluster(self) -> None:
        if self.cluster is None or "://" in self.cluster:
            for name in ("workers", "cluster_option"):
                if getattr(self, name):
                    raise ValueError(f"{name} is given, but there is no cluster that this search would start. Leave it out, or use --cluster local or slurm.")
        else:
            chosen("cluster", self.cluster, ["local", "slurm"])
            if self.cluster == "local" and self.cluster_option:
                raise ValueError("cluster_option is for --cluster slurm; a local cluster takes --workers alone.")
        pairs(self.cluster_option, "cluster_option")

    @property
    def sharp(self) -> float:
        """`fmax`, which the job has settled by its potential."""
        assert self.fmax is not None, "fmax is not settled"
        return self.fmax

    def with_seed(self) -> MinimaConfig:
        """The same with a seed: the given one, or one drawn now."""
        return self if self.seed is not None else replace(self, seed=secrets.randbits(31))
