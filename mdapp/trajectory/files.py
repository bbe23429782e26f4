"""Files that are whole or absent: written aside, flushed to disk, renamed."""
from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mdapp.errors import OutputError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path in the same folder that takes the place of `path` when the block ends well, and vanishes otherwise.

    Raises
    ------
    OutputError : the disk is full, permission is missing, the folder is gone. What stood at `path` stays.
    """
    temporary = path.with_name(path.name + ".tmp")
    try:
        with told(path):
            if temporary.is_symlink():
                temporary.unlink()  # nothing is written through it
            yield temporary
            flush_to_disk(temporary)
            os.replace(temporary, path)
            flush_to_disk(path.parent)
    finally:
        temporary.unlink(missing_ok=True) if path.parent.is_dir() else None


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Turns the system's errors into one sentence with the file's name."""
    try:
        yield
    except (OutputError, BrokenPipeError):
        raise
    except OSError as error:
        reason = os.strerror(error.errno).lower() if error.errno else str(error).splitlines()[0]
        raise OutputError(f"{path} cannot be written: {reason}. What was written before is whole; resume when the cause is gone.") from error


def sync_open(descriptor: int, path: Path) -> None:
    """What was written to an open file is on the disk when this returns.

    Raises
    ------
    OutputError : the disk fails; or somebody has removed the file, so that all that is written would vanish with this process.
    """
    with told(path):
        os.fsync(descriptor)
        if os.fstat(descriptor).st_nlink == 0:
            raise OutputError(f"{path} has been removed while it was being written. Bring the folder back, or start anew.")


def flush_to_disk(path: Path) -> None:
    """fsync of a file or a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:  # some file systems know no fsync of folders
        if not path.is_dir():
            raise error
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """A small text file, whole or absent."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
