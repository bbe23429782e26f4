"""What `mdapp bench` was asked."""
from __future__ import annotations

from dataclasses import dataclass

from mdapp.config.run import RunConfig
from mdapp.record import option, positive, whole


@dataclass(frozen=True)
class BenchConfig(RunConfig):
    """What a step of a run costs, and where the time goes; takes what a run takes."""

    seconds: float = option(5.0, "How long each way is measured, after its first steps.", unit="s")
    copies: int = option(16, "Most copies of the structure that are evaluated together: 4, 16, 64, ... up to this one; 0: none of it.")

    def check(self) -> None:
        super().check()
        if self.replicas > 1:
            raise ValueError(f"replicas = {self.replicas} is given, but one system is measured. Leave it out; copies evaluates several of it together.")
        positive(self, "seconds")
        whole(self, "copies", 0, 100_000)
