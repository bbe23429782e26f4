"""events.jsonl: what happened to a run (guards, rewinds, restarts, warnings), one JSON object a line, and the frames around an event."""
from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from mdapp.errors import RunFolderError
from mdapp.frame import Frame
from mdapp.trajectory.lines import Lines
from mdapp.trajectory.snapshots import write_frames

EVENTS = "events.jsonl"


class EventLog:
    """Appends to the log of one run folder. The file begins with the first event."""

    def __init__(self, folder: Path):
        self.folder = Path(folder)
        self.path = self.folder / EVENTS

    def write(self, kind: str, step: int, time_fs: float, message: str, **data: Any) -> None:
        """One event, on the disk when this returns.

        Parameters
        ----------
        kind : a word: guard, warning, rewind, restart, stop, note.
        data : further plain values and small arrays; numbers that are not finite become null.
        """
        event = {"time": datetime.now(timezone.utc).isoformat(timespec="seconds"), "kind": kind, "step": int(step), "time_fs": float(time_fs), "message": message}
        lines = Lines(self.path)
        try:
            lines.write(json.dumps(_finite({**event, **data}), ensure_ascii=False, allow_nan=False))
            lines.sync()
        finally:
            lines.close()


def read_events(folder: Path) -> list[dict[str, Any]]:
    """The events of a run folder in their order; empty where there are none. A partial last line is left out.

    Raises
    ------
    RunFolderError : a line before the last is no JSON object, or one that no run writes.
    """
    path = Path(folder) / EVENTS
    if not path.exists():
        return []
    whole = [raw for raw in path.read_bytes().splitlines(keepends=True) if raw.endswith(b"\n") and raw.strip()]
    events = []
    for number, raw in enumerate(whole, start=1):
        try:
            event = json.loads(raw)
        except ValueError:
            event = None
        if not isinstance(event, dict) or not _is_plausible(event):
            raise RunFolderError(f"{path}: line {number} is damaged; remove it to read the other {len(whole) - 1}.")
        events.append(event)
    return events


def _is_plausible(event: dict[str, Any]) -> bool:
    """Steps are whole numbers and versions a table, where they are there."""
    return all(type(event[name]) is int for name in ("step", "to_step") if name in event) and isinstance(event.get("versions", {}), dict)


def standing(events: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The events of the trajectory as it stands: a restart or a rewind takes back what was said of later steps, which are made again."""
    kept: list[dict[str, Any]] = []
    for event in events:
        back_to = event.get("step") if event.get("kind") == "restart" else event.get("to_step") if event.get("kind") == "rewind" else None
        if back_to is not None:
            kept = [e for e in kept if int(e.get("step", 0)) <= int(back_to)]
        kept.append(event)
    return kept


def save_event_frames(folder: Path, kind: str, step: int, frames: Sequence[Frame]) -> Path | None:
    """The frames around an event as `event-KIND-STEP.extxyz`, full rate; None where there are none. Of two events of one name both are kept."""
    if not frames:
        return None
    word = re.sub(r"[^A-Za-z0-9]+", "-", kind).strip("-").lower() or "event"
    path, number = Path(folder) / f"event-{word}-{step}.extxyz", 1
    while path.exists() or path.is_symlink():
        number += 1
        path = Path(folder) / f"event-{word}-{step}-{number}.extxyz"
    write_frames(path, frames)
    return path


def _finite(value: Any) -> Any:
    """Plain JSON: arrays as lists, null for what is not finite."""
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return _finite(value.tolist())
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value if isinstance(value, (str, int, bool)) or value is None else str(value)
