"""Potentials of n2p2 and RuNNer: a folder with input.nn, scaling.data and weights.ZZZ.data for each element.

Such files do not state their units. They are taken for Bohr and Hartree, the units of most published ones, unless input.nn holds a
comment line ``# mdapp units: angstrom ev`` (which our export writes) or a data set normalised by conv_length and conv_energy, whose
factors are undone first.

A. Singraber, J. Behler, C. Dellago, J. Chem. Theory Comput. 15, 1827 (2019).
"""
from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from ase.data import atomic_numbers, chemical_symbols

from potentials.architectures.behler_parrinello import BehlerParrinello, Config
from potentials.checkpoint import Card
from potentials.imports import imports
from potentials.imports._n2p2_files import ACTIVATIONS, InputFile, N2p2Error, read_functions, read_input, read_scaling, read_weights

BOHR = 1 / 1.8897261328  # Å
HARTREE = 1 / 0.0367493254  # eV
UNITS_LINE = "# mdapp units: angstrom ev"
NOT_READ = ("charge_neutrality", "nnp_type", "use_electrostatics", "normalize_nodes", "symfunction_compact", "element_symfunction_short", "global_symfunction_short")


@imports.register("n2p2")
def n2p2(source: str | Path) -> BehlerParrinello:
    """The potential of a folder (or of its input.nn), in float64.

    Raises
    ------
    ValueError : a missing or damaged file, or something that this architecture does not have (4G charges, compact functions).
    """
    folder = Path(source)
    folder = folder.parent if folder.name == "input.nn" else folder
    given = read_input(folder / "input.nn")
    for keyword in NOT_READ:
        if given.has(keyword) and not (keyword == "nnp_type" and given.value(keyword) in ("2G-HDNNP", "2G")):
            raise N2p2Error(f"{given.path} uses {keyword}, which is not read here: short-range (2G) potentials are.")
    length, energy = _units(given)
    functions = read_functions(given, length)
    hidden, activations = _layers(given)
    elements = given.elements
    config = Config(
        elements=elements, functions=tuple(f for z in elements for f in functions[z]), hidden=hidden, activation=activations,
        scaling=_mode(given), scale_min=given.number("scale_min_short", 0.0), scale_max=given.number("scale_max_short", 1.0),
    )  # fmt: skip
    potential = BehlerParrinello(config).double()
    statistics = read_scaling(folder / "scaling.data", elements).statistics
    for k, z in enumerate(elements):
        n = len(functions[z])
        if len(statistics[z]) != n:
            raise N2p2Error(f"{folder / 'scaling.data'} has {len(statistics[z])} lines of {chemical_symbols[z]}, and input.nn names {n} functions of it.")
        potential.scalings[k].take(*torch.from_numpy(statistics[z].T.copy()), n_seen=1)
        weights, biases = read_weights(folder / f"weights.{z:03d}.data", (n, *hidden, 1))
        for layer, w, b in zip(potential.networks[chemical_symbols[z]].layers, weights, biases):
            layer.weight.data, layer.bias.data = torch.from_numpy(np.ascontiguousarray(w)), torch.from_numpy(b.copy())
    potential.energy_unit.fill_(energy / given.number("conv_energy", 1.0))
    potential.set_reference_energies(_energies(given, energy))
    potential.card = Card(
        level_of_theory="not stated in n2p2's files", energy_zero="absolute: atom_energy is added",
        description=f"Behler-Parrinello networks of {' '.join(chemical_symbols[z] for z in elements)} in n2p2's format, from {folder.resolve().name}.",
    )  # fmt: skip
    return potential.eval()


def _units(given: InputFile) -> tuple[float, float]:
    """Å and eV in one unit of the file; lengths are of the normalised data set where there is one."""
    own = UNITS_LINE in given.path.read_text(encoding="utf-8")
    length, energy = (1.0, 1.0) if own else (BOHR, HARTREE)
    return length / given.number("conv_length", 1.0), energy


def _layers(given: InputFile) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Widths and activations of the hidden layers."""
    if given.has("element_nodes_short") or given.has("element_activation_short") or given.has("element_hidden_layers_short"):
        raise N2p2Error(f"{given.path} gives elements networks of different shapes, which is not read here: all have one shape.")
    given.value("global_nodes_short")
    hidden = tuple(int(n) for n in given.words["global_nodes_short"][-1])
    letters = given.words.get("global_activation_short", [["t"] * len(hidden) + ["l"]])[-1]
    unknown = [x for x in letters if x not in ACTIVATIONS]
    if unknown:
        raise N2p2Error(f"{given.path}: no activation '{unknown[0]}'; known: {', '.join(ACTIVATIONS)}.")
    if len(letters) != len(hidden) + 1 or letters[-1] != "l":
        raise N2p2Error(f"{given.path}: global_activation_short must name one letter for each of {len(hidden)} hidden layers and l at the end.")
    return hidden, tuple(ACTIVATIONS[x] for x in letters[:-1])


def _mode(given: InputFile) -> str:
    scale, centre = given.has("scale_symmetry_functions"), given.has("center_symmetry_functions")
    if given.has("scale_symmetry_functions_sigma"):
        return "sigma"
    return "centre-range" if scale and centre else "range" if scale else "centre" if centre else "none"


def _energies(given: InputFile, energy: float) -> dict[int, float]:
    """Energies of elements, eV: atom_energy, and the mean energy of a normalised data set."""
    found = dict.fromkeys(given.elements, given.number("mean_energy", 0.0) * energy)
    for line in given.words.get("atom_energy", []):
        if len(line) != 2 or line[0] not in atomic_numbers or atomic_numbers[line[0]] not in found:
            raise N2p2Error(f"{given.path}: atom_energy {' '.join(line)}: expected one of the elements and a number.")
        found[atomic_numbers[line[0]]] += float(line[1]) * energy
    return found
