"""Whom to cite for what a report shows."""
from __future__ import annotations

from collections.abc import Iterable
from typing import Any

ASE = "ASE: A. H. Larsen et al., J. Phys.: Condens. Matter 29, 273002 (2017)."
METHODS = {
    "nvt-langevin": "Langevin dynamics (BAOAB): B. Leimkuhler and C. Matthews, J. Chem. Phys. 138, 174102 (2013).",
    "nvt-csvr": "Stochastic velocity rescaling: G. Bussi, D. Donadio and M. Parrinello, J. Chem. Phys. 126, 014101 (2007).",
    "nvt-nose-hoover": "Nosé-Hoover chains: G. J. Martyna, M. L. Klein and M. Tuckerman, J. Chem. Phys. 97, 2635 (1992).",
    "nvt-andersen": "Andersen thermostat: H. C. Andersen, J. Chem. Phys. 72, 2384 (1980).",
    "npt-mtk": "Constant pressure (MTK): G. J. Martyna, D. J. Tobias and M. L. Klein, J. Chem. Phys. 101, 4177 (1994).",
    "npt-c-rescale": "Stochastic cell rescaling: M. Bernetti and G. Bussi, J. Chem. Phys. 153, 114107 (2020).",
}  # fmt: skip
MEASURED = {
    "peptide": "MDTraj: R. T. McGibbon et al., Biophys. J. 109, 1528 (2015).",
    "secondary_structure": "DSSP: W. Kabsch and C. Sander, Biopolymers 22, 2577 (1983).",
    "hydrogen_bonds": "Hydrogen bonds: E. N. Baker and R. E. Hubbard, Prog. Biophys. Mol. Biol. 44, 97 (1984).",
    "rmsd": "Superposition: W. Kabsch, Acta Cryst. A32, 922 (1976).",
    "errors": "Errors of means: A. Sokal, Monte Carlo Methods in Statistical Mechanics (1996); H. Flyvbjerg and H. G. Petersen, J. Chem. Phys. 91, 461 (1989).",
}  # fmt: skip
SO3KRATES = "So3krates: J. T. Frank, O. T. Unke, K.-R. Müller and S. Chmiela, Nat. Commun. 15, 6539 (2024)."


def works(version: str, settings: dict[str, Any], measured: Iterable[str]) -> list[str]:
    """One sentence a work.

    Parameters
    ----------
    settings : [run] of run.toml; empty for files of other programs.
    measured : names out of `MEASURED`.
    """
    found = [f"mdapp {version}."]
    if settings:
        found.append(ASE)
        potentials = settings.get("potential", "")
        if "so3krates" in str(potentials).lower():
            found.append(SO3KRATES)
        part = settings.get({"nvt": "thermostat", "npt": "barostat"}.get(str(settings.get("ensemble")), ""))
        found += [METHODS[key] for key in (f"{settings.get('ensemble')}-{part}",) if key in METHODS]
    return found + [MEASURED[name] for name in MEASURED if name in set(measured)]
