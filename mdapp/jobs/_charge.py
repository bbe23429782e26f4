"""What is known of a structure's charge and unpaired electrons, against what the potential can do with them."""
from __future__ import annotations

import numpy as np
from ase import Atoms

from mdapp.errors import PotentialError, StructureError
from mdapp.topology import find_bonds


def settle_charge(
    atoms: Atoms, asked: int | None, knows_charge: bool | None, potential: str, multiplicity: int | None = None, knows_spin: bool | None = None
) -> list[str]:
    """Put total charge and multiplicity into ``atoms.info`` ("charge", "multiplicity") and return what the user should be warned of.

    Parameters
    ----------
    asked, multiplicity : of the command line; they override what the file says.
    knows_charge, knows_spin : whether they mean anything to the potential; None where it does not say.

    Raises
    ------
    PotentialError : a charged or open-shell structure for a potential that does not know of such.
    StructureError : a multiplicity in the file that is none.
    """
    warnings = [*_settle(atoms, "charge", asked, "a total charge of {:+g} e"), *_settle(atoms, "multiplicity", multiplicity, "multiplicity {:g}")]
    charge, spin = atoms.info.get("charge", 0), stated_multiplicity(atoms)
    if charge and knows_charge is False:
        raise PotentialError(f"The structure has a total charge of {charge:+g} e, but {potential} knows no charge. Take a potential that does, or give "
                             "--charge 0 to have it treated as what the potential knows.")
    if spin != 1 and knows_spin is False:
        raise PotentialError(f"The structure has multiplicity {spin}, but {potential} knows no unpaired electrons. Take a potential that does, or give "
                             "--multiplicity 1 to have it treated as what the potential knows.")
    return warnings + (_groups(atoms, charge, knows_charge, potential) or _electrons(atoms, charge, spin, knows_spin))  # groups tell more than a count


def _settle(atoms: Atoms, key: str, asked: int | None, words: str) -> list[str]:
    """Let the command line override the file, and say so where they differ."""
    stated = atoms.info.get(key)
    if asked is None:
        return []
    atoms.info[key] = asked
    differ = stated is not None and stated != asked
    return [f"The file states {words.format(stated)}; --{key} {asked} overrides it."] if differ else []


def stated_multiplicity(atoms: Atoms) -> int:
    """Multiplicity in ``atoms.info``, 1 where there is none.

    Raises
    ------
    StructureError : no whole number from 1 on.
    """
    value = atoms.info.get("multiplicity", 1)
    try:
        whole = float(value) == int(value) and not isinstance(value, bool)
    except (TypeError, ValueError, OverflowError):
        whole = False
    if not whole or int(value) < 1:
        raise StructureError(f"multiplicity is {value!r}, expected a whole number from 1 on (2 for one unpaired electron).")
    return int(value)


def _electrons(atoms: Atoms, charge: float, multiplicity: int, knows_spin: bool | None) -> list[str]:
    """Does the number of electrons fit the multiplicity? A structure without hydrogen may be a coarse or model system, and is left alone."""
    electrons = int(atoms.numbers.sum()) - charge
    if (electrons - (multiplicity - 1)) % 2 == 0 or not ((atoms.numbers == 1).any() or "multiplicity" in atoms.info):
        return []
    count = f"{electrons:g} electrons at a total charge of {charge_words(charge)}"
    if "multiplicity" in atoms.info:
        return [f"{count} cannot have multiplicity {multiplicity}, which needs an {'even' if multiplicity % 2 else 'odd'} number. Is the charge wrong?"]
    radical = " A radical needs --multiplicity 2." if knows_spin else ""
    return [f"{count}: a closed shell has an even number. Is an atom missing, or the charge wrong?{radical}"]


def _groups(atoms: Atoms, charge: float, knows_charge: bool | None, potential: str) -> list[str]:
    """Do the ionic groups of the bond graph fit what the potential is told of their charge?"""
    if knows_charge is None or not (atoms.numbers == 1).any():
        return []
    groups, total = ionic_groups(atoms, find_bonds(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc))
    if groups and not knows_charge:
        return [f"{potential} knows no charge, but by their bonds the structure holds {groups}: it may never have seen such groups."]
    if groups and total != charge:
        taken = f"is {charge_words(charge)}" if "charge" in atoms.info else "is not stated and taken as 0 e"
        return [f"The total charge {taken}, but by their bonds the structure holds {groups}. If that is right, give --charge {total}."]
    return []


def state_words(atoms: Atoms, charge: int | None, multiplicity: int | None, knows_spin: bool | None) -> str:
    """'total charge -1 e (--charge), multiplicity 1 (not stated, taken as 1)': what the potential is told, and who says so.

    Parameters
    ----------
    atoms : after `settle_charge`.
    charge, multiplicity : of the command line.
    """
    def source(key: str, asked: int | None, default: str) -> str:
        return f"--{key}" if asked is not None else "from the structure file" if key in atoms.info else f"not stated, taken as {default}"

    words = [f"total charge {charge_words(atoms.info.get('charge', 0))} ({source('charge', charge, '0')})"]
    if knows_spin:
        words.append(f"multiplicity {stated_multiplicity(atoms)} ({source('multiplicity', multiplicity, '1')})")
    return ", ".join(words)


def charge_words(charge: float) -> str:
    """'0 e', '+1 e', '-2 e'."""
    return f"{charge:+g} e" if charge else "0 e"


def ionic_groups(atoms: Atoms, bonds: np.ndarray) -> tuple[str, int]:
    """Groups that carry a charge by their bonds: ammonium (nitrogen with four partners), guanidinium (carbon between three nitrogens that share
    five hydrogens or are otherwise full), carboxylate (carbon with two bare oxygens).

    Returns
    -------
    Words such as "2 ammonium groups and 1 carboxylate group, which add up to +1 e", empty where there are none; and that sum.
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
    total = ammonium + guanidinium - carboxylate
    listed = " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))
    return f"{listed}, which {'adds' if ammonium + guanidinium + carboxylate == 1 else 'add'} up to {charge_words(total)}" if words else "", total
