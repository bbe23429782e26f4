"""Many structures to their minima: as many together as fit, new ones in as others arrive, and none that costs the others."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from ase import Atoms

from mdapp.relax.pool import RelaxationPool
from mdapp.relax.single import Relaxed
from potentials.runtime.batch_evaluator import Item

Evaluate = Callable[[Sequence[Item]], tuple[np.ndarray, list[np.ndarray]]]


@dataclass(frozen=True)
class BatchOptions:
    """How structures relax together; see `RelaxationPool`."""

    optimiser: str = "lbfgs"
    fmax: float = 0.01  # eV/Å
    steps: int = 1000
    max_step: float = 0.2  # Å
    model: bool = True  # lbfgs begins at a model of the Hessian

    def pool(self) -> RelaxationPool:
        return RelaxationPool(self.optimiser, self.fmax, self.steps, self.max_step, self.model)


def relax_batch(
    structures: Iterable[Atoms],
    evaluate: Evaluate,
    options: BatchOptions | None = None,
    in_flight: int = 256,
    on_round: Callable[[RelaxationPool], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Iterator[tuple[int, Relaxed]]:
    """Relax structures together and give each back as it arrives.

    Parameters
    ----------
    structures : read one at a time, never more than `in_flight` ahead of what was given back; not changed.
    evaluate : energies and forces of many structures, see `potentials.calculator.batch_evaluator`. Where it fails, the structures that it fails on end
        with the reason, the others go on.
    options : defaults where not given.
    in_flight : structures on their way at once.
    on_round : called with the pool after each evaluation of all of them.
    should_stop : asked after each evaluation; true ends all with what they reached ("stopped from outside").

    Yields
    ------
    The structure's number, counted from 0, and where it ended, in the order of arrival.
    """
    pool = (options or BatchOptions()).pool()
    tolerant, forget = Tolerant(evaluate), getattr(evaluate, "forget", None)
    waiting = enumerate(structures)
    left_over = False
    while not left_over or pool:
        while not left_over and len(pool) < in_flight:
            index, atoms = next(waiting, (None, None))
            if atoms is None or index is None:
                left_over = True
                break
            pool.add(index, atoms)
        if not pool:
            break
        finished = pool.accept(*tolerant(pool.requests()))
        if should_stop is not None and should_stop():
            left_over = True
            finished += [end for key in pool.keys() if (end := pool.drop(key, "stopped from outside")) is not None]
        for end in finished:
            if forget is not None:
                forget(end.key)
            yield end.key, tolerant.explained(end.key, end.relaxed)  # type: ignore[misc]
        if on_round is not None:
            on_round(pool)


class Tolerant:
    """An evaluation of many structures that survives those it fails on: their energies are NaN, and `problems` says why.

    The culprits of a failure are found by halves. Running out of memory is no structure's fault, and neither is an interruption: both pass through.
    """

    def __init__(self, evaluate: Evaluate):
        self.evaluate = evaluate
        self.problems: dict[object, str] = {}

    def __call__(self, items: Sequence[Item]) -> tuple[np.ndarray, list[np.ndarray]]:
        if not items:
            return np.empty(0), []
        try:
            return self.evaluate(items)
        except Exception as error:
            if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
                raise
            if len(items) == 1:
                lines = str(error).strip().splitlines()
                self.problems[items[0].key] = f"{type(error).__name__}: {lines[0].rstrip('.')}" if lines else type(error).__name__
                return np.array([np.nan]), [np.full((len(items[0].positions), 3), np.nan)]
        half = len(items) // 2
        (e1, f1), (e2, f2) = self(items[:half]), self(items[half:])
        return np.concatenate([e1, e2]), [*f1, *f2]

    def explained(self, key: object, relaxed: Relaxed) -> Relaxed:
        """The same, with the reason that the evaluation gave where it ended for want of finite numbers."""
        problem = self.problems.pop(key, None)
        return replace(relaxed, reason=f"{relaxed.reason} ({problem})") if problem and not relaxed.converged else relaxed
