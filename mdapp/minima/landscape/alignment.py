"""Two minima laid on each other before a path between them is drawn.

Which atoms correspond is decided by `mdapp.minima.identity` (least RMSD over rotations and permutations of equivalent atoms), with one condition more:
a path breaks no bonds, so the labelled neighbours of every tetrahedral atom (and of a sulfoxide's sulfur) keep their hand. Hydrogens of a methyl may turn round, the two of a CH2 may
not change places; where the least RMSD wants it, two equivalent branches are exchanged back.
"""
from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from mdapp.minima.identity import Identity, rotation
from mdapp.monitors._graph import PYRAMIDS, neighbours_of

FLAT = 0.1  # of the product of three unit bonds: below it an atom counts as flat, and has no hand
ROUNDS = 4


@dataclass(frozen=True)
class Aligned:
    """The second of two minima in the order and place of the first."""

    positions: np.ndarray  # (n_atoms, 3), Å
    rmsd: float  # Å
    permutation: np.ndarray  # (n_atoms,): atom permutation[i] of the second became atom i
    mirrored: bool


def align(identity: Identity, a: np.ndarray, b: np.ndarray) -> Aligned | None:
    """Lay minimum b (n_atoms, 3) on minimum a, Å, for a path between them; None where no path leads there without breaking bonds.

    The nearest superposition may want equivalent groups exchanged that no path exchanges (the halves of a meso molecule).
    Then b and, where they count as one, its mirror image are tried each by itself, and b with every atom as it is named.
    """
    match = identity.match(a, b)
    centres = _centres(identity)
    found = _kept(identity, a, b, match.permutation, match.mirrored, centres)
    if found is not None:
        return found
    rivals = [(identity.match(a, b, mirrored=hand).permutation, hand) for hand in ((False, True) if identity.mirror_is_one else (False,))]
    rivals.append((np.arange(len(a)), False))
    kept = [one for permutation, mirrored in rivals if (one := _kept(identity, a, b, permutation, mirrored, centres)) is not None]
    return min(kept, key=lambda one: one.rmsd, default=None)


def _kept(identity: Identity, a: np.ndarray, b: np.ndarray, permutation: np.ndarray, mirrored: bool, centres: list[tuple[int, list[int]]]) -> Aligned | None:
    """b on a with this permutation, equivalent branches of a centre exchanged where its hand is wrong; None where that does not mend it."""
    permutation, image = np.array(permutation), -b if mirrored else b
    place = a.mean(axis=0)
    image = image - image.mean(axis=0)
    turned = image @ rotation(a - place, image[permutation]) + place
    wanted = _hands(a, centres)
    for _ in range(ROUNDS):  # an exchange may turn the hands of centres in its branches
        found = _hands(image[permutation], centres)
        wrong = np.flatnonzero(wanted * found < 0)
        for k in wrong:
            if wanted[k] * _hands(image[permutation], [centres[k]])[0] > 0:
                continue
            exchanges = [e for i, j in itertools.combinations(centres[k][1], 2) if (e := _exchange(identity, centres[k][0], i, j)) is not None]
            if not exchanges:
                return None
            permutation = permutation[min(exchanges, key=lambda e: np.sum((a - turned[permutation[e]]) ** 2))]
        if not len(wrong):
            break
    else:
        return None
    moved = image[permutation] @ rotation(a - place, image[permutation]) + place
    rmsd = float(np.sqrt(np.mean(np.sum((moved - a) ** 2, axis=1))))
    return Aligned(moved, rmsd, permutation, mirrored)


def _exchange(identity: Identity, centre: int, i: int, j: int) -> np.ndarray | None:
    """The permutation (n_atoms,) that exchanges two equivalent branches of a centre, by their first atoms; None where there is none."""
    labels, n = identity.symmetry.labels, len(identity.numbers)
    if labels[i] != labels[j]:
        return None
    near = neighbours_of(n, identity.bonds)
    first, second = (_branch(near, centre, k) for k in (i, j))
    if len(first) != len(second) or first & second:
        return None
    kept = np.ones((n, n))  # the cost of what is no exchange
    np.fill_diagonal(kept, 0.0)
    one, two = sorted(first), sorted(second)
    for rows, columns in ((one, one), (two, two)):
        kept[np.ix_(rows, columns)] = 1.0
    for rows, columns in ((one, two), (two, one)):
        kept[np.ix_(rows, columns)] = 0.0
    exchange = identity.symmetry.assign(kept)
    return exchange if kept[np.arange(n), exchange].sum() == 0 else None


def _branch(near: list[list[int]], centre: int, first: int) -> set[int]:
    """The atoms that are reached from `first` without passing the centre."""
    found, waiting = {first}, [first]
    while waiting:
        for k in near[waiting.pop()]:
            if k != centre and k not in found:
                found.add(k)
                waiting.append(k)
    return found


def _centres(identity: Identity) -> list[tuple[int, list[int]]]:
    """Atoms with four neighbours, or pyramids too stiff to turn over (of S or P, with three), and these."""
    near = neighbours_of(len(identity.numbers), identity.bonds)
    return [(k, around) for k, around in enumerate(near) if len(around) == 4 or (len(around) == 3 and identity.numbers[k] in PYRAMIDS)]


def _hands(positions: np.ndarray, centres: list[tuple[int, list[int]]]) -> np.ndarray:
    """(n_centres,) +1 or -1: on which side of the first neighbour (of three: of the centre) the others go round; 0 where it cannot be told."""
    found = []
    for centre, near in centres:
        u = positions[near] - positions[centre]
        u = u / np.linalg.norm(u, axis=1, keepdims=True)
        volume = float(np.linalg.det(u[1:] - u[0] if len(near) == 4 else u))
        found.append(0 if abs(volume) < FLAT else int(np.sign(volume)))
    return np.array(found, dtype=int)
