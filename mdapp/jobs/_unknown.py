"""What of a structure the potential never saw, by the training set that its file keeps: told before the first step, while there is something to be done."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms

if TYPE_CHECKING:
    from mdapp.jobs._potential import LoadedPotential

SHOWN = 5  # atoms that are named
EDGE = 1.0  # of the training set


def unknown_words(atoms: Atoms, potential: LoadedPotential) -> list[str]:
    """One warning that names the atoms outside the training set, the farthest first; none where all are inside, or where the potential does not know.

    The distances are those of `potentials.uncertainty.Domain`; atoms of several potentials together are not judged.
    """
    own = getattr(potential.calculator, "potential", None)
    if getattr(own, "domain", None) is None:
        return []
    import torch

    from potentials.neighbours import graph_for

    with torch.no_grad():
        graph = graph_for(atoms, own).to(potential.calculator.evaluator.device)
        distances = own.domain.distances(own.atomic_features(graph), graph.numbers)
    return _in_words(atoms, distances.cpu().numpy(), potential.title)


def _in_words(atoms: Atoms, distances: np.ndarray, title: str) -> list[str]:
    order: Any = np.argsort(-distances, kind="stable")
    far = [int(k) for k in order if distances[k] > EDGE]
    if not far:
        return []
    names = [f"{atoms.symbols[k]}{k}" for k in far[:SHOWN]] + ([f"{len(far) - SHOWN} more"] if len(far) > SHOWN else [])
    listed = " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
    one = len(far) == 1
    return [f"{listed} {'is' if one else 'are'} outside what {title} was trained on ({'' if one else 'up to '}{distances[far[0]]:.2g} times as far as the edge of its "
            f"training set): its forces there are guesses. Take a potential that knows such surroundings, or teach it with `mdapp learn`."]
