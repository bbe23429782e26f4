"""Small dense networks from an atom's descriptors to its energy."""
from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from potentials.layers.mlp import Activation, identity

SMOOTH: dict[str, Activation] = {  # with continuous second derivatives, "relu" apart: it is here to read published networks
    "tanh": torch.tanh, "sigmoid": torch.sigmoid, "softplus": torch.nn.functional.softplus, "silu": torch.nn.functional.silu,
    "celu": torch.nn.functional.celu, "gaussian": lambda x: torch.exp(-0.5 * x * x), "cosine": torch.cos,
    "reverse-sigmoid": lambda x: 1 - torch.sigmoid(x), "exponential": lambda x: torch.exp(-x), "harmonic": torch.square,
    "identity": identity, "relu": torch.nn.functional.relu,
}  # fmt: skip


class AtomicNetwork(torch.nn.Module):
    """n_in -> hidden layers -> 1, or several heads, linear at the end; Glorot's normal weights and zero biases to begin with.

    Parameters
    ----------
    activations : one name for each hidden layer; see `SMOOTH`.
    heads : opinions of the energy on one trunk of hidden layers.
    """

    def __init__(self, n_in: int, hidden: Sequence[int], activations: Sequence[str], heads: int = 1):
        super().__init__()
        self.layers = torch.nn.ModuleList(torch.nn.Linear(a, b) for a, b in pairwise((n_in, *hidden, heads)))
        self.activations = [SMOOTH[name] for name in activations]
        for layer in self.layers:
            torch.nn.init.xavier_normal_(layer.weight)  # type: ignore[arg-type]
            torch.nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:  # (n_atoms, n_in) -> (n_atoms, heads)
        for layer, activation in zip(self.layers, self.activations):
            x = activation(layer(x))
        return self.layers[-1](x)
