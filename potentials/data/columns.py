"""Columns of a table on disk as .npy files that grow row by row, and are mapped into memory to read.

Nothing is written of a column as long as all its rows are the same fill value (no stress, no cell, no charge), and
integers take as many bytes as the largest of them needs.
"""
from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np

_HEADER = 128  # bytes; the shape is known at the end, and the header has room for any
_WIDER = {"uint8": "uint16", "uint16": "int32", "int8": "int16", "int16": "int32", "int32": "int64"}
_BLOCK = 1 << 18  # bytes


class ColumnError(ValueError):
    """A column's file that is not what its description says."""


class Column:
    """A .npy file that grows.

    Parameters
    ----------
    path : the file; not there as long as all rows are `fill`.
    dtype : of the first rows; integers get wider when they must.
    shape : of one row.
    fill : the value of rows that need not be stored; None: all rows are written.
    """

    def __init__(self, path: Path, dtype: str, shape: tuple[int, ...] = (), fill: float | None = None):
        self.path, self.dtype, self.shape, self.fill = path, np.dtype(dtype), shape, fill
        self.rows = 0
        self._file: Any = None
        if fill is None:
            self._open()

    def append(self, values: np.ndarray) -> None:
        """More rows, (n, *shape)."""
        if self._file is None:
            if _all_are(values, self.fill):
                self.rows += len(values)
                return
            self._open()
            self._backfill()
        if values.size and self.dtype.kind in "iu":
            while not np.iinfo(self.dtype).min <= values.min() <= values.max() <= np.iinfo(self.dtype).max:
                self._widen()
        self._file.write(np.ascontiguousarray(values, dtype=self.dtype).data)
        self.rows += len(values)

    def close(self) -> dict[str, Any]:
        """Finish the file, and describe it as plain data."""
        known = {"dtype": self.dtype.name, "shape": [self.rows, *self.shape]}
        if self._file is None:
            return {**known, "fill": repr(self.fill)}
        self._file.seek(0)
        self._file.write(_header(self.dtype, (self.rows, *self.shape)))
        self._file.close()
        return {**known, "crc32": _crc32(self.path)}

    def abandon(self) -> None:
        """Let go of the file, unfinished."""
        if self._file is not None:
            self._file.close()

    def _open(self) -> None:
        self._file = open(self.path, "wb", buffering=_BLOCK)
        self._file.write(b"\0" * _HEADER)

    def _backfill(self) -> None:
        some = max(1, _BLOCK // (self.dtype.itemsize * max(1, int(np.prod(self.shape)))))
        for begin in range(0, self.rows, some):
            self._file.write(np.full((min(some, self.rows - begin), *self.shape), self.fill, self.dtype).data)

    def _widen(self) -> None:
        """The rows so far, in the next wider type."""
        self._file.close()
        wider, narrow = np.dtype(_WIDER[self.dtype.name]), self.path.with_suffix(".narrow")
        self.path.rename(narrow)
        self._open()
        with open(narrow, "rb") as old:
            old.seek(_HEADER)
            while block := old.read(_BLOCK):
                self._file.write(np.frombuffer(block, self.dtype).astype(wider).data)
        narrow.unlink()
        self.dtype = wider


def open_column(path: Path, known: dict[str, Any], verify: bool = False) -> np.ndarray:
    """The rows of a column, mapped from its file, read-only; of a column of one value a view of that value.

    Parameters
    ----------
    known : what `Column.close` said.
    verify : compare the file's checksum as well; this reads all of it.

    Raises
    ------
    ColumnError : no such file, or one that is not what `known` says.
    """
    shape, dtype = tuple(known["shape"]), np.dtype(known["dtype"])
    if "fill" in known:
        return np.broadcast_to(np.array(float(known["fill"])).astype(dtype), shape)
    if not path.is_file():
        raise ColumnError(f"{path.name} is not there")
    expected = _HEADER + dtype.itemsize * int(np.prod(shape))
    if path.stat().st_size != expected:
        raise ColumnError(f"{path.name} has {path.stat().st_size} bytes, not {expected}")
    if verify and _crc32(path) != known["crc32"]:
        raise ColumnError(f"{path.name} has another checksum than when it was written")
    try:
        if not int(np.prod(shape)):
            return np.zeros(shape, dtype)  # nothing to map
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        raise ColumnError(f"{path.name} is not an .npy file") from error
    if found.shape != shape or found.dtype != dtype:
        raise ColumnError(f"{path.name} holds {found.dtype} of shape {found.shape}, not {dtype} of shape {shape}")
    return found.view(np.ndarray)  # cuts are plain arrays: a memmap's own indexing is slow


def _all_are(values: np.ndarray, fill: float | None) -> bool:
    if fill is None:
        return False
    return bool(np.isnan(values).all() if np.isnan(fill) else (values == fill).all())


def _header(dtype: np.dtype, shape: tuple[int, ...]) -> bytes:
    text = repr({"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape})
    body = text.encode("latin1").ljust(_HEADER - 11) + b"\n"
    return np.lib.format.magic(1, 0) + len(body).to_bytes(2, "little") + body


def _crc32(path: Path) -> int:
    total = 0
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            total = zlib.crc32(block, total)
    return total
