"""Named regions of the Ramachandran map, after the minima of alanine dipeptide.

Nine boxes tile the whole map, so that every residue has exactly one name. Their middles lie about the minima that ab initio and density functional
calculations find for Ac-Ala-NHMe (T. Head-Gordon et al., J. Am. Chem. Soc. 113, 5989 (1991); R. Vargas et al., J. Phys. Chem. A 106, 3213 (2002)), and
their borders near the ridges between these; beside them the names of A. Perczel et al., J. Am. Chem. Soc. 113, 6256 (1991), whose boxes are similar. The
names are those of L residues; a D residue lies in the box of the point (-phi, -psi).

========  =================  =================  ===============  ========
name      phi                psi                minimum about    Perczel
========  =================  =================  ===============  ========
C7eq      -120 to 0          20 to 110          -83, 75          gammaL
PII       -120 to 0          110 to 240         -70, 145         epsilonL
alphaR    -120 to 0          -120 to 20         -70, -35         alphaL
C5        -240 to -120       100 to 240         -157, 160        betaL
beta2     -240 to -120       -10 to 100         -130, 25         deltaL
alphaP    -240 to -120       -120 to -10        -170, -45        deltaD
C7ax      0 to 120           -120 to -15        74, -60          gammaD
alphaL    0 to 120           -15 to 110         64, 31           alphaD
epsilonD  0 to 120           110 to 240         60, -150         epsilonD
========  =================  =================  ===============  ========
"""
from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from mdapp.record import nearest

REGIONS: dict[str, tuple[float, float, float, float]] = {  # phi from, to; psi from, to, in degrees; a box holds its lower border
    "C7eq": (-120.0, 0.0, 20.0, 110.0),
    "PII": (-120.0, 0.0, 110.0, 240.0),
    "alphaR": (-120.0, 0.0, -120.0, 20.0),
    "C5": (-240.0, -120.0, 100.0, 240.0),
    "beta2": (-240.0, -120.0, -10.0, 100.0),
    "alphaP": (-240.0, -120.0, -120.0, -10.0),
    "C7ax": (0.0, 120.0, -120.0, -15.0),
    "alphaL": (0.0, 120.0, -15.0, 110.0),
    "epsilonD": (0.0, 120.0, 110.0, 240.0),
}
ALIASES = {"ppii": "PII", "αr": "alphaR", "ar": "alphaR", "alpha": "alphaR", "αl": "alphaL", "al": "alphaL", "beta": "C5", "βl": "C5", "β2": "beta2", "α'": "alphaP",
           "alpha'": "alphaP", "αp": "alphaP", "γl": "C7eq", "gammal": "C7eq", "γd": "C7ax", "gammad": "C7ax", "epsilonl": "PII", "εl": "PII", "εd": "epsilonD",
           "deltal": "beta2", "deltad": "alphaP"}  # fmt: skip
ANY = ("any", "*")
_NUMBER = r"[+-]?\d+(?:\.\d*)?"
_BOX = re.compile(rf"({_NUMBER}):({_NUMBER}),({_NUMBER}):({_NUMBER})")


@dataclass(frozen=True)
class Pattern:
    """Which residues are wanted where."""

    boxes: tuple[tuple[float, float, float, float] | None, ...]  # None: anywhere
    somewhere: bool  # one box, for any of the residues

    def holds(self, phi_deg: np.ndarray, psi_deg: np.ndarray) -> np.ndarray:
        """(n,) bool for angles (n, n_residues).

        Raises
        ------
        ValueError : another number of residues than the pattern has.
        """
        inside = [np.ones_like(phi_deg, bool) if box is None else within(box, phi_deg, psi_deg) for box in self.boxes]
        if self.somewhere:
            return np.asarray(inside[0].any(axis=1))
        n = phi_deg.shape[1]
        if n != len(self.boxes):
            raise ValueError(f"region names {len(self.boxes)} residues, but the molecule has {n} with phi and psi. Name each, or one region for any of them.")
        return np.asarray(np.stack([part[:, k] for k, part in enumerate(inside)]).all(axis=0))


def parse_pattern(text: str) -> Pattern:
    """A pattern of regions: `C7eq` (some residue is there), `C7eq/any/C5` (residue by residue), `-100:-60,50:90` (a box of phi and psi in degrees).

    Raises
    ------
    ValueError : an unknown name.
    """
    words = [word.strip() for word in text.split("/")]
    return Pattern(tuple(_box(word) for word in words), somewhere=len(words) == 1)


def _box(word: str) -> tuple[float, float, float, float] | None:
    if word.lower() in ANY:
        return None
    match = _BOX.fullmatch(word.replace(" ", ""))
    if match:
        phi_from, phi_to, psi_from, psi_to = (float(value) for value in match.groups())
        if not (0 < phi_to - phi_from <= 360 and 0 < psi_to - psi_from <= 360):
            raise ValueError(f"region '{word}': a box rises from its first to its second angle, by at most 360 degrees; through 180 write 150:210.")
        return phi_from, phi_to, psi_from, psi_to
    known = {name.lower(): name for name in REGIONS}
    name = known.get(word.lower()) or ALIASES.get(word.lower())
    if name is None:
        raise ValueError(f"region '{word}' is unknown{nearest(word, REGIONS)}; known: {', '.join(REGIONS)}, any, and boxes such as -100:-60,50:90 (phi, psi).")
    return REGIONS[name]


def within(box: tuple[float, float, float, float], phi_deg: np.ndarray, psi_deg: np.ndarray) -> np.ndarray:
    """Which angles lie in a box; bool of their shape."""
    phi_from, phi_to, psi_from, psi_to = box
    return ((phi_deg - phi_from) % 360 < phi_to - phi_from) & ((psi_deg - psi_from) % 360 < psi_to - psi_from)


def named_regions(phi_deg: np.ndarray, psi_deg: np.ndarray) -> np.ndarray:
    """The region of every pair of angles, as text of their shape; '?' where they are not finite."""
    found = np.full(np.shape(phi_deg), "?", dtype="U8")
    for name, box in REGIONS.items():
        found[within(box, phi_deg, psi_deg)] = name
    return found
