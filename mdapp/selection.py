"""Words that choose atoms and cell vectors: `0-9,15,C`, `1,1,0`."""
from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_ITEM = re.compile(r"(\d+)(?:-(\d+))?|([A-Za-z]{1,2})|(all|heavy)")


def selection_items(words: Iterable[str], name: str) -> list[str]:
    """The items of a choice of atoms, each an index, a range, an element, `heavy` or `all`; counted from 0.

    Raises
    ------
    ValueError : another word.
    """
    items = [item.strip() for word in words for item in word.split(",")]
    for item in items:
        if _ITEM.fullmatch(item) is None:
            raise ValueError(f"{name}: expected an index, a range, an element, heavy or all, such as 0-9,15,C, got '{item}'. Atoms count from 0.")
    return items


def select_atoms(words: Iterable[str], numbers: Sequence[int], name: str) -> list[int]:
    """Sorted indices of the atoms chosen.

    Parameters
    ----------
    numbers : (n_atoms,) atomic numbers.

    Raises
    ------
    ValueError : an item that chooses nothing, or an atom that is not there.
    """
    from ase.data import atomic_numbers

    chosen: set[int] = set()
    for item in selection_items(words, name):
        match = _ITEM.fullmatch(item)
        assert match is not None
        if match[1]:
            first, last = int(match[1]), int(match[2] or match[1])
            if last >= len(numbers) or first > last:
                raise ValueError(f"{name}: '{item}' is no atom or range of this structure, whose atoms are 0 to {len(numbers) - 1}.")
            chosen |= set(range(first, last + 1))
            continue
        if item in ("heavy", "all"):
            found = [k for k, z in enumerate(numbers) if item == "all" or z != 1]
        else:
            symbol = item.capitalize()
            if symbol not in atomic_numbers:
                raise ValueError(f"{name}: '{item}' is no element. Give indices, ranges, elements, heavy or all, such as 0-9,15,C.")
            found = [k for k, z in enumerate(numbers) if z == atomic_numbers[symbol]]
        if not found:
            raise ValueError(f"{name}: the structure holds no atom of '{item}'.")
        chosen |= set(found)
    return sorted(chosen)


def parse_mask(mask: str) -> tuple[int, int, int]:
    """Which of the cell vectors a, b, c may change: three numbers, 0 or 1, not all of them 0."""
    words = mask.replace(" ", "").split(",")
    if len(words) != 3 or any(w not in ("0", "1") for w in words):
        raise ValueError(f"cell_mask must be three numbers 0 or 1 for the cell vectors a, b and c, such as 1,1,0, got '{mask}'.")
    if "1" not in words:
        raise ValueError("cell_mask = 0,0,0 holds the whole cell, which is an nvt ensemble. Free a vector, or use ensemble nvt.")
    return int(words[0]), int(words[1]), int(words[2])
