"""A Behler-Parrinello potential as n2p2 reads it: input.nn, scaling.data, weights.ZZZ.data for each element.

Lengths are in Å and energies in eV (n2p2 takes any units; in LAMMPS, give pair_style hdnnp cflength 1.0 cfenergy 1.0 with units metal).
The energy unit is multiplied into the last layer, reference energies become atom_energy: n2p2 adds them, LAMMPS' pair style does not.
Functions that never changed in training feed nothing to the network and are left out, since n2p2 would divide by their range.

A. Singraber, J. Behler, C. Dellago, J. Chem. Theory Comput. 15, 1827 (2019).
"""
from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from ase.data import chemical_symbols

from potentials.architectures.behler_parrinello import BehlerParrinello
from potentials.exports import exports
from potentials.imports._n2p2_files import ACTIVATIONS, CUTOFFS, KINDS, sort_key
from potentials.imports.n2p2 import UNITS_LINE
from potentials.layers.symmetry_functions import SymmetryFunction, of_centre
from potentials.potential import Potential

TYPES = {kind: number for number, kind in KINDS.items()} | {"G1": 2}
LETTERS = {name: letter for letter, name in ACTIVATIONS.items()}
SCALING = {
    "none": (), "range": ("scale_symmetry_functions",), "centre": ("center_symmetry_functions",),
    "centre-range": ("center_symmetry_functions", "scale_symmetry_functions"), "sigma": ("center_symmetry_functions", "scale_symmetry_functions_sigma"),
}  # fmt: skip


@exports.register("n2p2")
def n2p2(potential: Potential, folder: Path) -> list[Path]:
    """Write the files of a potential into an empty folder; returns them.

    Raises
    ------
    ValueError : a potential of another kind, or with functions or activations that n2p2 does not have.
    """
    if not isinstance(potential, BehlerParrinello) or not potential.elements:
        name = getattr(type(potential), "name", type(potential).__name__)
        raise ValueError(f"n2p2 has Behler-Parrinello networks of elements only; this potential is a {name}.")
    functions = {z: of_centre(potential.descriptors.functions, z) for z in potential.elements}
    _refuse_what_n2p2_lacks(potential, [f for of_one in functions.values() for f in of_one])
    chosen, statistics = {}, []
    texts: dict[str, str] = {}
    for k, z in enumerate(potential.elements):
        scaling = potential.scalings[k]
        kept = [n for n in range(len(functions[z])) if float(scaling.factor[n]) != 0]
        order = sorted(kept, key=lambda n: sort_key(functions[z][n]))
        chosen[z] = [functions[z][n] for n in order]
        columns = torch.stack([scaling.minimum, scaling.maximum, scaling.mean, scaling.sigma], 1).double().cpu().numpy()[order]
        statistics += [f"{k + 1:4d} {n + 1:4d} " + " ".join(f"{x:.16E}" for x in row) for n, row in enumerate(columns)]
        texts[f"weights.{z:03d}.data"] = _weights(potential, z, order)
    texts["scaling.data"] = "\n".join(["# element function minimum maximum mean sigma", *statistics]) + "\n"
    texts["input.nn"] = _input(potential, chosen)
    written = []
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
        written.append(folder / name)
    return written


def _refuse_what_n2p2_lacks(potential: BehlerParrinello, functions: list[SymmetryFunction]) -> None:
    foreign = [f for f in functions if f.kind not in TYPES]
    if foreign:
        raise ValueError(f"n2p2 has no symmetry function of the kind {foreign[0].kind} ({foreign[0]}).")
    cutoffs = sorted({(f.cutoff_fn, f.inner) for f in functions})
    if len(cutoffs) > 1:
        raise ValueError(f"n2p2 has one cutoff function for all symmetry functions; this potential has {' and '.join(name for name, _ in cutoffs)}.")
    unknown = [a for a in potential.config.activations if a not in LETTERS]
    if unknown:
        raise ValueError(f"n2p2 has no activation '{unknown[0]}'; it has {', '.join(LETTERS)}.")
    if potential.config.scaling != "none" and not all(int(s.n_seen) for s in potential.scalings):
        raise ValueError("this potential was never trained: its descriptors have no ranges, which scaling.data must hold.")


def _input(potential: BehlerParrinello, functions: dict[int, list[SymmetryFunction]]) -> str:
    config, elements = potential.config, potential.elements or ()
    every = [f for of_one in functions.values() for f in of_one]
    zero = potential.element_energies.energies
    lines = [
        "# Written by mdapp.", UNITS_LINE,
        f"number_of_elements {len(elements)}", f"elements {' '.join(chemical_symbols[z] for z in elements)}",
        *(f"atom_energy {chemical_symbols[z]} {float(zero[z]):.17g}" for z in elements),
        f"cutoff_type {CUTOFFS.index(every[0].cutoff_fn)} {every[0].inner:.17g}",
        *SCALING[config.scaling], f"scale_min_short {config.scale_min:.17g}", f"scale_max_short {config.scale_max:.17g}",
        f"global_hidden_layers_short {len(config.hidden)}", f"global_nodes_short {' '.join(map(str, config.hidden))}",
        f"global_activation_short {' '.join(LETTERS[a] for a in config.activations)} l",
    ]  # fmt: skip
    return "\n".join([*lines, *(_function(z, f) for z, of_one in functions.items() for f in of_one)]) + "\n"


def _function(centre: int, f: SymmetryFunction) -> str:
    symbols = " ".join(chemical_symbols[z] for z in (centre, f.neighbour, f.second) if z is not None).split()
    if f.kind in ("G1", "G2", "W2"):
        numbers = [0.0 if f.kind == "G1" else f.eta, 0.0 if f.kind == "G1" else f.rs, f.cutoff]
    elif f.kind == "W4":
        numbers = [f.eta, f.rs, f.lam, f.zeta, f.cutoff]
    else:
        numbers = [f.eta, f.lam, f.zeta, f.cutoff, *([f.rs] if f.rs else [])]
    return " ".join(["symfunction_short", symbols[0], str(TYPES[f.kind]), *symbols[1:], *(f"{x:.17g}" for x in numbers)])


def _weights(potential: BehlerParrinello, element: int, order: list[int]) -> str:
    """n2p2's order: of each layer the weights, input neuron slowest, then the biases."""
    layers = potential.networks[chemical_symbols[element]].layers
    lines, number = ["# value, a or b (weight or bias), number, and neurons"], 0
    for n, layer in enumerate(layers):
        unit = float(potential.energy_unit) if n == len(layers) - 1 else 1.0
        w, b = (unit * x.detach().double().cpu().numpy() for x in (layer.weight, layer.bias))
        if n == len(layers) - 1:  # of several heads the mean, which is linear too
            w, b = w.mean(0, keepdims=True), b.mean(0, keepdims=True)
        w = w[:, order] if n == 0 else w
        for (i, j), value in np.ndenumerate(w.T):
            number += 1
            lines.append(f"{value:.16E} a {number:9d} {n:5d} {i + 1:5d} {n + 1:5d} {j + 1:5d}")
        for j, value in enumerate(b):
            number += 1
            lines.append(f"{value:.16E} b {number:9d} {n + 1:5d} {j + 1:5d}")
    return "\n".join(lines) + "\n"
