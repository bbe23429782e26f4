"""HDF5 files opened with distrust: no link out of the file, no data kept elsewhere, no size that the file cannot hold."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from mdapp.errors import RunFolderError

MOST_OBJECTS = 100_000
LARGEST_PACKING = 2000  # bytes claimed for one byte in the file; zlib reaches 1030


@contextmanager
def open_plain(path: Path) -> Iterator[h5py.File]:
    """A file opened for reading, after a walk through all that is in it.

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
            _refuse_links(file, path)
        except RunFolderError:
            raise
        except Exception as error:  # h5py raises many kinds for damaged bytes
            raise RunFolderError(f"{path} is damaged ({type(error).__name__}: {str(error)[:100]}).") from None
        yield file


def _refuse_links(file: h5py.File, path: Path) -> None:
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
                if item.nbytes > LARGEST_PACKING * size:
                    raise RunFolderError(f"{path}: {item.name} claims {item.nbytes:.1e} bytes in a file of {size}.")
