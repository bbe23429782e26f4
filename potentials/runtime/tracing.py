"""Writing down what a function of tensors does, with sizes kept symbolic, so that it can be compiled as a whole."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from potentials.graph import AtomicGraph, Edges
from potentials.potential import Potential


def traceable(potential: Potential) -> bool:
    """Does nothing in it hang on values that a trace would hold fast (`traceable` False in a module: the wave vectors of a cell)?"""
    return all(getattr(module, "traceable", True) for module in potential.modules())


def trace_of(function: Callable[..., Any], *arguments: Any) -> torch.fx.GraphModule:
    """The trace of `function` at these arguments, derivatives inside included."""
    from torch.fx.experimental import _config as config
    from torch.fx.experimental.proxy_tensor import make_fx

    # Without duck shapes: else sizes that happen to be equal here (structures and 3, structures and a width of the network) are taken
    # for the same size, and a batch of another size gets wrong numbers.
    with config.patch(use_duck_shape=False):
        trace = make_fx(function, tracing_mode="symbolic", _allow_non_fake_inputs=True)(*arguments)
    _reattach(trace)
    trace.graph.eliminate_dead_code()
    trace.recompile()
    return trace


def _reattach(trace: torch.fx.GraphModule) -> None:
    """Take `detach` out of a trace.

    Where a derivative reuses the result of its operation (exp, say), tracing writes that result down as detached, and the
    gradient to the parameters would miss what flows through it.
    """
    for node in list(trace.graph.nodes):
        if node.target is torch.ops.aten.detach.default:
            node.replace_all_uses_with(node.args[0])
            trace.graph.erase_node(node)
    trace.recompile()


def tensors_of(graph: AtomicGraph) -> tuple[Tensor, ...]:
    """The tensors of a graph, in the order of `graph_of_tensors`."""
    far = () if graph.long_range is None else (graph.long_range.centres, graph.long_range.neighbours, graph.long_range.shifts)
    e = graph.edges
    return graph.positions.detach(), graph.numbers, graph.structure, graph.cell, e.centres, e.neighbours, e.shifts, graph.charge, graph.unpaired, *far


def graph_of_tensors(tensors: tuple[Tensor, ...], long_range_cutoff: tuple[float, ...] | None = None) -> AtomicGraph:
    """The inverse of `tensors_of`."""
    positions, numbers, structure, cell, centres, neighbours, shifts, charge, unpaired, *far = tensors
    long_range = Edges(*far) if far else None
    return AtomicGraph(positions, numbers, structure, cell, Edges(centres, neighbours, shifts), charge, unpaired, long_range, long_range_cutoff)
