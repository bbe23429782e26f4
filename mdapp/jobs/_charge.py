"""What is known of a structure's charge, against what the potential can do with it."""
from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from ase import Atoms

from mdapp.errors import PotentialError


def settle_charge(atoms: Atoms, asked: int | None, knows_charge: bool | None, potential: str) -> list[str]:
    """Put the total charge into ``atoms.info["charge"]`` and return what the user should be warned of.

    Parameters
    ----------
    asked : of the command line; it overrides what the file says.
    knows_charge : whether the total charge means anything to the potential; None where it does not say.

    Raises
    ------
    PotentialError : a charged structure for a potential that does not know charges.
    """
    stated = atoms.info.get("charge")
    warnings = []
    if asked is not None:
        if stated is not None and stated != asked:
            warnings.append(f"The file states a total charge of {stated:+g} e; --charge {asked} overrides it.")
        atoms.info["charge"] = asked
    charge = atoms.info.get("charge", 0)
    if charge and knows_charge is False:
        raise PotentialError(f"The structure has a total charge of {charge:+g} e, but {potential} knows no charge. Take a potential that does, or give "
                             "--charge 0 to have it treated as what the potential knows.")
    electrons = int(atoms.numbers.sum()) - charge
    if electrons % 2 and (atoms.numbers == 1).any():
        warnings.append(f"{electrons:g} electrons at a total charge of {charge:+g} e: a closed shell has an even number. Is an atom missing, or the charge wrong?")
    return warnings


def ionic_groups(atoms: Atoms, bonds: np.ndarray) -> list[str]:
    """Groups that carry a charge by their bonds: ammonium (nitrogen with four partners) and carboxylate (carbon with two bare oxygens).

    Returns
    -------
    Words such as "2 ammonium groups"; empty where there are none.
    """
    partners: list[list[int]] = [[] for _ in range(len(atoms))]
    for a, b in bonds.tolist():
        partners[a].append(b)
        partners[b].append(a)
    z = atoms.numbers
    ammonium = sum(z[k] == 7 and len(near) == 4 for k, near in enumerate(partners))
    carboxylate = sum(z[k] == 6 and len(near) == 3 and sum(z[n] == 8 and len(partners[n]) == 1 for n in near) == 2 for k, near in enumerate(partners))
    return list(_counted((ammonium, "ammonium group"), (carboxylate, "carboxylate group")))


def _counted(*groups: tuple[int, str]) -> Iterable[str]:
    for count, name in groups:
        if count:
            yield f"{count} {name}{'s' if count > 1 else ''}"
