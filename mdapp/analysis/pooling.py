r"""Means over several runs of the same system, with the error that the runs' disagreement shows.

A run weighs as much as it is long; a run that is stuck in one basin looks sure of itself, and must not count for more than one that moves. The error is the
larger of two,

.. math:: \sigma_{within}^2 = \sum_r w_r^2 \sigma_r^2, \qquad
          \sigma_{between}^2 = \frac{\sum_r w_r^2}{1 - \sum_r w_r^2} \sum_r w_r (m_r - \bar m)^2,

of what each run says of itself and of how far the runs' means lie apart. Where the second is much the larger, the runs have not seen the same ensemble: their own
errors cannot know of what none of them has crossed.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mdapp.analysis.dihedrals import Ramachandran
from mdapp.analysis.free_energy import FreeEnergySurface, bin_shares, surface_of
from mdapp.analysis.hydrogen_bonds import HydrogenBonds
from mdapp.analysis.secondary_structure import SecondaryStructure


@dataclass(frozen=True)
class PooledMean:
    """A mean over several runs; numbers, or arrays of one shape."""

    value: np.ndarray
    within: np.ndarray  # standard error by the runs' own errors
    between: np.ndarray  # standard error by the spread of the runs' means
    furthest: np.ndarray  # of a run's mean from the pooled one, in standard deviations of their difference

    @property
    def error(self) -> np.ndarray:
        """The larger of the two."""
        return np.fmax(self.within, self.between)


def pooled_mean(means: Sequence[float] | np.ndarray, errors: Sequence[float] | np.ndarray, lengths: Sequence[float] | np.ndarray) -> PooledMean:
    """Mean over runs; see the head of the module.

    Parameters
    ----------
    means, errors : (n_runs, ...) of each run, and its standard error.
    lengths : (n_runs,) in any unit; what a run weighs.

    Raises
    ------
    ValueError : no runs, or lengths that are not those of the means.
    """
    m, e, w = (np.asarray(x, dtype=float) for x in (means, errors, lengths))
    if not len(m) or m.shape != e.shape or w.shape != m.shape[:1] or not w.sum() > 0:
        raise ValueError(f"Means of shape {m.shape}, errors of shape {e.shape} and lengths of shape {w.shape} are not those of the same runs.")
    w = (w / w.sum()).reshape(-1, *[1] * (m.ndim - 1))
    value, squares = np.sum(w * m, axis=0), float(np.sum(w**2))
    within = np.sqrt(np.sum((w * e) ** 2, axis=0))
    between = np.sqrt(np.sum(w * (m - value) ** 2, axis=0) * squares / (1 - squares)) if squares < 1 else np.zeros_like(value)
    apart = np.sqrt(np.maximum(e**2 * (1 - 2 * w) + within**2, 0.0))
    furthest = np.max(np.abs(m - value) / np.where(apart > 0, apart, np.inf), axis=0)
    return PooledMean(value, within, between, furthest)


def pooled_surface(runs: Sequence[Ramachandran], temperature_K: float, n_bins: int = 36) -> FreeEnergySurface:
    """Free energy over phi and psi of all runs together; the error of a bin knows how differently the runs populate it.

    Parameters
    ----------
    runs : at one temperature, of the same residues.
    """
    shares = [bin_shares(one, n_bins=n_bins) for one in runs]
    pooled = pooled_mean(np.stack([p for p, _ in shares]), np.stack([e for _, e in shares]), [length_ps(one.time_ps) for one in runs])
    return surface_of(pooled.value, pooled.error, temperature_K, sum(len(one.time_ps) for one in runs))


def pooled_hydrogen_bonds(runs: Sequence[HydrogenBonds]) -> HydrogenBonds:
    """Hydrogen bonds of all runs, the most frequent first; the runs follow one another in time, and one that never saw a bond counts as 0."""
    bonds = list(dict.fromkeys(tuple(bond) for one in runs for bond in one.bonds.tolist()))
    place = {bond: k for k, bond in enumerate(bonds)}
    share, error = np.zeros((len(runs), len(bonds))), np.zeros((len(runs), len(bonds)))
    labels, starts = [""] * len(bonds), np.cumsum([0, *(len(one.time_ps) for one in runs)])
    frames: list[list[np.ndarray]] = [[] for _ in bonds]
    for r, one in enumerate(runs):
        for k, bond in enumerate(map(tuple, one.bonds.tolist())):
            at = place[bond]
            share[r, at], error[r, at], labels[at] = one.share[k], one.share_error[k], one.labels[k]
            frames[at].append(one.events[k] + starts[r])
    pooled = pooled_mean(share, error, [length_ps(one.time_ps) for one in runs])
    order = np.argsort(-pooled.value, kind="stable")
    return HydrogenBonds(one_after_another([one.time_ps for one in runs]), np.concatenate([one.count for one in runs]), np.array(bonds, dtype=np.int64).reshape(-1, 3)[order],
                         tuple(labels[k] for k in order), pooled.value[order], pooled.error[order], runs[0].criterion, tuple(np.concatenate(frames[k]) for k in order))


def joined_secondary_structure(runs: Sequence[SecondaryStructure]) -> SecondaryStructure:
    """DSSP of all runs, one after another in time."""
    return SecondaryStructure(one_after_another([one.time_ps for one in runs]), runs[0].residues, np.concatenate([one.codes for one in runs]))


def joined_ramachandran(runs: Sequence[Ramachandran]) -> Ramachandran:
    """Backbone torsions of all runs, one after another in time."""
    return Ramachandran(one_after_another([one.time_ps for one in runs]), runs[0].residues, np.concatenate([one.phi_deg for one in runs]),
                        np.concatenate([one.psi_deg for one in runs]))


def one_after_another(times: Sequence[np.ndarray]) -> np.ndarray:
    """Times of runs as if each began a frame after the end of the one before."""
    found, end = [], 0.0
    for t in times:
        found.append(t - t[0] + end)
        end += length_ps(t)
    return np.concatenate(found)


def length_ps(time_ps: np.ndarray) -> float:
    """Of a run, the frame at its end included; 1 where there is one frame."""
    return float(time_ps[-1] - time_ps[0] + np.median(np.diff(time_ps))) if len(time_ps) > 1 else 1.0
