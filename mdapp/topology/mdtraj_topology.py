"""A structure as an mdtraj.Topology: names from its file, or found from its graph."""
from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms

from mdapp.errors import OutputError
from mdapp.topology.bonds import find_bonds
from mdapp.topology.order import in_residue_order
from mdapp.topology.residues import Chain, Residue, perceive
from mdapp.topology.twins import tell_twins

if TYPE_CHECKING:
    import mdtraj

NAMELESS = frozenset(("UNK", "UNL", "MOL", "LIG", ""))
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def topology_of(atoms: Atoms, bonds: np.ndarray | None = None) -> mdtraj.Topology:
    """Chains, residues, atom names and bonds of a structure.

    Parameters
    ----------
    atoms : names are taken from the arrays that a PDB file leaves (`atomtypes`, `residuenames`, ...) where they say more than UNK or MOL;
        otherwise residues are found from the bonds (`residues.perceive`), and like atoms told apart by their positions (`twins`).
    bonds : (n_bonds, 2) from `find_bonds`; found here where None.

    Returns
    -------
    Topology whose atom k is atom k of the structure. Where a residue's atoms do not stand together in the input,
    use `in_residue_order` before mdtraj copies, slices or writes it.
    """
    from mdtraj import Topology
    from mdtraj.core import element as elements

    if bonds is None:
        bonds = find_bonds(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc)
    chains, sequence_numbers = _named_chains(atoms) or (tell_twins(perceive(atoms.numbers, bonds), atoms), None)
    topology = Topology()
    home, name_of = {}, {}
    running = 0
    for index, chain in enumerate(chains):
        new_chain = topology.add_chain(chain_id=LETTERS[index % 26])
        for k, residue in enumerate(chain.residues, start=1):
            number = sequence_numbers[running] if sequence_numbers is not None else k
            new_residue = topology.add_residue(residue.name, new_chain, resSeq=number)
            running += 1
            home.update(dict.fromkeys(residue.atoms, new_residue))
            name_of.update(residue.atoms)
    made = [topology.add_atom(name_of[k], elements.Element.getByAtomicNumber(int(z)), home[k]) for k, z in enumerate(atoms.numbers)]
    for a, b in np.asarray(bonds).tolist():
        topology.add_bond(made[a], made[b])
    return topology


def _named_chains(atoms: Atoms) -> tuple[list[Chain], list[int]] | None:
    """Chains and residue numbers from the names of a PDB file; None where there are none worth keeping."""
    arrays = atoms.arrays
    if not {"atomtypes", "residuenames", "residuenumbers"} <= set(arrays):
        return None
    names = [str(name).strip().upper() for name in arrays["residuenames"]]
    if all(name in NAMELESS for name in names) or not all(str(name).strip() for name in arrays["atomtypes"]):
        return None
    numbers = arrays["residuenumbers"].tolist()
    residue_index = arrays["residueindex"].tolist() if "residueindex" in arrays else _running(list(zip(names, numbers)))
    chain_index = arrays["chainindex"].tolist() if "chainindex" in arrays else [0] * len(atoms)
    chains: dict[int, dict[int, Residue]] = {}
    for k, (chain, residue) in enumerate(zip(chain_index, residue_index)):
        entry = chains.setdefault(chain, {}).setdefault(residue, Residue(names[k], {}))
        entry.atoms[k] = str(arrays["atomtypes"][k]).strip()
    first = [next(iter(residue.atoms)) for chain in chains.values() for residue in chain.values()]
    return [Chain(list(chain.values())) for chain in chains.values()], [int(numbers[k]) for k in first]


def _running(keys: list) -> list[int]:
    """Running index that rises whenever the key changes."""
    return np.concatenate([[0], np.cumsum([a != b for a, b in zip(keys, keys[1:])])]).astype(int).tolist()


def phi_psi(topology: mdtraj.Topology) -> tuple[np.ndarray, np.ndarray]:
    """Atoms of the backbone torsions, as `mdtraj.compute_phi` and `compute_psi` find them.

    Returns
    -------
    phi (n_phi, 4) int64, C of the residue before, N, CA, C; psi (n_psi, 4), N, CA, C, N of the residue after.
    """
    from mdtraj.geometry.dihedral import indices_phi, indices_psi

    as_rows = [np.asarray(found, dtype=np.int64).reshape(-1, 4) for found in (indices_phi(topology), indices_psi(topology))]
    return as_rows[0], as_rows[1]


def write_pdb(path: str | Path, positions: np.ndarray, topology: mdtraj.Topology, cell: np.ndarray | None = None) -> None:
    """One model, or several, as PDB with CONECT records, residue by residue.

    Parameters
    ----------
    positions : (n_atoms, 3), Å, in the order of `topology`; (n_models, n_atoms, 3) for several models.
    cell : (3, 3) rows, Å, for a fully periodic structure; None where there is no box.

    Raises
    ------
    OutputError : the disk is full, permission is missing.
    """
    from ase.geometry import cell_to_cellpar
    from mdtraj.formats import PDBTrajectoryFile

    path = Path(path)
    ordered, order = in_residue_order(topology)
    box = cell_to_cellpar(cell) if cell is not None and np.linalg.matrix_rank(cell) == 3 else None
    shift = np.zeros(3)
    models = np.asarray(positions, dtype=float)
    several = models.ndim == 3
    models = models if several else models[None]
    if np.abs(models).max(initial=0.0) >= 9999.0 / 2:  # the format has eight columns for a coordinate
        shift = models.mean(axis=(0, 1))
    temporary = path.with_name(path.name + ".tmp.pdb")
    try:
        with PDBTrajectoryFile(os.fspath(temporary), mode="w", force_overwrite=True) as file:
            for number, model in enumerate(models, start=1):
                file.write(
                    model[order] - shift,
                    ordered,
                    modelIndex=number if several else None,
                    unitcell_lengths=None if box is None else tuple(box[:3]),
                    unitcell_angles=None if box is None else tuple(box[3:]),
                )
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OutputError(f"{path} cannot be written: {(error.strerror or str(error)).lower()}.") from error
