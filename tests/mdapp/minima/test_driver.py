"""The search: what it finds, what it refuses, when it ends, and that it can be killed."""
import numpy as np
import pytest
from mdapp.errors import StructureError
from mdapp.minima.driver import SearchOptions, Setup, search
from mdapp.minima.integrity import Kept
from mdapp.minima.journal import read_hops
from mdapp.minima.library import Library
from mdapp.minima.moves.basin_hopping import BasinHopping
from mdapp.minima.moves.dihedral import Dihedral
from mdapp.minima.moves.minima_hopping import MinimaHopping
from mdapp.minima.moves.quench import Quench
from mdapp.relax.pool import RelaxationPool
from minima_toys import EPSILON, HEXANE, PENTANE, Chains, Clusters, chain, cluster

MOVES = {  # for chains of carbon beads with barriers of 0.2 eV
    "dihedral": Dihedral(), "minima-hopping": MinimaHopping(temperature_K=1500), "basin-hopping": BasinHopping(step_A=0.7), "quench": Quench(temperature_K=1500, steps=60),
}


def hunt(folder, start, moves, evaluate=None, pool=None, kept=Kept(), should_stop=lambda: False, on_progress=None, **options):
    options = {"walkers": 4, "seed": 7, "hops": 60, **options}
    with Library(folder / "minima.h5") as library:
        found = search(start, evaluate or Chains(), library, SearchOptions(**options),
                       Setup(moves, RelaxationPool(fmax=5e-3) if pool is None else pool, kept, folder / "hops.jsonl"), should_stop=should_stop, on_progress=on_progress)
        return found, np.array(library.energies()), library.visit_counts()


@pytest.mark.parametrize("name", MOVES)
def test_every_move_finds_all_conformers_of_pentane(name, tmp_path):
    found, energies, _ = hunt(tmp_path, chain(5), {name: MOVES[name]}, minima=PENTANE, hops=300)
    assert found.reason == "minima" and len(energies) == PENTANE
    assert found.progress.hops < 300


def test_a_mixture_finds_the_conformers_of_hexane_and_says_that_these_are_all(tmp_path):
    found, energies, _ = hunt(tmp_path, chain(6), {n: MOVES[n] for n in ("dihedral", "minima-hopping", "basin-hopping")}, hops=600, complete=1.0)
    assert found.reason == "complete" and found.progress.completeness.expected == pytest.approx(len(energies), abs=0.5)
    energies = energies[energies < 0]  # a chain folded over itself may rest higher up
    assert len(energies) == HEXANE
    gauche = np.sort(np.round((energies - energies.min()) / (energies[energies > energies.min() + 1e-3].min() - energies.min())))
    assert gauche.tolist() == [0, 1, 1, 2, 2, 2, 2, 3, 3]  # energies add up: ttt; ttg tgt; tgg tgg' gtg gtg'; ggg ggg'


def test_every_evaluation_is_counted_and_every_hop_written_down(tmp_path):
    evaluate = Chains()
    found, _, visits = hunt(tmp_path, chain(5), MOVES, evaluate)
    hops = read_hops(tmp_path / "hops.jsonl")
    assert len(hops) == found.progress.hops == 60
    assert evaluate.evaluations == found.progress.evaluations == sum(hop.evaluations for hop in hops)
    assert visits.sum() == sum(hop.found is not None for hop in hops)
    assert evaluate.calls < 0.7 * evaluate.evaluations  # walkers share batches


def test_a_seed_is_a_search(tmp_path):
    lines = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        (tmp_path / name).mkdir()
        hunt(tmp_path / name, chain(5), MOVES, hops=12, seed=seed)
        lines.append([(h.walker, h.move, h.found, h.energy) for h in read_hops(tmp_path / name / "hops.jsonl")])
    assert lines[0] == lines[1] != lines[2]


@pytest.mark.parametrize("stop_after", [1, 37, 150])
def test_with_one_walker_an_interrupted_search_is_the_uninterrupted_one(stop_after, tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    whole.mkdir(), cut.mkdir()
    hunt(whole, chain(6), MOVES, walkers=1, hops=10)
    calls = iter(range(10**6))
    first, _, _ = hunt(cut, chain(6), MOVES, walkers=1, hops=10, should_stop=lambda: next(calls) >= stop_after)
    assert first.reason == "stopped"
    hunt(cut, chain(6), MOVES, walkers=1, hops=10)
    assert [h.plain() for h in read_hops(cut / "hops.jsonl")] == [h.plain() for h in read_hops(whole / "hops.jsonl")]
    with Library(whole / "minima.h5", "r") as a, Library(cut / "minima.h5", "r") as b:
        assert np.array_equal(a.energies(), b.energies())
        assert all(np.array_equal(a.atoms(k).positions, b.atoms(k).positions) for k in range(len(a)))


def test_a_hop_that_was_killed_between_library_and_journal_is_made_again_and_still_counts_as_new(tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    whole.mkdir(), cut.mkdir()
    for folder in (whole, cut):
        hunt(folder, chain(6), MOVES, walkers=1, hops=10)
    lines = (cut / "hops.jsonl").read_text().splitlines(keepends=True)
    news = [k for k, hop in enumerate(read_hops(cut / "hops.jsonl")) if hop.fate == "new"]
    (cut / "hops.jsonl").write_text("".join(lines[: news[-1]]) + lines[news[-1]][:20])
    hunt(cut, chain(6), MOVES, walkers=1, hops=10)
    assert [h.plain() for h in read_hops(cut / "hops.jsonl")] == [h.plain() for h in read_hops(whole / "hops.jsonl")]


def test_a_journal_that_knows_more_than_the_library_is_cut_and_those_hops_are_made_again(tmp_path):
    hunt(tmp_path, chain(6), MOVES, hops=4)
    library_now = (tmp_path / "minima.h5").read_bytes()
    hunt(tmp_path, chain(6), MOVES, hops=25)
    later = (tmp_path / "hops.jsonl").read_text().splitlines()
    (tmp_path / "minima.h5").write_bytes(library_now)  # as if what came later had not reached the disk
    with Library(tmp_path / "minima.h5", "r") as library:
        n = len(library)
    hops = read_hops(tmp_path / "hops.jsonl")
    assert any(hop.found is not None and hop.found >= n for hop in hops) and len(later) == 25
    found, energies, _ = hunt(tmp_path, chain(6), MOVES, hops=25)
    assert found.progress.hops == 25 and len(energies) >= n
    assert all(hop.found is None or hop.found < len(energies) for hop in read_hops(tmp_path / "hops.jsonl"))


@pytest.mark.parametrize("option, value, reason", [("hops", 11, "hops"), ("minima", 3, "minima"), ("seconds", 1e-6, "time")])
def test_each_limit_ends_a_search(option, value, reason, tmp_path):
    found, energies, _ = hunt(tmp_path, chain(6), MOVES, **{"hops": 200, option: value})
    assert found.reason == reason
    assert found.progress.hops == 11 if option == "hops" else True
    assert len(energies) == 3 if option == "minima" else True


def test_a_molecule_that_breaks_is_refused_and_counted(tmp_path):
    found, energies, _ = hunt(tmp_path, chain(5), {"basin-hopping": BasinHopping(step_A=2.5, smallest_A=2.0)}, Chains(brittle=True), hops=40)
    assert found.progress.refused["broken"] > 5
    hops = read_hops(tmp_path / "hops.jsonl")
    assert all("bond" in hop.why and hop.found is None and not hop.accepted for hop in hops if hop.fate == "broken")
    assert len(energies) <= PENTANE


def test_relaxations_without_end_are_refused_and_counted(tmp_path):
    start = chain(5)
    found, _, _ = hunt(tmp_path, start, {"dihedral": Dihedral()}, pool=RelaxationPool(fmax=2e-3, steps=3), hops=20)
    assert found.progress.refused["unconverged"] > 0


def test_a_start_that_does_not_relax_is_the_users_matter(tmp_path):
    start = chain(5)
    start.rattle(0.1, seed=1)
    with pytest.raises(StructureError, match="No start could be relaxed: 1 steps were not enough"):
        hunt(tmp_path, start, MOVES, pool=RelaxationPool(steps=1))


def test_moves_that_mean_nothing_are_left_out_and_none_left_is_refused(tmp_path):
    with pytest.raises(StructureError, match="dihedral, because it has no bond that can be turned"):
        hunt(tmp_path, cluster(5), ["dihedral"], Clusters())
    found, _, _ = hunt(tmp_path, cluster(5), {"dihedral": Dihedral(), "basin-hopping": BasinHopping(step_A=1.2, temperature_K=100)}, Clusters(), hops=12,
                       random_start=True)
    assert list(found.mixture.arms) == ["basin-hopping"]


def test_random_starts_are_for_clusters(tmp_path):
    with pytest.raises(StructureError, match="cannot be scattered: it is one piece"):
        hunt(tmp_path, chain(5), MOVES, random_start=True)


def test_a_walk_that_finds_nothing_lower_begins_anew(tmp_path):
    moves = {"basin-hopping": BasinHopping(step_A=1.2, temperature_K=100)}
    whole, _, _ = hunt(tmp_path, cluster(7), moves, Clusters(), walkers=2, hops=90, random_start=True, restart_after=4, window_eV=1e-9, seed=2)
    starts = 0
    for walker in (0, 1):
        idle, lowest = 0, np.inf
        for hop in (h for h in read_hops(tmp_path / "hops.jsonl") if h.walker == walker):
            is_start = hop.move == "scatter"
            assert is_start == (idle >= 4 or hop.parent is None)
            starts += is_start
            if is_start and hop.energy is not None:
                assert hop.accepted  # also where it lies higher, or outside the window
            if hop.energy is not None and (is_start or hop.energy < lowest - 1e-6):
                idle, lowest = 0, hop.energy
            else:
                idle += 1
    assert starts > 4
    again, _, _ = hunt(tmp_path, cluster(7), moves, Clusters(), walkers=2, hops=91, random_start=True, restart_after=4, window_eV=1e-9, seed=2)
    assert again.progress.hops == 91  # the journal tells where each walk stood
    idle = [h.move for h in read_hops(tmp_path / "hops.jsonl")]
    assert idle[:90].count("scatter") == starts


def test_minima_above_the_window_are_kept_but_nobody_goes_there(tmp_path):
    hunt(tmp_path, chain(6), {"dihedral": Dihedral()}, hops=80, window_eV=0.04)
    hops = read_hops(tmp_path / "hops.jsonl")
    lowest = min(hop.energy for hop in hops if hop.energy is not None)
    assert any(hop.energy is not None and hop.energy > lowest + 0.05 for hop in hops)
    assert not any(hop.accepted and hop.energy > lowest + 0.04 for hop in hops if hop.energy is not None)


def test_thirteen_lennard_jones_atoms_become_an_icosahedron_from_random_starts(tmp_path):
    """-44.3268 epsilon: M. R. Hoare and P. Pal, Adv. Phys. 20, 161 (1971); Wales and Doye (1997)."""
    lowest = [0.0]

    def look(progress):
        lowest[0] = progress.lowest_eV / EPSILON

    moves = {"basin-hopping": BasinHopping(step_A=1.2, largest_A=2.0, temperature_K=100)}
    found, _, _ = hunt(tmp_path, cluster(13), moves, Clusters(), RelaxationPool(fmax=2e-4, max_step=0.5), walkers=16, hops=600, random_start=True, seed=1,
                       should_stop=lambda: lowest[0] < -44.32, on_progress=look)
    assert lowest[0] == pytest.approx(-44.3268, abs=2e-4), f"{found.progress.hops} hops"
