"""What must not stand in the folder of a stranger's run: links and other things that lead reading or writing elsewhere, or never end.

A run writes to files of fixed names in its folder. Where one of these names is a symbolic link, writing would go through it; reading a pipe would wait for ever.
The folder itself may be a link: its user has named it.
"""
from __future__ import annotations

import os
import stat
from pathlib import Path

from mdapp.errors import RunFolderError

MOST_ENTRIES = 100_000


def refuse_strange(folder: Path) -> None:
    """Looks at everything in a run folder and in the folders inside it.

    Raises
    ------
    RunFolderError : a symbolic link, or anything that is neither a file nor a folder; named.
    """
    waiting, seen = [folder], 0
    while waiting:
        place = waiting.pop()
        try:
            with os.scandir(place) as entries:
                for entry in entries:
                    seen += 1
                    if seen > MOST_ENTRIES:
                        raise RunFolderError(f"{folder} holds more than {MOST_ENTRIES} files; it is no folder of a run.")
                    if _is_folder(entry):
                        waiting.append(Path(entry.path))
        except FileNotFoundError:
            pass  # a temporary file that was renamed meanwhile
        except OSError as error:
            raise RunFolderError(f"{place} cannot be read: {(error.strerror or str(error)).lower()}.") from None


def _is_folder(entry: os.DirEntry) -> bool:
    """False for a file; anything else is refused."""
    kind = entry.stat(follow_symlinks=False).st_mode
    if stat.S_ISLNK(kind):
        raise RunFolderError(f"{entry.path} is a link to {os.readlink(entry.path)}; files of a run stand in its folder. Put the file itself there, or take the link away.")
    if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
        raise RunFolderError(f"{entry.path} is neither a file nor a folder. Take it away to use this run.")
    return stat.S_ISDIR(kind)
