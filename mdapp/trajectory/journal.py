"""Append-only journal: frames that are not in trajectory.h5 yet.

A header (magic, length, JSON, checksum), then records of one size, each behind its CRC-32. A record goes to the system in one write, so a killed process leaves at
most one partial record, at the end; whatever does not check is the end of the journal.
"""
from __future__ import annotations

import json
import os
import struct
import zlib
from dataclasses import asdict
from pathlib import Path

import numpy as np

from mdapp.errors import RunFolderError
from mdapp.trajectory.files import sync_open, told
from mdapp.trajectory.layout import Field, Layout

MAGIC = b"MDAPPJ1\n"
LARGEST_HEADER = 1 << 20


class Journal:
    """A journal opened for appending. Numbers are written as they come: the layout's records, little-endian."""

    def __init__(self, path: Path, layout: Layout, run_id: str):
        """Begins an empty journal in place of any that is there."""
        self.path, self.layout = path, layout
        header = json.dumps({"n_atoms": layout.n_atoms, "fields": [asdict(field) for field in layout.fields], "run_id": run_id}).encode()
        head = MAGIC + struct.pack("<II", len(header), zlib.crc32(header)) + header
        with told(path):
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o666)
            _write_all(self._file, head)
        self._start = self._end = len(head)

    def append(self, record: np.ndarray) -> None:
        """One record; whole in the file when this returns, or not there at all."""
        payload = record.tobytes()
        with told(self.path):
            try:
                _write_all(self._file, struct.pack("<I", zlib.crc32(payload)) + payload)
            except OSError:
                os.ftruncate(self._file, self._end)
                os.lseek(self._file, self._end, os.SEEK_SET)
                raise
        self._end += 4 + len(payload)

    def sync(self) -> None:
        """Everything appended so far is on the disk when this returns."""
        sync_open(self._file, self.path)

    def clear(self) -> None:
        """Forgets the records: they are in the trajectory."""
        with told(self.path):
            os.ftruncate(self._file, self._start)
            os.lseek(self._file, self._start, os.SEEK_SET)
        self._end = self._start

    @property
    def is_empty(self) -> bool:
        return self._end == self._start

    def close(self, remove: bool) -> None:
        """Ends the journal; removes it where nothing is left in it."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
            if remove:
                self.path.unlink(missing_ok=True)


def read_journal(path: Path) -> tuple[Layout, str, np.ndarray] | None:
    """Layout, run and whole records of a journal; None where there is none or its header was never finished.

    Returns
    -------
    Layout, id of the run and records (n_frames,) up to the first that does not check.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RunFolderError(f"{path} cannot be read: {error.strerror}.") from None
    if not raw.startswith(MAGIC):
        if MAGIC.startswith(raw):
            return None
        raise RunFolderError(f"{path} is no journal of frames; move it away to go on without the frames in it.")
    begin = len(MAGIC) + 8
    if len(raw) < begin:
        return None
    length, checksum = struct.unpack("<II", raw[len(MAGIC) : begin])
    header = raw[begin : begin + length]
    if length > LARGEST_HEADER or (len(header) == length and zlib.crc32(header) != checksum):
        raise RunFolderError(f"{path} is damaged in its header; move it away to go on without the frames in it.")
    if len(header) < length:
        return None
    told_by = json.loads(header)
    layout = Layout(told_by["n_atoms"], tuple(Field(**{**field, "shape": tuple(field["shape"])}) for field in told_by["fields"]))
    size = layout.record.itemsize
    records, place = [], begin + length
    while place + 4 + size <= len(raw):
        payload = raw[place + 4 : place + 4 + size]
        if zlib.crc32(payload) != struct.unpack("<I", raw[place : place + 4])[0]:
            break
        records.append(payload)
        place += 4 + size
    return layout, told_by["run_id"], np.frombuffer(b"".join(records), dtype=layout.record)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
