r"""What the heads of a shallow ensemble learn from.

"each": head h learns the energy of frame s with a weight :math:`w_{sh}` drawn from a Poisson distribution of mean 1 (the bootstrap, for frames one by one), and
in each pass over the data the forces of a frame are learnt by one head, drawn by these weights: one backward pass serves them all, at the price of one
potential. "nll": with the mean :math:`\bar y` and the variance :math:`\sigma^2` over the heads, for energies per atom and for force components,

.. math:: L = \frac{1}{2} \left[ \frac{(\bar y - y)^2}{\sigma^2} + \ln \sigma^2 \right]

M. Kellner and M. Ceriotti, Mach. Learn.: Sci. Technol. 5, 035006 (2024), arXiv 2402.16621 (shared weights up to the last layer, and this likelihood).
"""
from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from potentials.data.dataset import Batch

LEAST_SPREAD = {"energy": 1e-4, "forces": 1e-3}  # eV per atom, eV/Å; added to the spread: a likelihood has no limit where heads agree


def drawn(batch: Batch, indices: np.ndarray, n_heads: int, seed: int, epoch: int, bootstrap: bool = True) -> Batch:
    """The batch with the weights of its frames for each head, the same in every epoch, and the heads that learn forces in this one.

    Parameters
    ----------
    indices : (n_structures,) of its frames in their data set.
    """
    weights = np.ones((len(indices), n_heads))
    heads = np.empty(len(indices), dtype=np.int64)
    for k, frame in enumerate(indices):
        if bootstrap:
            weights[k] = np.random.default_rng([seed, int(frame), 104_729]).poisson(1.0, n_heads)
        odds = weights[k] / weights[k].sum() if weights[k].any() else np.full(n_heads, 1 / n_heads)
        heads[k] = np.random.default_rng([seed, int(frame), 104_723, epoch]).choice(n_heads, p=odds)
    return replace(batch, head_weights=torch.from_numpy(weights), head=torch.from_numpy(heads))


def likelihood(of_heads: Tensor, label: Tensor, least: float) -> Tensor:
    """Negative log likelihood of labels (n,) under what the heads (n_heads, n) say, (n,), without its constant."""
    variance = of_heads.var(0) + least**2
    return 0.5 * ((of_heads.mean(0) - label).square() / variance + variance.log())
