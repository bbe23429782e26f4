"""What `mdapp label` was asked: structures, the calculator that labels them, and where it works."""
from __future__ import annotations

from dataclasses import dataclass

from mdapp.config.words import pairs
from mdapp.record import Record, chosen, option, positive, whole


@dataclass(frozen=True)
class LabelConfig(Record):
    """Reference energies and forces of structures."""

    structure: tuple[str, ...] = option(help="Structures: files, patterns such as 'confs/*.xyz', files with many frames, folders of runs.")
    calculator: str = option("", "What labels: tblite:GFN2-xTB, pyscf:METHOD/BASIS, ase:package.module:Class, or anything that --potential takes.", short="c",
                             metavar="C")
    calculator_option: tuple[str, ...] = option((), "key=value that the calculator's class is called with (ase:... and tblite); may be repeated.",
                                                metavar="KEY=VALUE")
    stride: int = option(1, "Take every so many frames of a file or a run with many.")
    output: str | None = option(None, "File of labelled structures; STRUCTURE-labelled.xyz when not given.", short="o", metavar="FILE.xyz")
    resume: bool = option(False, "Go on in the --output file of an earlier `mdapp label` of the same structures: what is there is not done again.")
    charge: int | None = option(None, "Total charge of every structure in e, in place of what the files say.")
    multiplicity: int | None = option(None, "Spin multiplicity of every structure (2S + 1), in place of what the files say.")
    time_limit: float | None = option(None, "Give a structure up after this much real time: 600, 2h.", unit="s")
    wall_time: float | None = option(None, "Stop cleanly before this much real time has passed, to be resumed: 3600, 2h, 23:50:00.", unit="s")
    workers: int | None = option(None, "Processes that label at the same time; the free cores, or 4 jobs with --cluster slurm, when not given.")
    threads: int = option(1, "Threads of each of them.")
    cluster: str | None = option(
        None, "Label on Dask workers: local, the address of a scheduler (tcp://HOST:PORT), or slurm (needs dask, distributed, dask-jobqueue).",
        metavar="local|ADDRESS|slurm")
    cluster_option: tuple[str, ...] = option((), "key=value for the jobs of --cluster slurm (cores, memory, queue, account, walltime, ...); may be repeated.",
                                             metavar="KEY=VALUE")

    def check(self) -> None:
        if not self.structure:
            raise ValueError("structure: name at least one file.")
        whole(self, "stride", 1, 10**9)
        if not self.calculator:
            raise ValueError("calculator: name one, for example --calculator tblite:GFN2-xTB.")
        if self.calculator_option and not self.calculator.startswith(("ase:", "tblite")):
            raise ValueError(f"calculator_option is for ase:package.module:Class and tblite, and the calculator is {self.calculator}. Leave it out.")
        pairs(self.calculator_option, "calculator_option")
        positive(self, "time_limit", "wall_time")
        whole(self, "charge", -1000, 1000)
        whole(self, "multiplicity", 1, 1000)
        whole(self, "workers", 1, 10_000)
        whole(self, "threads", 1, 4096)
        if self.resume and self.output is None:
            raise ValueError("resume: name the file to go on in with --output.")
        if self.output is not None and not self.output.endswith((".xyz", ".extxyz")):
            raise ValueError(f"output '{self.output}' must end in .xyz or .extxyz; labels are written as extended XYZ.")
        self._check_cluster()

    def _check_cluster(self) -> None:
        if self.cluster is None:
            if self.cluster_option:
                raise ValueError("cluster_option is given, but there is no cluster. Leave it out, or use --cluster slurm.")
            return
        if self.time_limit is not None:
            raise ValueError("time_limit is for processes of this machine; with --cluster leave it out.")
        if "://" in self.cluster:
            for name in ("workers", "cluster_option"):
                if getattr(self, name):
                    raise ValueError(f"{name} is given, but there is no cluster that this job would start. Leave it out, or use --cluster local or slurm.")
            return
        chosen("cluster", self.cluster, ["local", "slurm"])
        if self.cluster == "local" and self.cluster_option:
            raise ValueError("cluster_option is for --cluster slurm; a local cluster takes --workers alone.")
        pairs(self.cluster_option, "cluster_option")
