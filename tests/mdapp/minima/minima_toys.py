"""Cheap landscapes whose minima are known: carbon chains with threefold torsions, Lennard-Jones clusters."""
from __future__ import annotations

import numpy as np
import torch
from ase import Atoms

BOND, ANGLE = 1.53, 112.0  # Å, degrees
EPSILON, SIGMA = 0.0103, 3.4  # eV, Å
PENTANE, HEXANE = 4, 9  # distinct minima of g+ / g- / t chains, mirror images and reversed chains being equal; hexane's tenth, g+g-g+, bites its own tail


def chain(n: int, dihedrals_deg: tuple[float, ...] | None = None) -> Atoms:
    """A chain of n carbons, all trans where no dihedrals are given."""
    dihedrals = dihedrals_deg or (180.0,) * (n - 3)
    turn = np.radians(180.0 - ANGLE)
    r = [np.zeros(3), np.array([BOND, 0, 0]), np.array([BOND + BOND * np.cos(turn), BOND * np.sin(turn), 0])]
    for phi in np.radians(dihedrals):
        a, b, c = r[-3:]
        bc = (c - b) / np.linalg.norm(c - b)
        normal = np.cross(b - a, bc)
        normal /= np.linalg.norm(normal)
        m = np.cross(normal, bc)
        r.append(c + BOND * (np.cos(turn) * bc + np.sin(turn) * (np.cos(phi) * m + np.sin(phi) * normal)))
    return Atoms(f"C{n}", positions=np.array(r))


class Chains:
    """Springs along bonds and across angles, and a torsion with minima near 180° and ±60°: nothing else, so that dihedrals are independent."""

    def __init__(self, brittle: bool = False):
        self.evaluations, self.calls = 0, 0
        self.brittle = brittle  # springs that let go when they are drawn too far

    def __call__(self, items):
        self.calls += 1
        self.evaluations += len(items)
        r = torch.from_numpy(np.stack([item.positions for item in items])).requires_grad_(True)
        d = r[:, 1:] - r[:, :-1]
        across = 2 * BOND * np.sin(np.radians(ANGLE) / 2)
        spring = (lambda x: (1 - torch.exp(-4 * x)) ** 2 / 16) if self.brittle else (lambda x: x**2)
        e = 10.0 * spring(d.norm(dim=2) - BOND).sum(1) + 5.0 * spring((r[:, 2:] - r[:, :-2]).norm(dim=2) - across).sum(1)
        n = torch.linalg.cross(d[:, :-1], d[:, 1:])
        cosine = (n[:, :-1] * n[:, 1:]).sum(2) / (n[:, :-1].norm(dim=2) * n[:, 1:].norm(dim=2))
        e = e + (0.1 * (1 + 4 * cosine**3 - 3 * cosine) - 0.03 * (1 - cosine) / 2).sum(1)  # cos 3 phi from cos phi; 180° is lowest
        (gradient,) = torch.autograd.grad(e.sum(), r)
        return e.detach().numpy(), list(-gradient.numpy())

    def forget(self, key):
        pass


class Clusters:
    """Lennard-Jones, all pairs, argon's units."""

    def __init__(self):
        self.evaluations = 0

    def __call__(self, items):
        self.evaluations += len(items)
        x = np.stack([item.positions for item in items])
        n = x.shape[1]
        i, j = np.triu_indices(n, 1)
        d = x[:, i] - x[:, j]
        r2 = np.einsum("spk,spk->sp", d, d) / SIGMA**2
        s6 = 1.0 / r2**3
        pull = (24 * EPSILON * (2 * s6 * s6 - s6) / r2 / SIGMA**2)[:, :, None] * d
        sums = np.zeros((n, len(i)))
        sums[i, np.arange(len(i))], sums[j, np.arange(len(i))] = 1, -1
        return (4 * EPSILON * (s6 * s6 - s6)).sum(1), list(np.einsum("np,spk->snk", sums, pull, optimize=True))

    def forget(self, key):
        pass


def cluster(n: int) -> Atoms:
    """n argon atoms on a line: a start that says nothing of the minima."""
    return Atoms(f"Ar{n}", positions=np.arange(n)[:, None] * [3.8, 0.1, 0.0])
