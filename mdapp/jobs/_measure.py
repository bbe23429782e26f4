"""What a trajectory's shapes have to say: RMSD, size, bonds and backbone, in one pass over the frames."""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from mdapp.analysis.bonds import BondSeries, bond_lengths, bond_series
from mdapp.analysis.dihedrals import Ramachandran, Torsions, backbone_torsions, torsion_deg
from mdapp.analysis.rmsd import GyrationRadius, Rmsd, radius_of_gyration, rmsd
from mdapp.analysis.whole import make_whole, spanning_tree
from mdapp.frame import Frame

if TYPE_CHECKING:
    import mdtraj
    from ase import Atoms

CHUNK = 256  # frames held at once


@dataclass(frozen=True)
class Measured:
    """Series along a trajectory; None where there is nothing to measure, with a remark that says so."""

    n_frames: int
    time_ps: np.ndarray  # (n_frames,)
    rmsd: Rmsd | None
    gyration: GyrationRadius | None
    bonds: BondSeries | None
    ramachandran: Ramachandran | None
    remarks: tuple[str, ...]


def measure(frames: Iterable[Frame], start: Atoms, since_fs: float = 0.0) -> Measured:
    """Measure every frame from a time on, against the start.

    Parameters
    ----------
    frames : read once, `CHUNK` at a time.
    start : the structure that the run began with; its bonds, residues and shape are the reference.

    Raises
    ------
    ValueError : no frames from that time on, or frames of other atoms than the start's.
    """
    from mdapp.topology import find_bonds, molecules, topology_of

    bonds = find_bonds(start.numbers, start.positions, start.cell.array, start.pbc)
    topology = topology_of(start, bonds)
    torsions = backbone_torsions(topology)
    tree = spanning_tree(len(start), bonds)
    selection, atoms = _selection(start, topology, torsions, molecules(len(start), bonds))
    cell = start.cell.array[None]
    reference = make_whole(start.positions[None], tree, cell, start.pbc)[0]
    start_lengths = bond_lengths(start.positions[None], bonds, cell, start.pbc)[0]

    rows: list[dict[str, np.ndarray]] = []
    for chunk in _chunks(frame for frame in frames if frame.time_fs >= since_fs):
        if any(not np.array_equal(frame.numbers, start.numbers) for frame in chunk):
            raise ValueError(f"a frame holds other atoms than the start ({len(start)} atoms, {start.symbols.formula}).")
        positions = np.stack([frame.positions for frame in chunk])
        cells, pbc = np.stack([frame.cell for frame in chunk]), chunk[0].pbc
        whole = make_whole(positions, tree, cells, pbc)
        row = {"time": np.array([frame.time_fs for frame in chunk]) / 1000, "phi": torsion_deg(whole, torsions.phi), "psi": torsion_deg(whole, torsions.psi)}
        if len(bonds):
            row["lengths"] = bond_lengths(positions, bonds, cells, pbc)
        if len(atoms) > 2:
            row["rmsd"] = rmsd(whole[:, atoms], reference[atoms])
            row["radius"] = radius_of_gyration(whole[:, atoms], chunk[0].masses[atoms])
        rows.append(row)
    if not rows:
        raise ValueError("no frames" + (f" from {since_fs:g} fs on." if since_fs else "."))
    found = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
    time = found["time"]
    peptide = len(torsions.residues) > 0
    remarks = []
    if not peptide:
        remarks.append("No peptide backbone was found: no Ramachandran map.")
    if not len(bonds):
        remarks.append("The start has no covalent bonds: none are watched.")
    if "rmsd" not in found:
        remarks.append("No molecule of three atoms or more stands out from the rest: no RMSD and no radius of gyration.")
    return Measured(
        n_frames=len(time), time_ps=time, remarks=tuple(remarks),
        rmsd=Rmsd(time, found["rmsd"], selection, len(atoms)) if "rmsd" in found else None,
        gyration=GyrationRadius(time, found["radius"]) if "radius" in found else None,
        bonds=bond_series(time, found["lengths"], start_lengths, bonds) if len(bonds) else None,
        ramachandran=Ramachandran(time, torsions.residues, found["phi"], found["psi"]) if peptide else None)


def _chunks(frames: Iterator[Frame]) -> Iterator[list[Frame]]:
    while chunk := list(islice(frames, CHUNK)):
        yield chunk


def _selection(start: Atoms, topology: mdtraj.Topology, torsions: Torsions, labels: np.ndarray) -> tuple[str, np.ndarray]:
    """Which atoms carry the shape: the backbone of the first peptide, else the heavy atoms of the largest molecule, else a free cluster."""
    heavy = start.numbers > 1
    if torsions.residues:
        backbone = np.array([atom.name in ("N", "CA", "C", "O") and atom.residue.is_protein for atom in topology.atoms])
        capped = np.zeros(len(start), dtype=bool)
        capped[np.unique([torsions.phi, torsions.psi])] = True
        chosen = (backbone | capped) & (labels == labels[torsions.phi[0, 1]])
        return "backbone", np.flatnonzero(chosen)
    sizes = np.bincount(labels)
    if np.sum(sizes == sizes.max()) > 1:  # a liquid or a crystal: no molecule stands for the rest; a cluster has a shape of its own
        free = not start.pbc.any()
        return ("all heavy atoms", np.flatnonzero(heavy)) if free else ("none", np.zeros(0, dtype=int))
    largest = labels == sizes.argmax()
    if np.sum(largest & heavy) > 2:
        return "heavy atoms", np.flatnonzero(largest & heavy)
    return "all atoms", np.flatnonzero(largest)
