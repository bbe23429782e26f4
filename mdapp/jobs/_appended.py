"""Frames that were appended to an extended xyz file one after another, each whole or cut short by a kill."""
from __future__ import annotations

import re
from pathlib import Path

_KEY = re.compile(r"(?:^|\s)structure=(\d+)(?:\s|$)")


def whole_frames(path: Path) -> dict[int, tuple[int, int]]:
    """structure -> (begin, end) in the file; what a killed process left half written ends the list."""
    places: dict[int, tuple[int, int]] = {}
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return places
    begin = 0
    while begin < len(data):
        lines = data[begin : begin + (1 << 16)].split(b"\n", 2)
        if len(lines) < 3 or not lines[0].strip().isdigit() or not (found := _KEY.search(lines[1].decode("utf-8", "replace"))):
            break
        end = begin
        for _ in range(int(lines[0]) + 2):
            end = data.find(b"\n", end) + 1
            if end == 0:
                return places
        places[int(found[1])] = (begin, end)
        begin = end
    return places
