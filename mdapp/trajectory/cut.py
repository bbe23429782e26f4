"""Was a binary trajectory cut off? MDTraj reads such a file up to its last whole frame and says nothing.

A DCD file tells in its head how many frames it holds; after the last whole frame of an XTC or TRR file nothing may follow.
"""
from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from mdapp.trajectory.hushed import hushed

XTC_HEAD, XTC_FEW = 56, 9  # bytes up to the coordinates; up to so many atoms are stored as plain numbers


def cut_off(path: Path) -> str:
    """What is missing, in words; '' where nothing is, or where it cannot be told."""
    look = {".dcd": _dcd, ".xtc": _xtc, ".trr": _trr}.get(path.suffix.lower())
    return look(path) if look else ""


def _dcd(path: Path) -> str:
    from mdtraj.formats import DCDTrajectoryFile

    with open(path, "rb") as file:
        head = file.read(12)
    if len(head) < 12 or head[4:8] != b"CORD":
        return ""
    told = struct.unpack("<i" if head[0] == 84 else ">i", head[8:12])[0]
    with hushed(), DCDTrajectoryFile(str(path)) as file:
        found = len(file)
    return f"it was to hold {told} frames, and {found} can be read." if found < told else ""


def _xtc(path: Path) -> str:
    from mdtraj.formats import XTCTrajectoryFile

    size = path.stat().st_size
    with hushed(), XTCTrajectoryFile(str(path)) as frames:
        try:
            last = int(frames.offsets[-1])
        except AssertionError:  # small molecules: the size is no multiple of a frame's
            return "a part of a frame follows its last whole one."
    with open(path, "rb") as file:
        file.seek(last)
        head = file.read(XTC_HEAD + 36)
    n_atoms = struct.unpack(">i", head[4:8])[0]
    length = XTC_HEAD + 12 * n_atoms if n_atoms <= XTC_FEW else XTC_HEAD + 36 + -(-struct.unpack(">i", head[-4:])[0] // 4) * 4
    return _rest(size - last - length)


def _trr(path: Path) -> str:
    from mdtraj.formats import TRRTrajectoryFile

    with hushed(), TRRTrajectoryFile(str(path)) as file:
        offsets = np.asarray(file.offsets)
    lengths = np.unique(np.diff(offsets))
    return _rest(path.stat().st_size - int(offsets[-1]) - int(lengths[0])) if len(lengths) == 1 else ""


def _rest(n_bytes: int) -> str:
    return f"{n_bytes} bytes of a frame that is not whole follow the last one." if n_bytes > 0 else "its last frame is not whole." if n_bytes < 0 else ""
