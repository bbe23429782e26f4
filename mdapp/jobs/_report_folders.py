"""Where reports go, and that nothing else is overwritten there."""
from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mdapp.config import AnalyseConfig
from mdapp.errors import OutputError
from mdapp.jobs._landscape_page import MADE_BY, MinimaSource

if TYPE_CHECKING:
    from mdapp.jobs._sources import Source


def report_folders(config: AnalyseConfig, sources: Sequence[Source | MinimaSource]) -> list[Path]:
    """One folder a report.

    Raises
    ------
    OutputError : a folder holds something that is not a report of ours.
    """
    if config.output is None:
        folders = [source.folder / "report" if source.folder else source.path.with_name(f"{source.path.stem}-report") for source in sources]
    elif len(sources) == 1:
        folders = [Path(config.output)]
    else:
        folders = [Path(config.output) / name for name in distinct([Path(source.name).stem for source in sources])]
    for folder in folders:
        refuse_other(folder)
    return folders


def pooled_folder(config: AnalyseConfig, sources: Sequence[Source]) -> Path:
    """Of the report on several runs together: inside the output, the folder of the replicas, or the folder that holds all runs."""
    if config.output is not None:
        folder = Path(config.output) / "pooled"
    else:
        paths = [source.path for source in sources]
        parent = Path(os.path.commonpath([str(path.parent.resolve()) for path in paths]))
        replicas = all(path.is_dir() and path.parent.resolve() == parent and path.name[:1] == "r" and path.name[1:].isdigit() for path in paths)
        folder = parent / ("report" if replicas else "pooled-report")
    refuse_other(folder)
    return folder


def refuse_other(folder: Path) -> None:
    """A folder that is new, empty or a report of ours may be written."""
    if folder.exists() and not (folder.is_dir() and (not any(folder.iterdir()) or _is_report(folder))):
        raise OutputError(f"{folder} holds something that is not a report of ours and is not overwritten. Choose another --output.")


def distinct(names: list[str]) -> list[str]:
    """Names with a number behind those that came before."""
    seen: dict[str, int] = {}
    found = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        found.append(name if seen[name] == 1 else f"{name}-{seen[name]}")
    return found


def _is_report(folder: Path) -> bool:
    try:
        return json.loads((folder / "summary.json").read_text(encoding="utf-8")).get("made_by") == MADE_BY
    except (OSError, ValueError, AttributeError):
        return False
