"""One sweep of a Nosé-Hoover chain, in plain numbers.

ASE's own sweep works on arrays of three elements one element at a time; a few hundred such operations a step cost more than
everything else in the engine. The equations and their order are ASE's.

G. J. Martyna et al., Mol. Phys. 87, 1117 (1996), Eqs. 29 to 31; the fourth-order weights are those of Suzuki and Yoshida.
"""
from __future__ import annotations

import math

import numpy as np
from ase.md.nose_hoover_chain import FOURTH_ORDER_COEFFS


def integrate_chain(eta: np.ndarray, p_eta: np.ndarray, Q: np.ndarray, twice_kinetic: float, target: float, kT: float, delta: float,
                    loops: int = 1) -> float:
    """Moves the chain by `delta` and returns the factor for the momenta that it holds.

    Parameters
    ----------
    eta, p_eta : positions and momenta of the chain (n_links,); changed in place.
    Q : its masses (n_links,).
    twice_kinetic : sum of p²/m of what the first link holds, eV.
    target : the value that `twice_kinetic` should have on average, eV.
    kT : what the momentum of each link should have, eV.

    Returns
    -------
    The factor; NaN, and the chain as it was, where the numbers have run away.
    """
    x, p, m = eta.tolist(), p_eta.tolist(), Q.tolist()
    last = len(p) - 1
    factor = 1.0

    def push(j: int, step: float) -> None:
        push_j = twice_kinetic * factor * factor - target if j == 0 else p[j - 1] * p[j - 1] / m[j - 1] - kT
        drag = math.exp(-0.5 * step * p[j + 1] / m[j + 1]) if j < last else 1.0
        p[j] = (p[j] * drag + step * push_j) * drag

    try:
        for _ in range(loops):
            for weight in FOURTH_ORDER_COEFFS:
                step = weight * delta / loops
                for j in range(last, -1, -1):
                    push(j, step / 2)
                for j in range(last + 1):
                    x[j] += step * p[j] / m[j]
                factor *= math.exp(-step * p[0] / m[0])
                for j in range(last + 1):
                    push(j, step / 2)
    except OverflowError:
        return math.nan
    eta[:], p_eta[:] = x, p
    return factor
