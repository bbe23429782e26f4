"""One process per run folder: a lock that the system takes back when its owner dies."""
from __future__ import annotations

import fcntl
import os
import socket
from pathlib import Path
from types import TracebackType

from mdapp.errors import OutputError
from mdapp.trajectory.files import told

LOCK = "run.lock"


class RunLock:
    """Holds a run folder for this process until `release`, or until the process ends in any way.

    The lock is `flock` on `run.lock`; what the file says (process, machine) is for people.
    """

    def __init__(self, folder: Path, name: str = LOCK):
        """
        Parameters
        ----------
        name : of the lock's file; another one holds a single file of the folder.

        Raises
        ------
        OutputError : another process holds the folder; the message names it.
        """
        self.path = Path(folder) / name
        while True:
            with told(self.path):
                self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.pread(self._file, 200, 0).decode("utf-8", errors="replace").strip() or "another process"
                os.close(self._file)
                raise OutputError(f"{folder} is in use by {holder}. Wait until it ends, or stop it.") from None
            except OSError as error:
                os.close(self._file)
                raise OutputError(f"{folder} cannot be locked: {error.strerror}. Put the run on a file system that knows locks.") from None
            if self._is_still_there():
                break
            os.close(self._file)  # the owner before us removed it in between
        with told(self.path):
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)

    def _is_still_there(self) -> bool:
        try:
            return os.stat(self.path).st_ino == os.fstat(self._file).st_ino
        except FileNotFoundError:
            return False

    def release(self) -> None:
        """Gives the folder back and removes the file."""
        if self._file >= 0:
            self.path.unlink(missing_ok=True)
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> RunLock:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.release()
