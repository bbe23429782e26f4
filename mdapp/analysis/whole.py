"""Molecules in one piece, where a trajectory has wrapped their atoms into the box."""
from __future__ import annotations

from collections import deque

import numpy as np


def spanning_tree(n_atoms: int, bonds: np.ndarray) -> np.ndarray:
    """Bonds as (n_links, 2) pairs of parent and child, parents first, each atom a child at most once; molecules begin at their first atom."""
    partners: list[list[int]] = [[] for _ in range(n_atoms)]
    for i, j in np.asarray(bonds).reshape(-1, 2).tolist():
        partners[i].append(j)
        partners[j].append(i)
    seen, links = [False] * n_atoms, []
    for root in range(n_atoms):
        if seen[root]:
            continue
        seen[root] = True
        queue = deque([root])
        while queue:
            parent = queue.popleft()
            for child in partners[parent]:
                if not seen[child]:
                    seen[child] = True
                    links.append((parent, child))
                    queue.append(child)
    return np.array(links, dtype=int).reshape(-1, 2)


def make_whole(positions: np.ndarray, tree: np.ndarray, cells: np.ndarray, pbc: np.ndarray) -> np.ndarray:
    """Positions with every atom at the image nearest to its parent in the tree.

    Parameters
    ----------
    positions : (n_frames, n_atoms, 3), Å.
    tree : (n_links, 2) of `spanning_tree`.
    cells : (n_frames, 3, 3), rows, Å; used along the periodic directions only.
    pbc : (3,) bool.
    """
    if not np.any(pbc):
        return positions
    whole = np.array(positions)
    boxes = cells * np.asarray(pbc)[:, None]
    inverse = np.linalg.pinv(boxes)
    for parent, child in tree:
        apart = whole[:, child] - whole[:, parent]
        images = np.rint(np.einsum("fx,fxk->fk", apart, inverse))
        whole[:, child] -= np.einsum("fk,fkx->fx", images, boxes)
    return whole
