"""Calculators of strangers for `ase:jobs.strangers:NAME`: argon that goes wrong after a while, and things that are no calculators."""
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


class Greedy(Argon):
    """Argon that runs out of memory at once."""

    def calculate(self, atoms=None, properties=("energy",), system_changes=()):
        raise MemoryError


class NoNumber(Argon):
    """Argon whose energy is no number."""

    def calculate(self, atoms=None, properties=("energy",), system_changes=()):
        super().calculate(atoms, properties, system_changes)
        self.results["energy"] = self.results["free_energy"] = float("nan")
