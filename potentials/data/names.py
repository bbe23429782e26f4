"""Names of many frames as small integers and a table: a million of them take four megabytes."""
from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np


class Names(Sequence[str]):
    """A read-only sequence of names, most of which come more than once.

    Parameters
    ----------
    codes : (n,) integers, places in the table.
    table : each name once.
    """

    def __init__(self, codes: np.ndarray, table: Sequence[str]):
        self.codes = codes
        self.table = tuple(table)

    @classmethod
    def of(cls, names: Iterable[str]) -> Names:
        """A sequence of these names; the table has them in the order in which they first come."""
        places: dict[str, int] = {}
        codes = np.array([places.setdefault(name, len(places)) for name in names], dtype=np.int32)
        return cls(codes, tuple(places))

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        if isinstance(index, slice):
            return Names(self.codes[index], self.table)
        return self.table[int(self.codes[index])]

    def __iter__(self) -> Iterator[str]:
        return (self.table[code] for code in self.codes.tolist())

    def __array__(self, dtype=None, copy=None) -> np.ndarray:  # type: ignore[no-untyped-def]
        return np.array(self.table, dtype=dtype)[self.codes]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Names({len(self)} frames of {len(self.table)} names)"

    def unique(self, indices: np.ndarray | None = None) -> tuple[list[str], np.ndarray]:
        """Names that occur among `indices` (all when None), in alphabetical order, and the place of each frame's name therein."""
        present, place = np.unique(self.codes if indices is None else self.codes[indices], return_inverse=True)
        names = [self.table[code] for code in present]
        order = sorted(range(len(names)), key=names.__getitem__)
        rank = np.empty(len(names), dtype=np.int64)
        rank[order] = np.arange(len(names))
        return [names[k] for k in order], rank[place]
