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


class FullAtOnce(Argon):
    """Argon that finds no room on its device at all; the words are those of torch 2.13."""

    def calculate(self, atoms=None, properties=("energy",), system_changes=()):
        import torch

        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 600.00 MiB. GPU 0 has a total capacity of 23.64 GiB of which 200.44 MiB is free. Including non-PyTorch "
                                     "memory, this process has 23.40 GiB memory in use. Of the allocated memory 21.97 GiB is allocated by PyTorch, and 1.02 GiB is reserved by "
                                     "PyTorch but unallocated. If reserved but unallocated memory is large try setting PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True")


class Greedy(Argon):
    """Argon that runs out of memory at once."""

    def calculate(self, atoms=None, properties=("energy",), system_changes=()):
        raise MemoryError


class NoNumber(Argon):
    """Argon whose energy is no number."""

    def calculate(self, atoms=None, properties=("energy",), system_changes=()):
        super().calculate(atoms, properties, system_changes)
        self.results["energy"] = self.results["free_energy"] = float("nan")
