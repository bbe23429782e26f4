"""What a trajectory's shapes have to say: RMSD, size, bonds and backbone, in one pass over the frames."""
from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from ase.data import atomic_masses

from mdapp.analysis.bonds import BondSeries, bond_lengths
from mdapp.analysis.chunks import Chunk, System, chunks_of
from mdapp.analysis.dihedrals import Ramachandran, Torsions, backbone_torsions, torsion_deg
from mdapp.analysis.rmsd import GyrationRadius, Rmsd, radius_of_gyration, rmsd, superpose
from mdapp.analysis.stability import BondDeviationTally
from mdapp.analysis.thermo import Thermo
from mdapp.analysis.whole import make_whole, spanning_tree
from mdapp.frame import Frame
from mdapp.jobs._observables import Found, Observable
from mdapp.jobs._reading import Reading
from mdapp.report.scene import Scene, Thinned

if TYPE_CHECKING:
    import mdtraj
    from ase import Atoms


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
    scene: Scene | None = None  # a few frames for the eye
    step: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=int))  # (n_frames,)
    numbers: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=int))  # (n_atoms,)
    bond_pairs: np.ndarray = field(default_factory=lambda: np.zeros((0, 2), dtype=int))  # (n_bonds, 2) of the start
    thermo: Thermo | None = None  # of what the frames themselves hold
    further: dict[str, Found] = field(default_factory=dict)  # other observables, by name, in the order of the page


def measure(frames: Iterable[Frame], start: Atoms, since_fs: float = 0.0, seen: Callable[[int], None] | None = None,
            also: Callable[[Chunk, Torsions], list[Observable]] | None = None) -> Measured:
    """Measure every frame from a time on, against the start.

    Parameters
    ----------
    frames : read once, a chunk at a time.
    start : the structure that the run began with; its bonds, residues and shape are the reference.
    seen : told after each chunk how many frames have been read.
    also : makes further observables for what the first chunk shows; they are shown the same chunks.

    A frame that cannot be read, or that holds other atoms, ends the reading: what came before it is measured, and a remark says so.

    Raises
    ------
    ValueError : no frames from that time on, or frames of other atoms than the start's.
    """
    from mdapp.topology import find_bonds, molecules, topology_of

    bonds = find_bonds(start.numbers, start.positions, start.cell.array, start.pbc)
    topology = topology_of(start, bonds)
    torsions = backbone_torsions(topology)
    selection, atoms = _selection(start, topology, torsions, molecules(len(start), bonds))
    cell = start.cell.array[None]
    reference = make_whole(start.positions[None], spanning_tree(len(start), bonds), cell, start.pbc)[0]
    deviation = BondDeviationTally(bond_lengths(start.positions[None], bonds, cell, start.pbc)[0], bonds)
    system = System(start.numbers, atomic_masses[start.numbers], start.positions, start.cell.array, np.array(start.pbc, dtype=bool), topology)

    reading = Reading(start, since_fs)
    thinned, rows, observables = Thinned(len(start)), [], []
    for chunk in chunks_of(reading.frames()) if reading.begin(frames) else ():
        chunk = replace(chunk, system=system)
        whole = chunk.whole
        if also and not rows:
            observables = also(chunk, torsions)
        row = {"time": chunk.time_ps, "phi": torsion_deg(whole, torsions.phi), "psi": torsion_deg(whole, torsions.psi)}
        if len(bonds):
            deviation.add(chunk)
        if len(atoms) > 2:
            row["rmsd"] = rmsd(whole[:, atoms], reference[atoms])
            row["radius"] = radius_of_gyration(whole[:, atoms], chunk.system.masses[atoms])
        for one in observables:
            one.add(chunk)
        thinned.add(chunk.time_ps, whole)
        rows.append(row)
        if seen:
            seen(len(reading.rows))
    if not rows:
        raise ValueError("no frames" + (f" from {since_fs:g} fs on." if since_fs else "."))
    found = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
    time = found["time"]
    peptide = len(torsions.residues) > 0
    remarks = [f"The reading ended before the end of the trajectory: {reading.trouble}."] if reading.trouble else []
    if not peptide:
        remarks.append("No peptide backbone was found: no Ramachandran map.")
    if not len(bonds):
        remarks.append("The start has no covalent bonds: none are watched.")
    if "rmsd" not in found:
        remarks.append("No molecule of three atoms or more stands out from the rest: no RMSD and no radius of gyration.")
    further = {one.name: result for one in observables if (result := one.result()) is not None}
    remarks += [f"No {_in_words(one.name)}: {one.why[0].lower()}{one.why[1:]}" for one in observables if one.why]
    times, frames_kept = thinned.frames()
    if not start.pbc.any():
        frames_kept = superpose(frames_kept, reference)
    boxed = bool(start.pbc.any()) and bool(np.any(start.cell.array))
    return Measured(
        scene=Scene(tuple(start.symbols), bonds, times, frames_kept, start.cell.array if boxed else None, len(time)),
        step=reading.rows.step, thermo=reading.rows.thermo(), further=further, numbers=start.numbers, bond_pairs=bonds,
        n_frames=len(time), time_ps=time, remarks=tuple(remarks),
        rmsd=Rmsd(time, found["rmsd"], selection, len(atoms)) if "rmsd" in found else None,
        gyration=GyrationRadius(time, found["radius"]) if "radius" in found else None,
        bonds=deviation.result() if len(bonds) else None,
        ramachandran=Ramachandran(time, torsions.residues, found["phi"], found["psi"]) if peptide else None)


def _in_words(name: str) -> str:
    """'g(r) C-O' for rdf_C_O, and blanks for the underscores of others."""
    return f"g(r) {name[4:].replace('_', '-')}" if name.startswith("rdf_") else name.replace("_", " ")


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
