"""What is known of a structure's charge, against what the potential can do with it."""
from __future__ import annotations

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
        warnings.append(f"{electrons:g} electrons at a total charge of {charge_words(charge)}: a closed shell has an even number. "
                        "Is an atom missing, or the charge wrong?")
    return warnings


def charge_words(charge: float) -> str:
    """'0 e', '+1 e', '-2 e'."""
    return f"{charge:+g} e" if charge else "0 e"


def ionic_groups(atoms: Atoms, bonds: np.ndarray) -> str:
    """Groups that carry a charge by their bonds: ammonium (nitrogen with four partners), guanidinium (carbon between three nitrogens that share
    five hydrogens or are otherwise full), carboxylate (carbon with two bare oxygens).

    Returns
    -------
    Words such as "2 ammonium groups and 1 carboxylate group, which add up to +1 e"; empty where there are none.
    """
    partners: list[list[int]] = [[] for _ in range(len(atoms))]
    for a, b in bonds.tolist():
        partners[a].append(b)
        partners[b].append(a)
    z = atoms.numbers
    of = lambda k, element: [n for n in partners[k] if z[n] == element]
    carbons = [k for k in range(len(atoms)) if z[k] == 6 and len(partners[k]) == 3]
    ammonium = sum(z[k] == 7 and len(near) == 4 for k, near in enumerate(partners))
    guanidinium = sum(len(of(k, 7)) == 3 and all(len(partners[n]) == 3 for n in of(k, 7)) for k in carbons)
    carboxylate = sum(sum(len(partners[n]) == 1 for n in of(k, 8)) == 2 for k in carbons)
    counted = ((ammonium, "ammonium"), (guanidinium, "guanidinium"), (carboxylate, "carboxylate"))
    words = [f"{count} {name} group{'s' if count > 1 else ''}" for count, name in counted if count]
    return f"{' and '.join(words)}, which add up to {charge_words(ammonium + guanidinium - carboxylate)}" if words else ""
