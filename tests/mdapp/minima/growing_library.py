"""Grows a library for ever and says each minimum when it is placed: run by tests, which kill it.

    python growing_library.py PATH
"""
import sys

import numpy as np
from ase import Atoms

from mdapp.minima import library as module
from mdapp.minima.library import Library, Origin

N_ATOMS = 9


def seed_of(k: int) -> int:
    """Every third structure is that of four earlier."""
    return k - 4 if k % 3 == 2 and k >= 4 else k


def shape(k: int) -> Atoms:
    return Atoms(f"Ar{N_ATOMS}", positions=3 * np.random.default_rng(seed_of(k)).normal(size=(N_ATOMS, 3)))


def grow(path: str) -> None:
    module.SHORTEST_INTERVAL_S, module.COST_FACTOR, module.BYTES_PER_S = 0.0, 1.0, 1e12  # folds half of the time, to be killed in them
    with Library(path, "a") as library:
        k = len(library.history())
        while True:
            placed = library.place(shape(k), -1.0, Origin("test", None, 0, k))
            print(k, placed.index, int(placed.is_new), flush=True)
            if k % 5 == 0:
                library.set_frequencies(placed.index, np.arange(3.0) + k)
                print(k, "frequencies", flush=True)
            k += 1


if __name__ == "__main__":
    grow(sys.argv[1])
