"""Questions to a library of minima: which ones, where on the Ramachandran map, and out of it as extended XYZ or PDB."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms

from mdapp.analysis.dihedrals import backbone_torsions, torsion_deg
from mdapp.analysis.rmsd import superpose
from mdapp.errors import OutputError, RunFolderError, UserError
from mdapp.minima.landscape.store import LANDSCAPE, Landscape, known_frequencies
from mdapp.minima.library import Library
from mdapp.minima.regions import named_regions, parse_pattern
from mdapp.topology import topology_of, write_pdb
from mdapp.trajectory.files import replacing

FORMATS = {".xyz": "extxyz", ".extxyz": "extxyz", ".pdb": "pdb", ".ent": "pdb"}
MOST_MODELS = 9999  # the number of a model has four digits in a PDB file


@dataclass(frozen=True)
class Backbone:
    """phi and psi of all minima of a library, in the order in which they were found."""

    residues: tuple[str, ...]  # (n_residues,), such as ALA2; none for what is no peptide
    phi_deg: np.ndarray  # (n_minima, n_residues)
    psi_deg: np.ndarray  # (n_minima, n_residues)

    @property
    def regions(self) -> np.ndarray:
        """(n_minima, n_residues) names of `mdapp.minima.regions.REGIONS`."""
        return named_regions(self.phi_deg, self.psi_deg)


def backbone(library: Library) -> Backbone:
    """Where the minima lie on the Ramachandran map."""
    torsions = backbone_torsions(topology_of(library.reference, library.identity.bonds))
    positions = library.positions()
    return Backbone(torsions.residues, torsion_deg(positions, torsions.phi), torsion_deg(positions, torsions.psi))


def select(library: Library, below_eV: float | None = None, region: str | None = None, lowest: int | None = None) -> np.ndarray:
    """Minima that fit, the lowest first.

    Parameters
    ----------
    below_eV : at most so far above the lowest minimum of the library.
    region : pattern of Ramachandran regions, see `mdapp.minima.regions.parse_pattern`.
    lowest : at most so many.

    Returns
    -------
    (n,) indices.

    Raises
    ------
    UserError : a region that there is none of, or no backbone to have regions.
    """
    chosen = library.by_energy()
    if below_eV is not None and len(chosen):
        energies = library.energies()
        chosen = chosen[energies[chosen] <= energies.min() + below_eV]
    if region is not None:
        try:
            pattern = parse_pattern(region)
            angles = backbone(library)
            if not angles.residues:
                raise ValueError(f"region = '{region}': the molecule has no residue with phi and psi.")
            chosen = chosen[pattern.holds(angles.phi_deg[chosen], angles.psi_deg[chosen])]
        except ValueError as error:
            raise UserError(str(error)) from None
    return chosen if lowest is None else chosen[:lowest]


def format_of(path: str | Path, format: str | None = None) -> str:
    """extxyz or pdb, by the name's end where it is not given.

    Raises
    ------
    UserError : another format.
    """
    kind = format or FORMATS.get(Path(path).suffix.lower())
    if kind is None or kind not in FORMATS.values():
        raise UserError(f"{path}: minima are written as extended XYZ (.xyz, .extxyz) or PDB (.pdb); choose a name that ends so.")
    return kind


def export(library: Library, path: str | Path, indices: Sequence[int] | np.ndarray | None = None, format: str | None = None) -> int:
    """Writes minima to one file, whole or not at all.

    Parameters
    ----------
    path : .xyz or .extxyz for extended XYZ with energies and origins, .pdb for one model a minimum, laid on the first. An existing file is not overwritten.
    indices : which minima, in this order; all of them, the lowest first, when not given.

    Returns
    -------
    How many were written.

    Raises
    ------
    UserError, OutputError : nothing to write, another format, a file that is there already or cannot be written.
    """
    path = Path(path)
    kind = format_of(path, format)
    chosen = [int(k) for k in (library.by_energy() if indices is None else indices)]
    if not chosen:
        raise UserError(f"No minimum fits, so {path} was not written.")
    if path.exists():
        raise OutputError(f"{path} exists already and is not overwritten. Choose another name or move it away.")
    if not path.parent.is_dir():
        raise OutputError(f"{path} cannot be written: there is no folder {path.parent}.")
    if kind == "pdb":
        _write_models(library, path, chosen)
    else:
        _write_extxyz(library, path, chosen)
    return len(chosen)


def frequencies_of(library: Library) -> dict[int, np.ndarray]:
    """Frequencies, 1/cm, by number of the minimum, where they are known; those of a landscape that is damaged or another library's are not."""
    try:
        return known_frequencies(library, Landscape.read(library, library.path.with_name(LANDSCAPE)))
    except RunFolderError:
        return known_frequencies(library, Landscape(library, Path()))


def _write_extxyz(library: Library, path: Path, chosen: list[int]) -> None:
    from ase.io.extxyz import write_extxyz

    angles, lowest = backbone(library), float(library.energies().min())
    regions, frequencies = angles.regions, frequencies_of(library)
    images: list[Atoms] = []
    for k in chosen:
        atoms, origin = library.atoms(k), library.origin(k)
        atoms.info.update(relative_energy_eV=atoms.get_potential_energy() - lowest, visits=library.visits(k), move=origin.move)
        if angles.residues:
            atoms.info.update(phi_deg=angles.phi_deg[k].round(2), psi_deg=angles.psi_deg[k].round(2), region="/".join(regions[k]))
        if k in frequencies:
            atoms.info.update(imaginary_modes=int((frequencies[k] < 0).sum()), frequencies_cm1=frequencies[k])
        images.append(atoms)
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8") as stream:
        write_extxyz(stream, images)


def _write_models(library: Library, path: Path, chosen: list[int]) -> None:
    if len(chosen) > MOST_MODELS:
        raise UserError(f"A PDB file holds at most {MOST_MODELS} models, and {len(chosen)} minima were chosen. Choose fewer, or write extended XYZ.")
    positions = library.positions()[chosen]
    write_pdb(path, superpose(positions, positions[0]), topology_of(library.reference, library.identity.bonds))
