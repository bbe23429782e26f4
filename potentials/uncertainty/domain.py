r"""How far the surroundings of an atom are from those of the training set, by the features that a potential itself makes of them.

Of each element the features f of its atoms in the training set have a mean and a covariance, and the distance is Mahalanobis', in units of the
training set's own edge:

.. math:: d = \frac{1}{d_{edge}} \sqrt{(f - \bar f)^T (C + \epsilon I)^{-1} (f - \bar f)}

=======================  ==========================================================================
symbol                   variable
=======================  ==========================================================================
:math:`\bar f`           ``mean`` (n_elements, n_features)
:math:`(C+\epsilon)^{-1/2}`  ``whitening`` (n_elements, n_features, n_features), features in units of their spread
:math:`d_{edge}`         ``edge`` (n_elements,), the distance that `INSIDE` of the training atoms do not reach
=======================  ==========================================================================

Source: the idea of a distance in the features of a network's last layer for atoms: J. P. Janet et al., Chem. Sci. 10, 7913 (2019), with a covariance in
place of single neighbours.
"""
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from potentials.graph import AtomicGraph
from potentials.potential import Potential

INSIDE = 0.999  # of the training atoms are nearer than the edge
RIDGE = 1e-3  # of the mean variance, added to every direction: along one without spread a small step is not infinitely far
NAMES = ("numbers", "mean", "whitening", "edge")


@dataclass(frozen=True)
class Domain:
    """The training set as a potential saw it; plain tensors."""

    numbers: Tensor  # (n_elements,) int64, rising
    mean: Tensor  # (n_elements, n_features)
    whitening: Tensor  # (n_elements, n_features, n_features)
    edge: Tensor  # (n_elements,)

    def __post_init__(self) -> None:
        n = len(self.numbers)
        width = self.mean.shape[-1]
        shapes = {"numbers": (n,), "mean": (n, width), "whitening": (n, width, width), "edge": (n,)}
        for name, shape in shapes.items():
            if tuple(getattr(self, name).shape) != shape:
                raise ValueError(f"{name} of a training domain has shape {tuple(getattr(self, name).shape)}, expected {shape}.")
        if not bool((self.edge > 0).all()):
            raise ValueError("The edge of a training domain must be above 0.")

    def distances(self, features: Tensor, numbers: Tensor) -> Tensor:
        """Distance of each atom, (n_atoms,) float64, 1 at the edge of the training set; infinite for an element that was not in it.

        Parameters
        ----------
        features : (n_atoms, n_features), as `Potential.atomic_features` gives them.
        numbers : (n_atoms,) atomic numbers.
        """
        found = torch.full((len(numbers),), torch.inf, dtype=torch.float64, device=features.device)
        order, counts = self._sorted(numbers)
        parts = features.index_select(0, order).double().split(counts)
        lengths = [((part - mean.to(part.device)) @ scaled.to(part.device)).norm(dim=1) for part, (mean, scaled) in zip(parts, self._scaled) if len(part)]
        if lengths:
            found[order] = torch.cat(lengths)
        return found

    @cached_property
    def _scaled(self) -> list[tuple[Tensor, Tensor]]:
        """Mean and whitening over the edge of each element, float64."""
        return list(zip(self.mean.double(), self.whitening.double() / self.edge[:, None, None]))

    def _sorted(self, numbers: Tensor) -> tuple[Tensor, list[int]]:
        """Atoms of the known elements, element by element, and how many there are of each; kept for the next call, which mostly has the same atoms."""
        before = self.__dict__.get("_seen")
        if before is None or before[0].device != numbers.device or not torch.equal(before[0], numbers):
            of_each = [torch.nonzero(numbers == z)[:, 0] for z in self.numbers.tolist()]
            before = self.__dict__["_seen"] = numbers.clone(), torch.cat(of_each), [len(rows) for rows in of_each]
        return before[1:]

    def to(self, device: torch.device | str) -> Domain:
        return Domain(*(getattr(self, name).to(device) for name in NAMES))

    @property
    def tensors(self) -> dict[str, Tensor]:
        """To be stored."""
        return {name: getattr(self, name) for name in NAMES}


def fit_domain(features: Tensor, numbers: Tensor) -> Domain:
    """The domain that atoms span.

    Parameters
    ----------
    features : (n_atoms, n_features) of the training set, or of a sample of it.
    numbers : (n_atoms,) atomic numbers.

    Raises
    ------
    ValueError : no atoms, or features that are not finite.
    """
    if len(numbers) == 0 or features.ndim != 2 or features.shape[1] == 0:
        raise ValueError(f"A training domain needs features of atoms, got shape {tuple(features.shape)}.")
    if not bool(torch.isfinite(features).all()):
        raise ValueError("Features of the training atoms are not all finite.")
    f = features.double().cpu()
    z = numbers.cpu()
    means, whitenings, edges = [], [], []
    elements = sorted(set(z.tolist()))
    for element in elements:
        mine = f[z == element]
        mean, whitening = _moments(mine)
        means.append(mean)
        whitenings.append(whitening)
        edges.append(max(_edge(mine), 1.0))  # a few atoms, all alike, do not make a domain without extent
    return Domain(torch.tensor(elements), torch.stack(means).float(), torch.stack(whitenings).float(), torch.tensor(edges, dtype=torch.float64))


def _moments(f: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (n_features,) and whitening (n_features, n_features) of features (n_atoms, n_features)."""
    mean = f.mean(0)
    away = f - mean
    covariance = away.T @ away / max(1, len(f) - 1)
    variance = float(covariance.diagonal().mean()) or 1.0
    values, directions = torch.linalg.eigh(covariance + RIDGE * variance * torch.eye(f.shape[1], dtype=torch.float64))
    return mean, directions * values.clamp_min(RIDGE * variance).rsqrt()


def _edge(f: Tensor) -> float:
    """The distance that `INSIDE` of the atoms do not reach: of each half as the other half sees it, for atoms that a covariance was made of seem near."""
    order = torch.randperm(len(f), generator=torch.Generator().manual_seed(0))
    halves = (f[order[::2]], f[order[1::2]]) if len(f) > 1 else (f, f)
    edges = []
    for seen, other in (halves, halves[::-1]):
        mean, whitening = _moments(seen)
        lengths = ((other - mean) @ whitening).norm(dim=1)
        edges.append(float(torch.quantile(lengths[torch.linspace(0, len(lengths) - 1, min(len(lengths), 1_000_000)).long()], INSIDE)))
    return max(edges)


@torch.no_grad()
def domain_of(potential: Potential, graphs: Iterable[AtomicGraph]) -> Domain | None:
    """The domain of a potential's training structures; None where it has no features to show.

    Raises
    ------
    ValueError : no structures.
    """
    features, numbers = [], []
    for graph in graphs:
        found = potential.atomic_features(graph)
        if found is None:
            return None
        features.append(found.detach().cpu())
        numbers.append(graph.numbers.cpu())
    if not features:
        raise ValueError("A training domain needs structures, got none.")
    return fit_domain(torch.cat(features), torch.cat(numbers))
