"""When are two minima one? When they are equal up to rotation, translation and a permutation of equivalent atoms.

A permutation is allowed when it is an automorphism of the bond graph (`symmetry`): hydrogens of a methyl, oxygens of a carboxylate, halves of a phenyl
ring, equal molecules. Which of them is taken is decided by the superposition alone, so the hands of prochiral hydrogens never count, and a permutation that does not
give the same geometry helps nothing. Without bonds (clusters) all atoms of an element are equivalent.

**Mirror images** are two minima where the molecule is chiral, that is, has stereocentres whose hands no automorphism takes to all their opposites; otherwise (clusters,
butane, a glycine chain, meso forms) a conformer and its mirror image count as one, as they have one energy. `mirror="distinct"` or `"one"` decides otherwise; take "distinct" for
chirality without stereocentres (helicenes, hindered biaryls), which is not noticed.

First the **fingerprint**: distances between atoms, sorted within each kind of pair. Sorting never widens a difference, and the distances of two superposed
structures differ by less than their atoms are apart; so with the factor 1/n_atoms the Euclidean distance of two fingerprints is never more than their aligned RMSD: what it
rules out is ruled out for certain. (Long lists are averaged in blocks, which keeps this true.)

Then the **aligned RMSD**, least over rotations and allowed permutations: from a start, the best permutation and the best rotation in turn until neither
changes (W. Kabsch, Acta Cryst. A32, 922 (1976); H. W. Kuhn, Naval Res. Logist. 2, 83 (1955)). Starts are the superposition of the atoms that no automorphism
moves, where these span space; else all ways to lay two atoms and the centroid on their like. For structures that are one, one of the starts is right; for
others the RMSD is that of the best meeting found, an upper bound.
"""
from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from ase import Atoms

from mdapp.errors import StructureError
from mdapp.minima.symmetry import Symmetry
from mdapp.monitors._graph import stereocentres, triple_products
from mdapp.topology import find_bonds

Mirror = Literal["auto", "one", "distinct"]
RMSD_MAX = 0.1  # Å
LARGEST_OVER_RMSD = 5.0  # no atom farther from its like than this times the allowed RMSD: one turned hydroxyl of 600 atoms is another minimum
MOST_FEATURES = 512  # numbers in a fingerprint, where the kinds of pairs are not more
SPREAD = 0.5  # Å; atoms that never move are laid on each other where they reach so far in two directions
MOST_FRAMES = 256  # starts that are looked at for a structure whose atoms can all be exchanged
MOST_ROWS = 400  # atoms up to which the distances around each are compared
PORTION = 16  # of them looked at together, where the first that makes the two one will do
MOST_TRIED = 24  # of them refined, the most promising first
HOPELESS = 3.0  # times the allowed RMSD, before a start is refined
MOST_ROUNDS = 30
FLAT = 0.1  # of the product of three lengths: less is no hand at all


@dataclass(frozen=True)
class Match:
    """The best superposition found of a structure b on a structure a."""

    rmsd: float  # Å
    largest: float  # Å, of the distances between matched atoms
    permutation: np.ndarray  # (n_atoms,): atom permutation[i] of b lies on atom i of a
    mirrored: bool  # b was reflected
    positions: np.ndarray  # (n_atoms, 3) b in the order and place of a, Å

    def within(self, rmsd_max: float) -> bool:
        """Are the two one?"""
        return self.rmsd <= rmsd_max and self.largest <= LARGEST_OVER_RMSD * rmsd_max


class Identity:
    """What makes two minima of one molecule or cluster the same."""

    def __init__(self, numbers: np.ndarray, bonds: np.ndarray, mirror: Mirror = "auto", is_chiral: bool | None = None):
        """
        Parameters
        ----------
        numbers : (n_atoms,) atomic numbers.
        bonds : (n_bonds, 2); none of them for a cluster.
        mirror : are mirror images one minimum? "auto": unless the molecule is chiral.
        is_chiral : do the hands of its stereocentres make its mirror image another molecule? Where not given, any centre with four partners is taken to.
        """
        if mirror not in ("auto", "one", "distinct"):
            raise ValueError(f"mirror must be auto, one or distinct, got '{mirror}'.")
        self.numbers = np.array(numbers, dtype=np.int64)
        self.bonds = np.array(bonds, dtype=np.int64).reshape(-1, 2)
        self.symmetry = Symmetry(self.numbers, self.bonds)
        self.is_chiral = bool((stereocentres(self.numbers, self.bonds)[:, 4] >= 0).any()) if is_chiral is None else bool(is_chiral)
        self.mirror_is_one = mirror == "one" or (mirror == "auto" and not self.is_chiral)
        self._anchors = np.flatnonzero(self.symmetry.fixed)
        self._pairs, self._kinds, self._blocks, self._weights = _pair_kinds(self.symmetry)

    @classmethod
    def of(cls, atoms: Atoms, mirror: Mirror = "auto") -> Identity:
        """From a sound structure: bonds are those that `find_bonds` sees, hands those that it has.

        Raises
        ------
        StructureError : a periodic structure; what is the same there is another question.
        """
        if atoms.pbc.any():
            raise StructureError("Minima are told apart for molecules and clusters only, and this structure is periodic. Remove its cell (pbc = F F F) if it is none.")
        bonds = find_bonds(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc)
        return cls(atoms.numbers, bonds, mirror, _is_chiral(atoms.numbers, bonds, atoms.positions))

    @property
    def n_features(self) -> int:
        """Numbers in a fingerprint: one for every pair of atoms of a small molecule, about 1000 at most."""
        return len(self._weights)

    def fingerprint(self, positions: np.ndarray) -> np.ndarray:
        """(n_features,) in Å; the Euclidean distance of two fingerprints is at most the aligned RMSD of the structures.

        Rotation, translation, reflection and allowed permutations change nothing.
        """
        x = self._checked(positions)
        i, j = self._pairs
        if not len(i):
            return np.zeros(0)
        d = np.linalg.norm(x[i] - x[j], axis=1)
        step = 2 * d.max() + 1.0  # sorts within each kind of pair, all kinds at once
        d = np.sort(d + step * self._kinds) - step * self._kinds
        return np.add.reduceat(d, self._blocks) * self._weights

    def distance(self, a: np.ndarray, b: np.ndarray) -> float:
        """Aligned RMSD of two structures (n_atoms, 3), Å, least over allowed permutations, and over the mirror image where that is one; see the module's head."""
        return self.match(a, b).rmsd

    def same(self, a: np.ndarray, b: np.ndarray, rmsd_max: float = RMSD_MAX) -> bool:
        """Are two structures (n_atoms, 3) one minimum: RMSD at most `rmsd_max` Å, and no atom off by more than five times that?"""
        if np.linalg.norm(self.fingerprint(a) - self.fingerprint(b)) > rmsd_max + 1e-9:
            return False
        return self.match(a, b, rmsd_max).within(rmsd_max)

    def match(self, a: np.ndarray, b: np.ndarray, rmsd_max: float | None = None, mirrored: bool | None = None) -> Match:
        """Lays b on a.

        Parameters
        ----------
        a, b : (n_atoms, 3), Å.
        rmsd_max : where given, the search ends at the first superposition that makes the two one.
        mirrored : b's mirror image alone (True), or b alone (False); whatever is nearer of what counts as one when not given.
        """
        a, b = self._checked(a), self._checked(b)
        place = a.mean(axis=0)
        a, b = a - place, b - b.mean(axis=0)
        best: Match | None = None
        images = (mirrored,) if mirrored is not None else (False, True) if self.mirror_is_one else (False,)
        hands = [(image, -b if image else b) for image in images]
        for starts in itertools.zip_longest(*(self._starts(a, hand, rmsd_max) for _, hand in hands)):
            for (image, hand), start in zip(hands, starts):
                if start is None:
                    continue
                found = self.refined(a, hand, start, image, place)
                if best is None or found.rmsd < best.rmsd:
                    best = found
                if best.rmsd < 1e-9 or (rmsd_max is not None and best.within(rmsd_max)):
                    return best
        image, hand = hands[0]
        return best or self.refined(a, hand, hand @ rotation(a, hand), image, place, rounds=1)

    def refined(self, a: np.ndarray, b: np.ndarray, turned: np.ndarray, mirrored: bool, place: np.ndarray, rounds: int = MOST_ROUNDS) -> Match:
        """The best permutation and the best rotation in turn, from b as it is turned, until neither changes."""
        seen: np.ndarray | None = None
        for _ in range(rounds):
            p = self.symmetry.assign(_squares(a, turned))
            if seen is not None and np.array_equal(p, seen):
                break
            seen = p
            turned = b @ rotation(a, b[p])
        assert seen is not None
        apart = np.linalg.norm(turned[seen] - a, axis=1)
        return Match(float(np.sqrt(np.mean(apart**2))), float(apart.max()), seen, mirrored, turned[seen] + place)

    def _starts(self, a: np.ndarray, b: np.ndarray, rmsd_max: float | None) -> Iterator[np.ndarray | None]:
        """b turned in the ways from which a search begins, both centred; now and then None, so that the other hand has its turn.

        Where only what is one matters, hopeless ones are left out.
        """
        n = len(a)
        if n <= 2:
            yield b @ rotation(a, b)
            return
        k = self._anchors
        if len(k) >= 3 and min(_second_width(a[k]), _second_width(b[k])) > SPREAD:
            p, q = a[k].mean(axis=0), b[k].mean(axis=0)
            yield (b - q) @ rotation(a[k] - p, b[k] - q) + p
            yield b @ rotation(a, b)
            return
        rmsd_max = np.inf if rmsd_max is None else rmsd_max
        as_given = b @ rotation(a, b)
        if np.linalg.norm(as_given - a) <= np.sqrt(n) * HOPELESS * rmsd_max:
            yield as_given
        yield from _frames(a, b, self.symmetry.labels, rmsd_max)

    def _checked(self, positions: np.ndarray) -> np.ndarray:
        x = np.asarray(positions, dtype=float)
        if x.shape != (len(self.numbers), 3):
            raise ValueError(f"positions have shape {x.shape}, expected ({len(self.numbers)}, 3): they belong to another structure.")
        return x


def rotation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(3, 3) proper rotation R for which b @ R is nearest to a; both (n_atoms, 3), about the origin."""
    u, _, vt = np.linalg.svd(b.T @ a)
    if np.linalg.det(u) * np.linalg.det(vt) < 0:
        u[:, 2] *= -1.0
    return u @ vt


def _is_chiral(numbers: np.ndarray, bonds: np.ndarray, positions: np.ndarray) -> bool:
    """Does no automorphism take the hands of all stereocentres to their opposites? (Flat centres have no hand.)"""
    centres = stereocentres(numbers, bonds)
    if not len(centres):
        return False
    symmetry = Symmetry(numbers, bonds)
    partners = centres[:, 1:]
    ranks = np.where(partners < 0, len(numbers), symmetry.labels[partners])
    first = np.take_along_axis(partners, np.argsort(ranks, axis=1), axis=1)[:, :3]  # in an order that every automorphism keeps
    r = positions[first] - positions[centres[:, :1]]
    volumes = triple_products(r[:, 0], r[:, 1], r[:, 2]) / np.linalg.norm(r, axis=2).prod(axis=1)
    known = np.abs(volumes) > FLAT
    at, hands = centres[known, 0], np.sign(volumes[known])
    kept = np.zeros((len(numbers), len(numbers)))
    kept[at] = 1.0
    kept[np.ix_(at, at)] = hands[:, None] == hands
    return bool(kept[np.arange(len(numbers)), symmetry.assign(kept)].sum() > 0.5)


def _frames(a: np.ndarray, b: np.ndarray, labels: np.ndarray, rmsd_max: float) -> Iterator[np.ndarray | None]:
    """b turned so that two of its atoms, seen from the centroid, lie like two chosen atoms of a; the most promising first.

    None at all where the two cannot be within `rmsd_max` (Å) of each other; of the others those are left out from which that is not reached.
    """
    radius_a, radius_b = np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)
    alike = labels[:, None] == labels
    mismatch = np.where(alike, np.abs(radius_a[:, None] - radius_b), np.inf)
    if len(a) <= MOST_ROWS:
        around_a, around_b = (np.sort(np.sqrt(_squares(x, x)), axis=1) for x in (a, b))
        rows = np.where(alike, np.sqrt(np.mean((around_a[:, None] - around_b[None]) ** 2, axis=2)), np.inf)
        if np.mean(rows.min(axis=1) ** 2) > 2 * rmsd_max**2:  # sorted rows differ by less than distances, and these by less than atoms
            return
        mismatch = mismatch + rows
    far = radius_a > min(0.5, 0.5 * radius_a.max())
    rivals = (mismatch < mismatch.min(axis=1, keepdims=True) + 0.3).sum(axis=1)  # how many atoms of b could be this one
    u = int(np.lexsort((-radius_a, rivals, ~far))[0])
    axis = a[u] / radius_a[u]
    beside = np.linalg.norm(a - np.outer(a @ axis, axis), axis=1)
    if beside.max() < 1e-3:  # all on a line
        for u_b in np.argsort(mismatch[u], kind="stable")[:4]:
            yield b @ rotation(a[u : u + 1], b[u_b : u_b + 1])
        return
    v = int(np.lexsort((-beside, rivals, beside < min(0.5, 0.5 * beside.max())))[0])
    apart = np.abs(np.linalg.norm(b[:, None] - b[None], axis=2) - np.linalg.norm(a[u] - a[v]))
    score = mismatch[u][:, None] + mismatch[v][None, :] + apart
    np.fill_diagonal(score, np.inf)
    best = np.argsort(score, axis=None)[:MOST_FRAMES]
    best = best[np.isfinite(score.ravel()[best])]
    first, second = np.unravel_index(best, score.shape)
    turns = _frame(b[first], b[second]) @ np.swapaxes(_frame(a[u][None], a[v][None]), 1, 2)  # (n, 3, 3)
    tried = 0
    for part in (turns[k : k + PORTION] for k in range(0, len(turns), PORTION)) if np.isfinite(rmsd_max) else (turns,):
        lower = np.array([_least_cost(a, b @ turn, labels) for turn in part])
        promising = [k for k in np.argsort(lower, kind="stable") if lower[k] <= len(a) * (HOPELESS * rmsd_max) ** 2]
        for k in promising[: max(0, MOST_TRIED - tried)]:
            yield b @ part[k]
        tried += len(promising)
        yield None


def _frame(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """(n, 3, 3) with columns along u, across it towards v, and normal to both."""
    e1 = u / np.maximum(np.linalg.norm(u, axis=1, keepdims=True), 1e-12)
    e2 = v - np.einsum("ij,ij->i", v, e1)[:, None] * e1
    e2 = e2 / np.maximum(np.linalg.norm(e2, axis=1, keepdims=True), 1e-12)
    return np.stack((e1, e2, np.cross(e1, e2)), axis=2)


def _least_cost(a: np.ndarray, b: np.ndarray, labels: np.ndarray) -> float:
    """Less than or equal to the cost of any assignment: every atom of a takes its nearest like."""
    return float(np.where(labels[:, None] == labels, _squares(a, b), np.inf).min(axis=1).sum())


def _squares(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(n, m) squared distances."""
    return np.maximum(np.einsum("ij,ij->i", a, a)[:, None] + np.einsum("ij,ij->i", b, b) - 2.0 * a @ b.T, 0.0)


def _second_width(x: np.ndarray) -> float:
    """How far points reach in the second of their principal directions, rms Å."""
    c = x - x.mean(axis=0)
    return float(np.sqrt(max(np.linalg.eigvalsh(c.T @ c / len(c))[1], 0.0)))


def _pair_kinds(symmetry: Symmetry) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of atoms ordered by their kind (the labels of the two), and how their distances are summed in blocks.

    Where there are too many kinds, those between the same two stretches of the molecule become one: mean distances between fragments tell shapes apart best.

    Returns
    -------
    i, j (n_pairs,); kind (n_pairs,) of each pair, rising; first pair of each block (n_features,); weight of each block's sum (n_features,).
    """
    walk = np.concatenate([copies[0] for _, copies in symmetry.kinds])  # along the molecules
    _, first = np.unique(symmetry.labels[walk], return_index=True)
    place = np.argsort(np.argsort(first))[symmetry.labels]  # labels in the order of the walk
    i, j = np.triu_indices(len(place), 1)
    for stretch in itertools.count(1):
        part = place // stretch
        kinds, kind = np.unique(np.minimum(part[i], part[j]) * len(place) + np.maximum(part[i], part[j]), return_inverse=True)
        if len(kinds) <= MOST_FEATURES:
            break
    order = np.argsort(kind, kind="stable")
    i, j, kind = i[order], j[order], kind[order]
    size = max(1, -(-len(kind) // MOST_FEATURES))
    ends = np.searchsorted(kind, np.arange(len(kinds) + 1))
    blocks = np.concatenate([np.arange(a, b, size) for a, b in zip(ends[:-1], ends[1:])] or [np.zeros(0, dtype=np.int64)])
    return (i, j), kind.astype(float), blocks, 1.0 / (np.sqrt(np.diff(np.append(blocks, len(kind)))) * len(place))
