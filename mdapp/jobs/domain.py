"""`mdapp potentials domain`: a potential is shown what it was trained on, and keeps how far its training set reaches.

Runs, relaxations and searches then say which atoms of a structure are outside, before the first step, and the guard `uncertainty` watches the distance along
the way. A training with `domain = true` does the same at its end; this is for potentials that were trained elsewhere or before.
"""
from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from ase import Atoms

from mdapp.errors import EXIT_FINISHED, OutputError, PotentialError, StructureError, UserError
from mdapp.jobs._potential import translated
from mdapp.jobs.potentials import new_file

FRAMES = 4000  # of the data at most, drawn at random: enough for what is rare in a set of some hundred molecules
SEED = 0


def keep_domain(words: Sequence[str], output: str | None, *, as_json: bool = False) -> int:
    """Write the potential anew with the domain of labelled frames, whole or not at all; returns the exit code.

    Parameters
    ----------
    words : the potential, a file or a shipped one by its name, and the files of its training set.
    output : the file to write.

    Raises
    ------
    UserError : no data, or no output.
    StructureError : data that cannot be read, or none of whose frames is made of elements that the potential knows.
    PotentialError : a file that cannot be used, or a potential without features.
    OutputError : the output exists or cannot be written.
    """
    from potentials.calculator import load_potential
    from potentials.checkpoint import save_potential
    from potentials.neighbours import graph_for
    from potentials.uncertainty import domain_of

    if len(words) < 2 or output is None:
        lacking = "no --output" if len(words) > 1 else "no data" if words else "nothing"
        raise UserError(f"mdapp potentials domain takes a potential, files of its training set and an --output, got {lacking}.")
    target = new_file(output)
    with translated(words[0]):
        potential = load_potential(words[0])
        chosen, total = _drawn(words[1:], None if potential.elements is None else set(potential.elements))
        if not chosen:
            raise StructureError(f"{' '.join(words[1:])}: none of {total} frames is made of the elements that {words[0]} knows.")
        try:
            potential.domain = domain_of(potential, (graph_for(atoms, potential) for atoms in chosen))
        except NotImplementedError:
            potential.domain = None
        if potential.domain is None:
            raise PotentialError(f"{words[0]} ({type(potential).name}) has no features of atoms that a distance could be measured in.")
        card = replace(potential.card, training={**potential.card.training, "domain_frames": len(chosen)})
        try:
            save_potential(target, potential, card)
        except OSError as error:
            raise OutputError(f"{target} cannot be written: {error.strerror or error}.") from None
    if as_json:
        print(json.dumps({"output": str(target), "frames": len(chosen), "of_frames": total}))
    else:
        print(f"{target}: {words[0]} with the domain of {len(chosen)} of {total} frames, {sum(len(a) for a in chosen)} atoms.")
        print(f"Run it: mdapp run STRUCTURE --potential {shlex.quote(str(target))}")
    return EXIT_FINISHED


def _drawn(files: Sequence[str], elements: set[int] | None) -> tuple[list[Atoms], int]:
    """At most `FRAMES` frames, each as likely as any other, of those whose elements are known; and how many frames there are in all.

    The files are read once, and no more than what is drawn is held (Vitter's algorithm R).
    """
    rng, chosen, fitting, total = np.random.default_rng(SEED), [], 0, 0
    for atoms in _frames(files):
        total += 1
        if elements is not None and not elements.issuperset(atoms.numbers.tolist()):
            continue
        fitting += 1
        if len(chosen) < FRAMES:
            chosen.append(atoms)
        elif (place := int(rng.integers(fitting))) < FRAMES:
            chosen[place] = atoms
    return chosen, total


def _frames(files: Sequence[str]) -> Iterator[Atoms]:
    from potentials.data.labelled import DataError
    from potentials.data.read import read_labelled

    for file in files:
        try:
            for s in read_labelled(file):
                yield Atoms(s.numbers, s.positions, cell=s.cell, pbc=s.pbc, info={"charge": s.charge, "multiplicity": s.multiplicity})
        except (DataError, OSError) as error:
            raise StructureError(str(error)) from None
