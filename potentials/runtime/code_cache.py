"""Where compiled code is kept from run to run, and under what name.

A file is found again only for the same potential (class, settings, every weight), the same source of this package, the same torch, processor and
number of threads. Loading it runs the code in it, so the folder must belong to the user and be writable by nobody else; any other is refused
and a folder of this process alone takes its place. `MDAPP_CACHE` names another folder than the user's own cache.
"""
from __future__ import annotations

import atexit
import hashlib
import os
import platform
import re
import shutil
import stat
import tempfile
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from potentials.potential import Potential

KEPT = 40  # files, about 6 MB each; the longest unused go first


@cache
def folder() -> Path:
    """The folder, made where it is missing; one of this process alone where the user's cannot be trusted or written."""
    base = os.environ.get("MDAPP_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mdapp"
    path = Path(base).expanduser() / "compiled"
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if _private(path) and os.access(path, os.W_OK):
            return path
    except OSError:
        pass
    alone = Path(tempfile.mkdtemp(prefix="mdapp-compiled-"))
    atexit.register(shutil.rmtree, alone, ignore_errors=True)
    return alone


def _private(path: Path) -> bool:
    found = path.lstat()
    return stat.S_ISDIR(found.st_mode) and (not hasattr(os, "getuid") or found.st_uid == os.getuid()) and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def file_of(potential: Potential, *what: object) -> Path:
    """Where the code for this potential, and for what is asked of it, is or will be."""
    parts = (identity_of(potential), _house(), torch.__version__, torch.backends.cpu.get_cpu_capability(), platform.processor(), platform.machine(),
             torch.get_num_threads(), *what)  # fmt: skip
    return folder() / f"{hashlib.sha256(repr(parts).encode()).hexdigest()[:40]}.pt2"


def used(path: Path) -> None:
    """Say that a file was of use, and drop those that were not for longest."""
    try:
        os.utime(path)
        for old in sorted(path.parent.glob("*.pt2"), key=lambda p: p.stat().st_mtime)[:-KEPT]:
            old.unlink(missing_ok=True)
    except OSError:  # another process tidies too
        pass


def identity_of(potential: Potential) -> str:
    """A hash of the classes, plain settings, parameters and buffers of a potential; its own `identity` where it was made from another."""
    made_from = getattr(potential, "identity", None)
    if isinstance(made_from, str):
        return made_from
    digest = hashlib.sha256()
    for name, module in potential.named_modules():
        digest.update(f"{name} {type(module).__module__}.{type(module).__qualname__} {sorted(_settings(module))}".encode())
        for kept in (module._parameters, module._buffers):
            for key, tensor in sorted(kept.items()):
                digest.update(f"{key} {None if tensor is None else (tensor.dtype, tuple(tensor.shape))}".encode())
                if tensor is not None:
                    digest.update(_bytes(tensor))
    return digest.hexdigest()


def _settings(module: torch.nn.Module) -> Iterable[str]:
    for key, value in vars(module).items():
        if not key.startswith("_") and key not in ("card", "lineage"):
            digest = hashlib.sha256(_bytes(value)).hexdigest() if isinstance(value, Tensor) else ""
            yield f"{key}={re.sub(r' at 0x[0-9a-f]+', '', repr(value)) if not digest else digest}"


def _bytes(tensor: Tensor) -> Any:
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


@cache
def _house() -> str:
    """A hash of this package's source: code that was changed is compiled anew."""
    digest = hashlib.sha256()
    root = Path(__file__).resolve().parents[1]
    for path in sorted(root.rglob("*.py")):
        digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
