"""A traced function as machine code in a file, made once and loaded by every later run.

`torch.compile` keeps compiled kernels, but traces, guards and wraps them anew at each start (six to nine seconds for So3krates) and at each call
goes through Python. Here the whole function becomes one library (AOTInductor): later starts load it in a second, and a call costs its arithmetic.
"""
from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from potentials.runtime import code_cache
from potentials.runtime.tracing import trace_of

Function = Callable[..., tuple[Tensor, ...]]


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
    if not file.exists():
        _make(function, example, varying, file)
    found = _load(file)
    if found is None:  # cut short, or of another build in disguise
        _make(function, example, varying, file)
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


def _make(function: Function, example: Sequence[Tensor], varying: Sequence[str | None], file: Path) -> None:
    """Trace, export with open lengths, compile, and put the file in its place whole."""
    from torch._inductor import aoti_compile_and_package
    from torch.export import Dim, export
    from torch.fx.experimental import _config as config

    trace = trace_of(function, *example)
    dims = tuple({0: Dim.AUTO} if letter else None for letter in varying)
    with warnings.catch_warnings(), torch.no_grad(), config.patch(use_duck_shape=False):
        warnings.simplefilter("ignore")  # torch's parts warn of each other
        program = export(_Module(trace), tuple(example), dynamic_shapes=(dims,), strict=False)
        _check(program, varying)
        with tempfile.TemporaryDirectory(dir=file.parent, prefix="making-") as aside:
            made = aoti_compile_and_package(program, package_path=str(Path(aside, "code.pt2")))
            os.replace(made, file)


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
