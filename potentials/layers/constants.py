"""Fixed numbers of a layer that stay exact: a model rounded to float32 and taken back to float64 has them in full."""
from __future__ import annotations

import torch
from torch import Tensor


class WithConstants(torch.nn.Module):
    """A module with constants: they follow its device and precision, and are not part of its weights."""

    def __init__(self) -> None:
        super().__init__()
        self._exact: dict[str, Tensor] = {}

    def constant(self, name: str, value: Tensor) -> None:
        """Keep `value` (float64) as the attribute `name`."""
        self._exact[name] = value
        self.register_buffer(name, value, persistent=False)

    def _apply(self, fn, recurse=True):
        super()._apply(fn, recurse)
        for name, exact in self._exact.items():
            moved = getattr(self, name)
            setattr(self, name, exact.to(device=moved.device, dtype=moved.dtype))
        return self
