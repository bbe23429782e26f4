"""Dense stacks and activations, initialised as in flax (lecun-normal kernels, zero biases)."""
from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

Activation = Callable[[Tensor], Tensor]


def identity(x: Tensor) -> Tensor:
    return x


ACTIVATIONS: dict[str, Activation] = {
    "silu": torch.nn.functional.silu,
    "identity": identity,
    "softplus": torch.nn.functional.softplus,
    "relu": torch.nn.functional.relu,
    "tanh": torch.tanh,
    "gelu": torch.nn.functional.gelu,
}


def lecun_normal_(weight: Tensor, fan_in: int) -> None:
    """Truncated normal at two deviations with variance 1/fan_in (after truncation)."""
    torch.nn.init.trunc_normal_(weight, std=1.0, a=-2.0, b=2.0)
    with torch.no_grad():
        weight.mul_(math.sqrt(1.0 / max(fan_in, 1)) / 0.87962566103423978)


def dense(n_in: int, n_out: int, bias: bool = True, zero: bool = False) -> torch.nn.Linear:
    """A linear layer; `zero` starts it at 0."""
    layer = torch.nn.Linear(n_in, n_out, bias=bias)
    with torch.no_grad():
        if zero:
            layer.weight.zero_()
        else:
            lecun_normal_(layer.weight, n_in)
        if bias:
            layer.bias.zero_()
    return layer


class TwoLayers(torch.nn.Module):
    """Dense, activation, dense: n_in -> n_hidden -> n_out."""

    def __init__(self, n_in: int, n_hidden: int, n_out: int, activation: str = "silu", bias: bool = True, zero_last: bool = False):
        super().__init__()
        self.first = dense(n_in, n_hidden, bias)
        self.last = dense(n_hidden, n_out, bias, zero=zero_last)
        self.activation = ACTIVATIONS[activation]

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.activation(self.first(x)))


class ResidualMLP(torch.nn.Module):
    """x + dense(act(dense(act(x)))): the activation comes first."""

    def __init__(self, n: int, activation: str = "silu", bias: bool = True, zero_last: bool = False):
        super().__init__()
        self.layers = TwoLayers(n, n, n, activation, bias, zero_last)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(self.layers.activation(x))
