"""Out of memory: what was asked for, and about how large a system would fit."""
from __future__ import annotations

import re

_UNITS = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_SIZE = r"([0-9.]+) (KiB|MiB|GiB|TiB)"


def out_of_memory_words(error: BaseException, n_atoms: int, device: str) -> str:
    """One sentence: the size of the system and, where the error tells how much there is, about how many atoms would fit.

    Memory grows with the number of atoms, as neighbours within a cutoff do; nine tenths of what there is are counted on.
    """
    said = f"not enough memory on {device} for {n_atoms} atoms"
    wanted, capacity, free = (_bytes(pattern, str(error)) for pattern in (rf"[Tt]ried to allocate {_SIZE}", rf"total capacity of {_SIZE}", rf"{_SIZE} is free"))
    if wanted is None or capacity is None or free is None:
        return said + "."
    need = capacity - free + wanted
    fits = int(n_atoms * min(1.0, 0.9 * capacity / need))
    return f"{said}: {need / 2**30:.3g} GiB are needed and {capacity / 2**30:.3g} are there; about {_rounded(fits)} atoms would fit."


def _bytes(pattern: str, text: str) -> float | None:
    found = re.search(pattern, text)
    return None if found is None else float(found[1]) * _UNITS[found[2]]


def _rounded(n: int) -> int:
    """Two digits are all that is known."""
    power = 10 ** max(len(str(n)) - 2, 0)
    return n // power * power
