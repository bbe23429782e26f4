"""How exact the arithmetic of a training is.

What is safe is the rule here anyway: positions, pair vectors and sums of energies are float64, and the network between them
is float32 (`dtype`): forces are within 0.002 meV/Å of those in float64, energies within 0.0001 meV/atom. TF32 on a CUDA device
rounds the inputs of matrix products to 10 bits, which changes forces by 0.4 meV/Å and energies by 0.05 meV/atom (rounding
emulated on a CPU); it is off unless asked for.

bfloat16 is refused. Its 8 bits change forces by 4 meV/Å on average and 36 at most where only the dense layers have them, by 7 and
74 under torch.autocast, and energies by 0.6 and 1.2 meV/atom: as much as the errors that a training is to remove. On a CPU it is
slower, too. (The shipped So3krates on 60 frames of peptides; scripts/bench_precision.py, scripts/results/precision.csv.)
"""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def matrix_products(tf32: bool) -> Iterator[None]:
    """Within the block, matrix products of float32 on a CUDA device are made in TF32, or are not; a CPU knows no difference."""
    settings = torch.backends.cuda.matmul
    before = settings.allow_tf32
    settings.allow_tf32 = tf32
    try:
        yield
    finally:
        settings.allow_tf32 = before
