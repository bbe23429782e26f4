"""Elements as files spell them: symbols in any case, atomic numbers, atom labels, names of the PDB."""
from __future__ import annotations

from ase.data import atomic_masses, atomic_numbers, chemical_symbols

DEUTERIUM, TRITIUM = 2.014, 3.016  # amu
HEAVY_HYDROGEN = {"D": DEUTERIUM, "T": TRITIUM}

AMINO_ACIDS = frozenset(
    "ALA ARG ASN ASP CYS GLN GLU GLY HIS ILE LEU LYS MET PHE PRO SER THR TRP TYR VAL".split()
)
# The same residues as force fields spell them (protonation states), caps, and common oddities.
PROTEIN_RESIDUES = AMINO_ACIDS | frozenset(
    "ACE NME NMA NHE NH2 FOR HID HIE HIP HSD HSE HSP CYX CYM ASH GLH LYN TYM MSE SEC PYL UNK".split()
)
WATER_RESIDUES = frozenset("HOH WAT H2O TIP TIP3 TIP4 TP3 SPC SOL DOD".split())


def element_of_symbol(token: str) -> tuple[int, float] | None:
    """Atomic number and mass (amu) of a symbol, an atomic number or a label such as `C12`; None where it is none.

    `D` and `T` are hydrogen with their own mass. The dummy elements `X` and `0` are none.
    """
    token = token.strip()
    if token.isdigit():
        number = int(token) if len(token) < 4 else 0
        return (number, float(atomic_masses[number])) if 0 < number < len(chemical_symbols) else None
    symbol = token.rstrip("0123456789").capitalize()
    if symbol in HEAVY_HYDROGEN:
        return 1, HEAVY_HYDROGEN[symbol]
    number = atomic_numbers.get(symbol, 0)
    return (number, float(atomic_masses[number])) if number else None


def element_of_pdb_name(name: str, residue: str) -> tuple[int, float] | None:
    """Atomic number and mass (amu) from columns 13 to 16 of a PDB line without element.

    Parameters
    ----------
    name : the four columns, blanks included: one-letter elements begin in the second column (` CA ` is an alpha carbon, `CA  ` calcium).
    residue : name of the residue; in proteins and water only H, C, N, O, S and Se are expected, so that `CA` is carbon in any column.
    """
    letters = "".join(c for c in name if c.isalpha())
    if not letters:
        return None
    residue = residue.strip().upper()
    if residue in PROTEIN_RESIDUES or residue in WATER_RESIDUES:
        if residue == "MSE" and letters.upper() == "SE":
            return element_of_symbol("Se")
        return element_of_symbol(letters[0]) if letters[0].upper() in "HCNOSD" else None
    two = letters[:2]
    stands_in_first_column = name[:1].isalpha()
    if residue == name.strip().upper() or (stands_in_first_column and len(name.strip()) < 4):  # an ion, or `CL1 `
        if len(two) == 2 and (found := element_of_symbol(two)) and two.upper() not in ("CA", "CB", "CD", "CE", "HG", "NE", "OS", "HE", "HO"):
            return found
        if residue == name.strip().upper() and (found := element_of_symbol(two)):  # calcium, cadmium
            return found
    return element_of_symbol(letters[0])
