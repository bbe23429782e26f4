"""What `mdapp relax` checks before, and measures after, for one structure and for many."""
from __future__ import annotations

from typing import TYPE_CHECKING

from mdapp.config import RelaxConfig
from mdapp.errors import StructureError, UserError
from mdapp.screen import Screen

if TYPE_CHECKING:
    from ase import Atoms

    from mdapp.jobs._potential import LoadedPotential
    from mdapp.relax import CellRelaxation


def check_structure(config: RelaxConfig, source: str, atoms: Atoms, potential: LoadedPotential, screen: Screen) -> None:
    """Everything that geometry, charge and elements can tell before the first force call; a refusal is an error."""
    from mdapp.jobs._charge import settle_charge
    from mdapp.jobs._long_range import settle_long_range
    from mdapp.structure import check_start

    for note in atoms.info.pop("notes", ()):
        screen.say(f"note: {source}: {note}")
    try:
        warnings = settle_charge(atoms, config.charge, potential.knows_charge, potential.title, config.multiplicity, potential.knows_spin)
        warnings += settle_long_range(atoms, config.long_range_cutoff, potential, config.electrostatics)
    except UserError as error:
        raise type(error)(f"{source}: {error}") from None
    for finding in check_start(atoms, potential.elements, None, False, potential.cutoff, potential.title):
        if finding.level == "refuse":
            raise StructureError(f"{source}: {finding.message}")
        if finding.level == "warn":
            warnings.append(finding.message)
    for warning in warnings:
        screen.warn(f"{source}: {warning}")


def moved(before: Atoms, after: Atoms) -> float:
    """RMS displacement, Å, after superposition; strain and shift left out where periodic."""
    from mdapp.analysis.rmsd import displacement, rmsd

    if before.pbc.any():
        return displacement(before.positions, after.positions, before.cell.complete().array, after.cell.complete().array)
    return float(rmsd(after.positions[None], before.positions)[0])


def bonds_changed(before: Atoms, after: Atoms) -> tuple[str, ...]:
    """Bonds that are there at the one end only, in words."""
    from mdapp.topology import find_bonds

    first, last = ({tuple(bond) for bond in find_bonds(a.numbers, a.positions, a.cell.array, a.pbc).tolist()} for a in (before, after))
    name = lambda i: f"{before.symbols[i]}{i}"
    return tuple(f"{name(i)}-{name(j)} {'broken' if (i, j) in first else 'formed'}" for i, j in sorted(first ^ last))


def cell_relaxation(config: RelaxConfig) -> CellRelaxation | None:
    """What the cell may do; None where it stays."""
    from mdapp.observables import PER_BAR
    from mdapp.relax import CellRelaxation

    if not config.cell:
        return None
    mask = tuple(name in config.strains for name in ("xx", "yy", "zz", "yz", "xz", "xy")) if config.strains else None
    return CellRelaxation(config.pressure * PER_BAR, mask, config.hydrostatic, config.constant_volume)  # type: ignore[arg-type]
