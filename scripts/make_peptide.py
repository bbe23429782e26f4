"""Build a capped peptide from its sequence: acetyl - residues - N-methylamide, neutral, all hydrogens, one free molecule.

    python scripts/make_peptide.py SAM --basin ppii --seed 1 --output examples/peptide.xyz

One-letter codes; side chains are neutral (Asp, Glu, Lys, Arg too; His with hydrogen on N-epsilon), residues are L. Conformers come from
ETKDG, their backbone torsions are set to a common basin and held there while MMFF94 removes strain; the one of lowest MMFF94 energy is kept. Needs
rdkit (extra `reference`). One seed gives one structure.

S. Riniker and G. A. Landrum, J. Chem. Inf. Model. 55, 2562 (2015) (ETKDG); T. A. Halgren, J. Comput. Chem. 17, 490 (1996) (MMFF94).
"""
from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io import write
from rdkit import Chem, rdBase
from rdkit.Chem import AllChem, rdMolTransforms
from rdkit.Chem.rdForceFieldHelpers import MMFFGetMoleculeForceField, MMFFGetMoleculeProperties

# neutral side chains between C-alpha and its carbonyl; G and P have backbones of their own
SIDE_CHAINS = {
    "A": "C", "V": "C(C)C", "L": "CC(C)C", "I": "[C@@H](C)CC", "F": "Cc1ccccc1", "Y": "Cc1ccc(O)cc1", "W": "Cc1c[nH]c2ccccc12", "M": "CCSC", "C": "CS",
    "S": "CO", "T": "[C@@H](C)O", "N": "CC(N)=O", "Q": "CCC(N)=O", "D": "CC(O)=O", "E": "CCC(O)=O", "K": "CCCCN", "R": "CCCNC(N)=N", "H": "Cc1c[nH]cn1",
}  # fmt: skip
BASINS = {"helix": (-63, -42), "sheet": (-120, 130), "ppii": (-75, 145), "c7": (-82, 72), "left": (57, 47)}  # phi, psi in degrees
PHI = Chem.MolFromSmarts("[CX3](=O)[NX3][CX4][CX3](=O)")
PSI = Chem.MolFromSmarts("[NX3][CX4][CX3](=O)[NX3]")
OMEGA = Chem.MolFromSmarts("[CX4][CX3](=O)[NX3;!H2][CX4]")
TWISTED = 1e6  # kcal/mol, on a conformer that is taken only where there is no other
FLAT = 30.0  # degrees that a peptide bond may be turned from trans


def peptide_smiles(sequence: str) -> str:
    """SMILES of acetyl - sequence - N-methylamide.

    Raises
    ------
    ValueError : an empty sequence, or a letter that is no amino acid.
    """
    sequence = sequence.strip().upper()
    unknown = sorted(set(sequence) - {*SIDE_CHAINS, "G", "P"})
    if unknown or not sequence:
        raise ValueError(f"sequence '{sequence}' holds {', '.join(unknown) or 'nothing'}; known one-letter codes: {''.join(sorted({*SIDE_CHAINS, 'G', 'P'}))}.")
    return "CC(=O)" + "".join(_residue(letter) for letter in sequence) + "NC"


def _residue(letter: str) -> str:
    return {"G": "NCC(=O)", "P": "N1CCC[C@H]1C(=O)"}.get(letter) or f"N[C@@H]({SIDE_CHAINS[letter]})C(=O)"


def with_hydrogens(smiles: str) -> Chem.Mol:
    """The molecule with each hydrogen right after its heavy atom, so that residues stay together."""
    heavy = Chem.MolFromSmiles(smiles)
    if heavy is None:
        raise ValueError(f"'{smiles}' is no SMILES that RDKit understands.")
    molecule = Chem.AddHs(heavy)
    order = [i for atom in heavy.GetAtoms() for i in (atom.GetIdx(), *_hydrogens(molecule, atom.GetIdx()))]
    return Chem.RenumberAtoms(molecule, order) if len(order) == molecule.GetNumAtoms() else molecule


def _hydrogens(molecule: Chem.Mol, index: int) -> list[int]:
    return [n.GetIdx() for n in molecule.GetAtomWithIdx(index).GetNeighbors() if n.GetAtomicNum() == 1]


def backbone_torsions(molecule: Chem.Mol) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """For each residue whose torsions can turn, from the start: the atoms of phi (C N CA C) and of psi (N CA C N)."""
    psi = {(n, ca): (n, ca, c, n2) for n, ca, c, _, n2 in molecule.GetSubstructMatches(PSI)}
    found = {}
    for c0, _, n, ca, c, _ in molecule.GetSubstructMatches(PHI):
        if (n, ca) in psi and psi[n, ca][2] == c:
            found[n] = ((c0, n, ca, c), psi[n, ca])
    return [found[n] for n in sorted(found)]


def set_backbone(molecule: Chem.Mol, conformer: int, angles: Sequence[tuple[float, float]]) -> list[tuple[tuple[int, ...], float]]:
    """Turn the backbone to `angles`, one (phi, psi) in degrees a residue. Returns what was set; a torsion in a ring (proline's phi) is left."""
    c, done = molecule.GetConformer(conformer), []
    for torsions, targets in zip(backbone_torsions(molecule), angles, strict=True):
        for atoms, target in zip(torsions, targets, strict=True):
            if not molecule.GetBondBetweenAtoms(atoms[1], atoms[2]).IsInRing():
                rdMolTransforms.SetDihedralDeg(c, *atoms, float(target))
                done.append((atoms, float(target)))
    return done


def twisted(molecule: Chem.Mol, conformer: int) -> list[tuple[int, ...]]:
    """Atoms of omega (CA C N CA) where a peptide bond is more than `FLAT` from trans; a ring that holds the nitrogen decides by itself."""
    c = molecule.GetConformer(conformer)
    omegas = [(a, b, n, d) for a, b, _, n, d in molecule.GetSubstructMatches(OMEGA) if not molecule.GetAtomWithIdx(n).IsInRing()]
    return [atoms for atoms in omegas if abs(rdMolTransforms.GetDihedralDeg(c, *atoms)) < 180 - FLAT]


def clean_up(molecule: Chem.Mol, conformer: int, held: Sequence[tuple[tuple[int, ...], float]] = (), steps: int = 2000, width: float = 5.0) -> float:
    """Minimise with MMFF94, torsions held within `width` degrees of their values; the energy in kcal/mol without the restraint."""
    properties = MMFFGetMoleculeProperties(molecule)
    if properties is None:
        raise ValueError(f"MMFF94 has no parameters for {Chem.MolToSmiles(Chem.RemoveHs(molecule))}.")
    field = MMFFGetMoleculeForceField(molecule, properties, confId=conformer, ignoreInterfragInteractions=False)
    for atoms, angle in held:
        field.MMFFAddTorsionConstraint(*atoms, False, angle - width, angle + width, 100.0)
    field.Initialize()
    field.Minimize(maxIts=steps)
    return MMFFGetMoleculeForceField(molecule, properties, confId=conformer, ignoreInterfragInteractions=False).CalcEnergy()


def conformers(molecule: Chem.Mol, count: int, seed: int) -> list[int]:
    """Ids of `count` ETKDG conformers, which the molecule then holds.

    Raises
    ------
    RuntimeError : none could be embedded.
    """
    settings = AllChem.ETKDGv3()
    settings.randomSeed = int(np.random.default_rng(seed).integers(1, 1_000_000))  # RDKit counts in multiples of it: 1 and 2 would share conformers
    ids = list(AllChem.EmbedMultipleConfs(molecule, count, settings))
    if not ids:
        settings.useRandomCoords = True
        ids = list(AllChem.EmbedMultipleConfs(molecule, count, settings))
    if not ids:
        raise RuntimeError(f"No conformer of {Chem.MolToSmiles(Chem.RemoveHs(molecule))} could be embedded.")
    return ids


def atoms_of(molecule: Chem.Mol, conformer: int) -> Atoms:
    """A conformer as ASE atoms, centred on the origin."""
    positions = np.array(molecule.GetConformer(conformer).GetPositions())
    return Atoms([a.GetAtomicNum() for a in molecule.GetAtoms()], positions - positions.mean(0))


def build(sequence: str, basin: str = "ppii", seed: int = 1, tries: int = 20) -> Atoms:
    """The capped peptide with its backbone in `basin`; `atoms.info` says how it was made."""
    molecule = with_hydrogens(peptide_smiles(sequence))
    best, lowest = -1, np.inf
    for conformer in conformers(molecule, tries, seed):
        held = set_backbone(molecule, conformer, [BASINS[basin]] * len(backbone_torsions(molecule)))
        energy = clean_up(molecule, conformer, held)
        bonds = twisted(molecule, conformer)
        if bonds:  # the backbone has paid for its torsions with a peptide bond: these are held as well
            for atoms in bonds:
                rdMolTransforms.SetDihedralDeg(molecule.GetConformer(conformer), *atoms, 180.0)
            set_backbone(molecule, conformer, [BASINS[basin]] * len(backbone_torsions(molecule)))
            energy = clean_up(molecule, conformer, [*held, *((atoms, 180.0) for atoms in bonds)])
        if twisted(molecule, conformer):
            energy += TWISTED
        if energy < lowest:
            best, lowest = conformer, energy
    atoms = atoms_of(molecule, best)
    atoms.info = {
        "name": f"Ac-{sequence.upper()}-NHMe", "charge": 0, "smiles": Chem.MolToSmiles(Chem.RemoveHs(molecule)),
        "made_by": f"scripts/make_peptide.py {sequence.upper()} --basin {basin} --seed {seed} --tries {tries} (rdkit {rdBase.rdkitVersion}: ETKDGv3, MMFF94)",
    }  # fmt: skip
    return atoms


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("sequence", help="one-letter codes, as in SAM")
    parser.add_argument("--basin", choices=list(BASINS), default="ppii", help="where all backbone torsions begin")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tries", type=int, default=20, help="conformers of which the best is kept")
    parser.add_argument("--output", type=Path, help="an .xyz or .extxyz file; Ac-SEQUENCE-NHMe.xyz when not given")
    asked = parser.parse_args(words)
    try:
        atoms = build(asked.sequence, asked.basin, asked.seed, asked.tries)
    except (ValueError, RuntimeError) as error:
        sys.exit(f"Error: {error}")
    path = asked.output or Path(f"{atoms.info['name']}.xyz")
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, atoms, format="extxyz")
    print(f"{path}: {atoms.info['name']}, {len(atoms)} atoms, {atoms.get_chemical_formula('hill')}")


if __name__ == "__main__":
    main()
