"""What `mdapp learn` was asked: where exploration begins, what labels, how members are trained, when it is enough."""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from mdapp.config.words import check_guard_word
from potentials.typed import ConfigError


@dataclass(frozen=True)
class ExploreConfig:
    """How configurations are found that the committee has not seen."""

    method: Literal["md", "minima", "optimiser"] = "md"
    temperature_K: float = 300.0  # "md", and of the bursts that "optimiser" begins with
    timestep_fs: float = 0.5
    steps: int = 2000  # "md": of each start; "optimiser": most steps of a relaxation
    every: int = 20  # a configuration is looked at every so many steps
    hops: int = 20  # "minima": of each start
    rattle: float = 0.1  # Å, "optimiser": by which a start is thrown off
    walks: int = 1  # from each start, in each round

    def __post_init__(self) -> None:
        for name in ("temperature_K", "timestep_fs", "steps", "every", "hops", "rattle", "walks"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be > 0, got {getattr(self, name)}.")
        if self.every > self.steps:
            raise ValueError(f"every = {self.every} is more than steps = {self.steps}: nothing would be looked at.")


@dataclass(frozen=True)
class LearnConfig:
    """The loop: explore, choose, label, train; round after round."""

    structures: tuple[str, ...] | str  # where exploration begins: files, each with one structure or many
    calculator: str  # what labels, as for `mdapp label`
    train: dict[str, Any]  # a training as in [train] without data and output: potential, loss, optimiser, epochs, ...
    output: str = "learning"
    data: tuple[str, ...] | str = ()  # labelled files to begin with, at the same level of theory; else the start structures, rattled, are labelled first
    held_out: tuple[str, ...] | str = ()  # labelled files on which errors are measured; else some of the first configurations are held out
    explore: ExploreConfig = field(default_factory=ExploreConfig)
    members: int = 4  # 1 where it has several heads (energy_heads): they are the committee then
    begin_from: str | None = None  # a potential file, or the name of a shipped one, from which the members of the first round are fine-tuned; else from nothing
    energy_heads: int | None = None  # so many last layers for it: members are then shallow ensembles, and one is enough
    jitter: float = 0.01  # of its weights, in their root mean square, so that members begin apart; their spread is then about what so few labels leave unknown
    rounds: int = 10  # at most
    first: int = 20  # labels of the first round, where no data are given: of dynamics with `begin_from`, or start structures, thrown off
    first_rattle: float = 0.1  # Å, by which start structures are thrown off for them
    first_held_out: int = 10  # more of these are held out, where no held-out files are given
    labels: int = 20  # of each later round, at most
    selection: Literal["uncertain", "random"] = "uncertain"  # "random": for comparison
    least_spread: float = 0.05  # eV/Å, largest on an atom; below it a configuration is known already
    most_spread: float = 3.0  # eV/Å; above it the committee has lost its way
    flat: float = 0.05  # end when spread and held-out error have fallen by less than this share ...
    patience: int = 2  # ... in so many rounds in a row
    from_last: bool = True  # members go on from their last weights; False: each round begins anew
    guard: tuple[str, ...] = ("on",)
    workers: int | None = None  # processes that label
    seed: int = 0
    device: str = "cpu"
    threads: int | None = None

    def __post_init__(self) -> None:
        if not self.structures:
            raise ValueError("structures must name at least one file.")
        if not self.calculator:
            raise ValueError("calculator must say what labels, for example \"tblite:GFN2-xTB\".")
        for name, least in (("members", 1), ("rounds", 1), ("first", 2), ("first_held_out", 1), ("labels", 1), ("patience", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be {least} or more, got {getattr(self, name)}.")
        if not 0 <= self.least_spread < self.most_spread:
            raise ValueError(f"least_spread and most_spread must be 0 or more and rise, got {self.least_spread:g} and {self.most_spread:g} eV/Å.")
        if not 0 <= self.flat < 1 or not self.first_rattle > 0:
            raise ValueError(f"flat must be from 0 to below 1 and first_rattle > 0, got {self.flat:g} and {self.first_rattle:g}.")
        if not 0 <= self.jitter < 1:
            raise ValueError(f"jitter must be at least 0 and below 1, got {self.jitter:g}.")
        for word in self.guard:
            check_guard_word(word)
        taken = sorted({"data", "output", "fine_tune", "seed", "device", "threads", "level_of_theory"} & self.train.keys())
        if taken:
            raise ConfigError(f"[learn.train]: {', '.join(taken)} is set by the loop itself. Leave it out.")

    @property
    def starts(self) -> tuple[str, ...]:
        return (self.structures,) if isinstance(self.structures, str) else self.structures

    @property
    def given(self) -> tuple[str, ...]:
        return (self.data,) if isinstance(self.data, str) else self.data

    @property
    def held_out_files(self) -> tuple[str, ...]:
        return (self.held_out,) if isinstance(self.held_out, str) else self.held_out
