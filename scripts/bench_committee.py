"""What do four members cost against one, on small systems?

    python scripts/bench_committee.py [--members 4] [--runs 15] [--systems ethanol alanine-dipeptide]

Evaluations of energy and forces, plain code on one thread: one member, all in turn, all as one by vectorised weights and by a batch of copies
(`potentials.combine`). The ways of the committee are compared before anything is timed. Times are of the processor, medians of single evaluations taken in
turn, so that a busy machine slows all alike. The architecture is So3krates in the shipped potential's size, with weights drawn at random, which cost as much
as learned ones.
"""
from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from _bench import append_row, median, say_where, spread, structures, table
from ase import Atoms
from ase.build import molecule
from mdapp.structure import read_structure
from potentials import load_potential
from potentials.architectures import architectures
from potentials.combine import Committee, Joined, Together, one_by_one
from potentials.derivatives import energy_forces_stress
from potentials.neighbours import graph_for
from potentials.potential import Potential

TOLERANCE = 2e-3  # eV and eV/Å, float32: sums in another order


def members_like(file: str, n: int) -> list[Potential]:
    """Potentials with the settings of a file and weights of their own."""
    config = load_potential(file).config
    found = []
    for seed in range(n):
        torch.manual_seed(seed)
        one = architectures.get("so3krates")(config)
        with torch.no_grad():
            for p in one.parameters():
                p += 0.02 * torch.randn_like(p)
        found.append(one.requires_grad_(False))
    return found


def systems(names: list[str]) -> dict[str, Atoms]:
    """By name: molecules of the G2 set by formula, or ala1, ala3, ... for capped alanines."""
    found = {}
    for name in names:
        if name.startswith("ala"):
            found[name] = read_structure(structures((), ("A" * int(name[3:] or 1),))[0])
        else:
            found[name] = molecule(name)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--potential", default="so3krates.pt", help="whose settings the members have")
    parser.add_argument("--members", type=int, default=4)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--systems", nargs="+", default=["CH3CH2OH", "ala1", "ala3"])
    words = parser.parse_args()
    torch.set_num_threads(1)
    where = say_where(threads=1, device="cpu", seed=0)
    potentials = members_like(words.potential, words.members)
    committee = Committee(potentials)
    together, joined = Together(committee), Joined(committee)
    rows = []
    for name, atoms in systems(words.systems).items():
        graph = graph_for(atoms, committee)
        ways: dict[str, Callable[[], object]] = {
            "one": lambda: energy_forces_stress(potentials[0], graph), "in_turn": lambda: one_by_one(committee, graph), "vectorised": lambda: together(committee, graph),
            "as_one": lambda: joined(committee, graph)}
        a = ways["in_turn"]()
        worst = max(float((getattr(a, part) - getattr(ways[way](), part)).abs().max()) for part in ("member_energies", "member_forces") for way in ("vectorised", "as_one"))
        if not worst < TOLERANCE:
            raise SystemExit(f"{name}: the two ways differ by {worst:.2g}, allowed {TOLERANCE:g}. Nothing was timed.")
        times: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(words.runs + 1):
            for way, evaluate in ways.items():
                begin = time.process_time()
                evaluate()
                times[way].append(1000 * (time.process_time() - begin))
        ms = {way: median(t[1:]) for way, t in times.items()}
        ratios = np.array(times["as_one"][1:]) / np.array(times["one"][1:])
        append_row("committee", {"system": name, "atoms": len(atoms), "pairs": graph.edges.n_pairs, "members": words.members, "one_ms": ms["one"],
                                 "in_turn_ms": ms["in_turn"], "vectorised_ms": ms["vectorised"], "as_one_ms": ms["as_one"], "in_turn_ratio": ms["in_turn"] / ms["one"],
                                 "vectorised_ratio": ms["vectorised"] / ms["one"],
                                 "as_one_ratio": ms["as_one"] / ms["one"], "as_one_ratio_spread": spread(list(ratios)), "largest_difference": worst, **where})
        rows.append([name, len(atoms), graph.edges.n_pairs, ms["one"], ms["in_turn"], ms["vectorised"], ms["as_one"], ms["in_turn"] / ms["one"], ms["vectorised"] / ms["one"],
                     ms["as_one"] / ms["one"]])
    print(table(rows, ["system", "atoms", "pairs", "one / ms", "in turn / ms", "vectorised / ms", "as one / ms", "in turn / one", "vectorised / one", "as one / one"]))


if __name__ == "__main__":
    main()
