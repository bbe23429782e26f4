"""Which move pays: a bandit over the moves, by new minima per force evaluation.

New minima of a move are taken for events of a Poisson process whose clock is the number of evaluations. The unknown rate has a Gamma distribution, which
begins at one event in `PRIOR_EVALUATIONS`, or at `PRIOR_EVENTS` events at the rate that a move is known for (its `guess`), and forgets the past slowly,
because a search exhausts what a move can find. Before each hop a rate is drawn for each move, and the largest wins (Thompson sampling): moves that pay are
used more, and no move is given up before it has been tried.

W. R. Thompson, Biometrika 25, 285 (1933); D. Russo et al., A Tutorial on Thompson Sampling, Found. Trends Mach. Learn. 11, 1 (2018).
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

PRIOR_NEW, PRIOR_EVALUATIONS = 1.0, 200.0
PRIOR_EVENTS = 3.0  # a move that disappoints is given up after some ten hops
CHEAPEST = 20  # evaluations that a hop counts for at least: one that ends before the first has brought nothing either
MEMORY = 60_000.0  # evaluations of one move after which 63 % of what it taught is forgotten


@dataclass
class Arm:
    """What is known of one move."""

    new: float = 0.0  # discounted
    evaluations: float = 0.0  # discounted
    hops: int = 0
    all_new: int = 0
    all_evaluations: int = 0

    @property
    def per_thousand(self) -> float:
        """New minima per 1,000 evaluations, over the whole search."""
        return 1000.0 * self.all_new / self.all_evaluations if self.all_evaluations else 0.0


class Mixture:
    """The moves of a search and what each has brought.

    Parameters
    ----------
    guesses : evaluations that a new minimum costs by a move, before anything is known of the molecule.
    """

    def __init__(self, names: Sequence[str], guesses: Mapping[str, float] | None = None):
        if not names:
            raise ValueError("A search needs at least one move.")
        self.arms = {name: Arm() for name in names}
        guesses = guesses or {}
        self._prior = {name: (PRIOR_EVENTS, PRIOR_EVENTS * guesses[name]) if name in guesses else (PRIOR_NEW, PRIOR_EVALUATIONS) for name in names}

    def choose(self, rng: np.random.Generator) -> str:
        """The move of the next hop."""
        rates = {}
        for name, arm in self.arms.items():
            new, evaluations = self._prior[name]
            rates[name] = rng.gamma(new + arm.new) / (evaluations + arm.evaluations)
        return max(rates, key=lambda name: rates[name])

    def learn(self, name: str, is_new: bool, evaluations: int) -> None:
        """What a hop brought; hops of other moves (the start) teach nothing."""
        arm = self.arms.get(name)
        if arm is None:
            return
        cost = max(evaluations, CHEAPEST)
        keep = float(np.exp(-cost / MEMORY))
        arm.new, arm.evaluations = keep * arm.new + is_new, keep * arm.evaluations + cost
        arm.hops, arm.all_new, arm.all_evaluations = arm.hops + 1, arm.all_new + is_new, arm.all_evaluations + evaluations
