"""Calculators of strangers for `ase:jobs.strangers:NAME`: argon that goes wrong after a while, and things that are no calculators."""
import numpy as np
from toys import Argon


class Bomb(Argon):
    """Argon whose forces are no numbers from the 40th evaluation on."""

    def calculate(self, atoms=None, properties=("energy",), system_changes=()):
        super().calculate(atoms, properties, system_changes)
        if self.calls > 40:
            self.results["forces"][3, 1] = float("nan")


class Quitter(Argon):
    """Argon that raises from the 40th evaluation on."""

    def calculate(self, atoms=None, properties=("energy",), system_changes=()):
        super().calculate(atoms, properties, system_changes)
        if self.calls > 40:
            raise RuntimeError("the licence server has gone")


class Holed(Argon):
    """Argon with a hole in its energy surface: two atoms that come closer than 3.5 Å are torn together. What it gives follows from the positions alone."""

    hole = 3.5

    def curve(self, r):
        energy, slope = super().curve(r)
        return np.where(r < self.hole, energy - 50.0, energy), np.where(r < self.hole, 1e5, slope)


class FullDevice(Argon):
    """Argon that finds no room on its device from the 40th evaluation on."""

    def calculate(self, atoms=None, properties=("energy",), system_changes=()):
        import torch

        super().calculate(atoms, properties, system_changes)
        if self.calls > 40:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 79.10 GiB of which 9.10 GiB is free.")


class Greedy(Argon):
    """Argon that runs out of memory at once."""

    def calculate(self, atoms=None, properties=("energy",), system_changes=()):
        raise MemoryError


class NoNumber(Argon):
    """Argon whose energy is no number."""

    def calculate(self, atoms=None, properties=("energy",), system_changes=()):
        super().calculate(atoms, properties, system_changes)
        self.results["energy"] = self.results["free_energy"] = float("nan")
