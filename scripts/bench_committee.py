"""What do four members cost against one, on small systems, and what does one trunk with eight heads?

    python scripts/bench_committee.py [--members 4] [--heads 8] [--runs 15] [--systems CH3CH2OH ala1 ala3] [--only members|heads|compiled]

Evaluations of energy and forces, plain code on one thread: one member, all in turn, all as one by vectorised weights and by a batch of copies
(`potentials.combine`). The ways of the committee are compared before anything is timed. Times are of the processor, medians of single evaluations taken in
turn, so that a busy machine slows all alike. The architecture is So3krates in the shipped potential's size, with weights drawn at random, which cost as much
as learned ones.

Heads (results/shallow.csv): a step of dynamics takes energy, forces and the spread of energies; the spread of forces is worked out when a guard looks, at
every tenth step, and a tenth of its price counts. Training: one step on a batch of five of the system, forces among what is learnt. Compiled
(results/committee_compiled.csv): one potential and all members, each as one compiled function with radial filters from a table.
"""
from __future__ import annotations

import argparse
import copy
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
from potentials.combine import Committee, CommitteeDerivatives, Joined, Together, one_by_one
from potentials.data.dataset import Batch
from potentials.derivatives import energy_forces_stress
from potentials.graph import AtomicGraph, batch
from potentials.neighbours import graph_for
from potentials.potential import Potential
from potentials.runtime.compiled_derivatives import CompiledDerivatives
from potentials.runtime.radial_table import with_radial_table, with_shared_table
from potentials.shallow import SpreadOfForces
from potentials.training.config import LossConfig
from potentials.training.evaluate import plain_predictor
from potentials.training.heads import drawn
from potentials.training.loss import loss

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


GUARDS_LOOK_EVERY = 10  # steps


def measured(ways: dict[str, Callable[[], object]], runs: int) -> dict[str, list[float]]:
    """Processor milliseconds of single calls, taken in turn, each behind one that is not counted, which fills the caches; the first turn is left out."""
    times: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(runs + 1):
        for way, evaluate in ways.items():
            evaluate()
            begin = time.process_time()
            evaluate()
            times[way].append(1000 * (time.process_time() - begin))
    return {way: t[1:] for way, t in times.items()}


def with_heads(one: Potential, n: int) -> Potential:
    """A shallow ensemble on the trunk of a potential."""
    from potentials.training.fine_tuning import with_heads

    return with_heads(one, n, seed=0).requires_grad_(False)


def a_step_of_training(potential: Potential, graph: AtomicGraph) -> Callable[[], object]:
    """Energies and forces of five copies, the loss, and its gradient to the weights."""
    several, n = batch([graph] * 5), 5 * graph.n_atoms
    labels = Batch(several, torch.zeros(5, dtype=torch.float64), torch.zeros(n, 3, dtype=torch.float64), torch.full((5, 3, 3), torch.nan, dtype=torch.float64),
                   torch.full((n,), torch.nan, dtype=torch.float64), torch.full((5, 3), torch.nan, dtype=torch.float64), torch.full((5,), graph.n_atoms))  # fmt: skip
    if potential.energy_heads > 1:
        labels = drawn(labels, np.arange(5), potential.energy_heads, seed=0, epoch=0)
    learner = copy.deepcopy(potential).requires_grad_(True)
    predict = plain_predictor(learner, create_graph=True)

    def step() -> None:
        learner.zero_grad(set_to_none=True)
        loss(predict(labels.graph) if labels.head is None else predict(labels.graph, labels.head), labels, LossConfig()).backward()

    return step


def bench_heads(one: Potential, n: int, structures_of: dict[str, Atoms], runs: int, where: dict) -> None:
    several, rows = with_heads(one, n), []
    spread_of_forces = SpreadOfForces(several)
    for name, atoms in structures_of.items():
        graph = graph_for(atoms, one)
        plain, heads = energy_forces_stress(one, graph), energy_forces_stress(several, graph)
        worst = max(float((plain.forces - heads.forces).abs().max()), float((plain.energy - heads.energy).abs().max()))  # drawn about the one: the same mean
        if not worst < TOLERANCE:
            raise SystemExit(f"{name}: the mean of the heads is off by {worst:.2g}, allowed {TOLERANCE:g}. Nothing was timed.")
        t = measured({"one": lambda: energy_forces_stress(one, graph), "heads": lambda: energy_forces_stress(several, graph), "spread": lambda: spread_of_forces(graph),
                      "learn_one": a_step_of_training(one, graph), "learn_heads": a_step_of_training(several, graph)}, runs)
        ms = {way: median(values) for way, values in t.items()}
        per_step = ms["heads"] + ms["spread"] / GUARDS_LOOK_EVERY
        append_row("shallow", {"system": name, "atoms": len(atoms), "pairs": graph.edges.n_pairs, "heads": n, "one_ms": ms["one"], "energy_spread_ms": ms["heads"],
                               "force_spread_ms": ms["spread"], "energy_spread_ratio": ms["heads"] / ms["one"], "force_spread_ratio": ms["spread"] / ms["one"],
                               "step_with_guards_ratio": per_step / ms["one"], "training_step_ratio": ms["learn_heads"] / ms["learn_one"],
                               "ratio_spread": spread(list(np.array(t["heads"]) / np.array(t["one"]))), "largest_difference": worst, **where})
        rows.append([name, len(atoms), ms["one"], ms["heads"] / ms["one"], ms["spread"] / ms["one"], per_step / ms["one"], ms["learn_heads"] / ms["learn_one"]])
    print(table(rows, ["system", "atoms", "one / ms", "energy spread / one", "force spread / one", "a step with guards / one", "training / one"]))


def bench_compiled(potentials: list[Potential], structures_of: dict[str, Atoms], runs: int, where: dict) -> None:
    shared, _ = with_shared_table(potentials)
    single = with_radial_table(potentials[0])[0].requires_grad_(False)
    committee, plain, one, rows = Committee(shared), Committee(potentials), CompiledDerivatives(single), []
    derive = CommitteeDerivatives(committee, compile=True)
    for name, atoms in structures_of.items():
        graph = graph_for(atoms, committee)
        a, b = one_by_one(plain, graph), derive(committee, graph)
        worst = max(float((getattr(a, part) - getattr(b, part)).abs().max()) for part in ("member_energies", "member_forces"))
        if not worst < TOLERANCE:
            raise SystemExit(f"{name}: compiled and plain differ by {worst:.2g}, allowed {TOLERANCE:g}. Nothing was timed.")
        t = measured({"plain_one": lambda: energy_forces_stress(potentials[0], graph), "one": lambda: one(single, graph), "all": lambda: derive(committee, graph)}, runs)
        ms = {way: median(values) for way, values in t.items()}
        append_row("committee_compiled", {"system": name, "atoms": len(atoms), "pairs": graph.edges.n_pairs, "members": len(potentials), "plain_one_ms": ms["plain_one"],
                                          "one_ms": ms["one"], "all_ms": ms["all"], "ratio": ms["all"] / ms["one"], "ratio_to_plain_one": ms["all"] / ms["plain_one"],
                                          "ratio_spread": spread(list(np.array(t["all"]) / np.array(t["one"]))), "largest_difference": worst, **where})
        rows.append([name, len(atoms), ms["plain_one"], ms["one"], ms["all"], ms["all"] / ms["one"], ms["all"] / ms["plain_one"]])
    print(table(rows, ["system", "atoms", "plain one / ms", "compiled one / ms", "compiled all / ms", "all / one", "all / plain one"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--potential", default="so3krates.pt", help="whose settings the members have")
    parser.add_argument("--members", type=int, default=4)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--heads", type=int, default=8)
    parser.add_argument("--only", choices=["members", "heads", "compiled"], help="members and heads when not given")
    parser.add_argument("--systems", nargs="+", default=["CH3CH2OH", "ala1", "ala3"])
    words = parser.parse_args()
    torch.set_num_threads(1)
    where = say_where(threads=1, device="cpu", seed=0)
    potentials, chosen = members_like(words.potential, words.members), systems(words.systems)
    if words.only == "compiled":
        bench_compiled(potentials, chosen, words.runs, where)
        return
    if words.only != "members":
        bench_heads(potentials[0], words.heads, chosen, words.runs, where)
    if words.only == "heads":
        return
    committee = Committee(potentials)
    together, joined = Together(committee), Joined(committee)
    rows = []
    for name, atoms in chosen.items():
        graph = graph_for(atoms, committee)
        ways: dict[str, Callable[[], object]] = {
            "one": lambda: energy_forces_stress(potentials[0], graph), "in_turn": lambda: one_by_one(committee, graph), "vectorised": lambda: together(committee, graph),
            "as_one": lambda: joined(committee, graph)}
        a = ways["in_turn"]()
        worst = max(float((getattr(a, part) - getattr(ways[way](), part)).abs().max()) for part in ("member_energies", "member_forces") for way in ("vectorised", "as_one"))
        if not worst < TOLERANCE:
            raise SystemExit(f"{name}: the two ways differ by {worst:.2g}, allowed {TOLERANCE:g}. Nothing was timed.")
        times = measured(ways, words.runs)
        ms = {way: median(t) for way, t in times.items()}
        ratios = np.array(times["as_one"]) / np.array(times["one"])
        append_row("committee", {"system": name, "atoms": len(atoms), "pairs": graph.edges.n_pairs, "members": words.members, "one_ms": ms["one"],
                                 "in_turn_ms": ms["in_turn"], "vectorised_ms": ms["vectorised"], "as_one_ms": ms["as_one"], "in_turn_ratio": ms["in_turn"] / ms["one"],
                                 "vectorised_ratio": ms["vectorised"] / ms["one"],
                                 "as_one_ratio": ms["as_one"] / ms["one"], "as_one_ratio_spread": spread(list(ratios)), "largest_difference": worst, **where})
        rows.append([name, len(atoms), graph.edges.n_pairs, ms["one"], ms["in_turn"], ms["vectorised"], ms["as_one"], ms["in_turn"] / ms["one"], ms["vectorised"] / ms["one"],
                     ms["as_one"] / ms["one"]])
    print(table(rows, ["system", "atoms", "pairs", "one / ms", "in turn / ms", "vectorised / ms", "as one / ms", "in turn / one", "vectorised / one", "as one / one"]))


if __name__ == "__main__":
    main()
