"""HDF5 files opened with distrust (no link out of the file, no data kept elsewhere, no size that the file cannot hold), and written with care.

The HDF5 library does not survive a disk that fills up while it writes: it complains from its destructors and crashes the process at exit. So a new
file is put together in memory and written by the system's own calls, and a file that is to grow is given its room beforehand.
"""
from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py

from mdapp.errors import RunFolderError

MOST_OBJECTS = 100_000
LARGEST_PACKING = 2000  # bytes claimed for one byte in the file; zlib reaches 1030


@contextmanager
def open_plain(path: Path, packing: float = LARGEST_PACKING) -> Iterator[h5py.File]:
    """A file opened for reading, after a walk through all that is in it.

    Parameters
    ----------
    packing : bytes that a dataset may claim for one byte of the file; 1 where nothing is compressed.

    Raises
    ------
    RunFolderError : missing, damaged, or holding links, outside storage or sizes that are not plain data.
    """
    try:
        file = h5py.File(path, "r", locking=False)
    except FileNotFoundError:
        raise RunFolderError(f"{path} does not exist.") from None
    except (OSError, RuntimeError) as error:
        raise RunFolderError(f"{path} is damaged or no HDF5 file ({str(error).splitlines()[0][:100]}).") from None
    with file:
        try:
            _refuse_links(file, path, packing)
        except RunFolderError:
            raise
        except Exception as error:  # h5py raises many kinds for damaged bytes
            raise RunFolderError(f"{path} is damaged ({type(error).__name__}: {str(error)[:100]}).") from None
        yield file


@contextmanager
def image_of(**options: Any) -> Iterator[tuple[h5py.File, bytearray]]:
    """A new file in memory, and where its bytes will be when the block has ended."""
    image = bytearray()
    with h5py.File("image", "w", driver="core", backing_store=False, **options) as file:
        yield file, image
        file.flush()
        image += file.id.get_file_image()


def make_room(path: Path, n_bytes: int) -> None:
    """Claims so many bytes behind the end of a file; HDF5 gives back what it does not need when it closes the file.

    Raises
    ------
    OSError : the disk has not so much.
    """
    descriptor = os.open(path, os.O_RDWR)
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(descriptor, os.fstat(descriptor).st_size, n_bytes)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):  # a file system that cannot
            raise
    finally:
        os.close(descriptor)


def _refuse_links(file: h5py.File, path: Path, packing: float) -> None:
    size = path.stat().st_size
    waiting, seen = [file["/"]], 0
    while waiting:
        group = waiting.pop()
        for name in group:
            seen += 1
            if seen > MOST_OBJECTS:
                raise RunFolderError(f"{path} holds more than {MOST_OBJECTS} objects; it is no file of ours.")
            link = group.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise RunFolderError(f"{path}: {group.name}/{name} is a link to elsewhere; such files are not opened.")
            item = group[name]
            if isinstance(item, h5py.Group):
                waiting.append(item)
            elif isinstance(item, h5py.Dataset):
                if item.external or item.is_virtual:
                    raise RunFolderError(f"{path}: {item.name} keeps its data in another file; such files are not opened.")
                if item.nbytes > packing * size:
                    raise RunFolderError(f"{path}: {item.name} claims {item.nbytes:.1e} bytes in a file of {size}.")
