"""A traced function as machine code in a file, made once and loaded by every later run.

`torch.compile` keeps compiled kernels, but traces, guards and wraps them anew at each start (six to nine seconds for So3krates) and at each call
goes through Python. Here the whole function becomes one library (AOTInductor): later starts load it in a second, and a call costs its arithmetic.

It is made in a forked process where there can be one: tracing calls Python from C++ that must not throw, so an exception raised there, by the handler of a
signal say, would abort the whole program. Whoever waits for a child can be interrupted at any moment; and what compiling takes of memory goes with it.
"""
from __future__ import annotations

import ctypes
import os
import signal
import tempfile
import threading
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from potentials.runtime import code_cache
from potentials.runtime.tracing import trace_of

Function = Callable[..., tuple[Tensor, ...]]
HEARD = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name))  # whose handlers may raise


def compiled(function: Function, example: Sequence[Tensor], varying: Sequence[str | None], file: Path) -> Callable[..., list[Tensor]]:
    """The compiled twin of a function of tensors; it keeps nothing that could be differentiated.

    Parameters
    ----------
    function : tensors in, a tuple of tensors out; it may differentiate inside.
    example : arguments to trace it at; lengths of 2 or more, where they vary.
    varying : for each argument a letter for the length of its first dimension where that may change, equal for lengths that are always equal, or None.
    file : where the code is kept (`code_cache.file_of`).

    Raises
    ------
    RuntimeError : the function cannot be traced with these lengths open, or the C++ compiler failed.
    """
    found = _load(file) if file.exists() else None
    if found is None:  # not there, cut short, or of another build in disguise
        with tempfile.TemporaryDirectory(dir=file.parent, prefix="making-") as aside:
            made = Path(aside, "code.pt2")
            if not _made_in_a_child(function, example, varying, made):
                _make(function, example, varying, made)  # here, where its error can be told
            os.replace(made, file)
        found = _load(file)
        if found is None:
            raise RuntimeError(f"Compiled code could not be loaded from {file}.")
    code_cache.used(file)
    return found


def _load(file: Path) -> Callable[..., list[Tensor]] | None:
    from torch._inductor import aoti_load_package

    try:
        loader = aoti_load_package(str(file), run_single_threaded=True).loader
    except (RuntimeError, OSError, ValueError):
        file.unlink(missing_ok=True)
        return None
    return lambda *tensors: loader.boxed_run(list(tensors))  # tensors in and out are a flat list: nothing to sort, as the model's own call would at each step


def _made_in_a_child(function: Function, example: Sequence[Tensor], varying: Sequence[str | None], file: Path) -> bool:
    """Whether a forked process could make the file; an exception here ends it."""
    if not hasattr(os, "fork") or threading.current_thread() is not threading.main_thread() or torch.cuda.is_initialized():
        return False
    threads = torch.get_num_threads()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HEARD)  # a fork takes a while, and an exception at its end would lose the child's number
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python's, of a fork beside threads; the child has but the one
            child = os.fork()
    except OSError:  # no memory or no number for one more
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return False
    if child == 0:
        _make_and_leave(function, example, varying, file, threads)
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    except BaseException:
        _put_an_end_to(child)
        raise


def _put_an_end_to(child: int) -> None:
    """Kill it and wait for its end. What interrupts it again meanwhile, as a handler may until it is heard, does not leave it half done."""
    while True:
        try:
            for end in (os.killpg, os.kill):  # its C++ compiler with it, once it has a group
                with suppress(ProcessLookupError):
                    end(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return
        except ChildProcessError:  # waited for already
            return
        except BaseException:
            continue


def _make_and_leave(function: Function, example: Sequence[Tensor], varying: Sequence[str | None], file: Path, threads: int) -> None:
    """The child's whole life. Of the parent's threads it has none, so it computes with one, and writes code for as many as the parent has."""
    code = 1
    try:
        os.setsid()
        _die_with_the_parent()
        for number in HEARD:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HEARD)
        torch.set_num_threads(1)
        from torch._inductor import config

        with config.patch({"cpp.threads": threads}):
            _make(function, example, varying, file)
        code = 0
    except BaseException:  # the parent tries again and tells why
        pass
    finally:
        os._exit(code)


def _die_with_the_parent() -> None:
    """Where Linux can: a parent that was killed leaves no child that holds its open files, a run's lock among them."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, int(signal.SIGKILL))  # PR_SET_PDEATHSIG


def _make(function: Function, example: Sequence[Tensor], varying: Sequence[str | None], file: Path) -> None:
    """Trace, export with open lengths, compile."""
    from torch._inductor import aoti_compile_and_package
    from torch.export import Dim, export
    from torch.fx.experimental import _config as config

    trace = trace_of(function, *example)
    dims = tuple({0: Dim.AUTO} if letter else None for letter in varying)
    with warnings.catch_warnings(), torch.no_grad(), config.patch(use_duck_shape=False):
        warnings.simplefilter("ignore")  # torch's parts warn of each other
        program = export(_Module(trace), tuple(example), dynamic_shapes=(dims,), strict=False)
        _check(program, varying)
        aoti_compile_and_package(program, package_path=str(file))


def _check(program: Any, varying: Sequence[str | None]) -> None:
    """Lengths that shall vary stayed open, each by itself: else another size would give wrong numbers.

    Raises
    ------
    RuntimeError : one was fixed, or two were taken for one.
    """
    values = [node.meta["val"] for node in program.graph.nodes if node.op == "placeholder"][-len(varying) :]
    names: dict[str, str] = {}
    for value, letter in zip(values, varying):
        if letter:
            length = value.shape[0]
            if isinstance(length, int):
                raise RuntimeError(f"Cannot compile: the traced function holds for a length of {length} only.")
            names.setdefault(str(length), letter)
            if names[str(length)] != letter:
                raise RuntimeError(f"Cannot compile: the traced function takes lengths {names[str(length)]} and {letter} for the same.")


class _Module(torch.nn.Module):
    def __init__(self, trace: torch.fx.GraphModule):
        super().__init__()
        self.trace = trace

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        return self.trace(*tensors)
