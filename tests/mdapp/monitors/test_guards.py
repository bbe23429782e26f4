"""Each guard finds what was doctored, names the atoms, and leaves sound frames alone."""
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule
from mdapp import observables as ob
from mdapp.dynamics import draw_momenta
from mdapp.frame import Frame, named
from mdapp.monitors import monitors
from mdapp.topology.bonds import find_bonds
from toys import argon

ACETAMIDE = molecule("CH3CONH2")
BONDS = find_bonds(ACETAMIDE.numbers, ACETAMIDE.positions, ACETAMIDE.cell.array, ACETAMIDE.pbc)


def frame_of(atoms, temperature_K=300.0, seed=1):
    masses = atoms.get_masses()
    momenta = draw_momenta(atoms, temperature_K, np.random.default_rng(seed))
    kinetic = ob.kinetic_energy(momenta, masses)
    dof = ob.degrees_of_freedom(len(atoms), translation_removed=True, rotation_removed=not atoms.pbc.any())
    return Frame(0, 0.0, atoms.numbers, masses, atoms.positions.copy(), momenta, np.zeros_like(momenta), atoms.cell.array.copy(), atoms.pbc.copy(),
                 -10.0, kinetic, ob.temperature_K(kinetic, dof), -10.0 + kinetic)


def moved(frame, atom, by, **changes):
    positions = frame.positions.copy()
    positions[atom] = positions[atom] + by
    return replace(frame, positions=positions, **changes)


def at(frame, time_fs):
    return replace(frame, step=round(2 * time_fs), time_fs=time_fs)


def begun(name, start, bonds=BONDS, **options):
    return monitors.get(name)(**options).begin(start, bonds)


START = frame_of(ACETAMIDE)


@pytest.mark.parametrize("name", monitors.names())
def test_the_start_itself_is_sound(name):
    assert begun(name, START).look(START).level == "ok"


@pytest.mark.parametrize("name", monitors.names())
@pytest.mark.parametrize("start", [START, frame_of(argon(n=1))], ids=["free", "box"])
def test_memory_survives_a_restart(name, start):
    """Two watches, one interrupted after half of a rough journey, say the same to the end."""
    rng = np.random.default_rng(3)
    bonds = BONDS if start is START else np.zeros((0, 2), int)

    def shaken(n):
        positions = start.positions + rng.normal(scale=0.005 * n, size=start.positions.shape)
        positions[-1, 0] += 0.5 * n
        positions[1] += n / 62 * (positions[0] - positions[1])
        return positions

    rough = [replace(at(start, 5.0 * n), positions=shaken(n),
                     momenta=start.momenta * (1 + 0.05 * n) + 0.3 * n, temperature_K=start.temperature_K * (1 + 0.05 * n) ** 2,
                     conserved_energy=start.conserved_energy + 0.01 * n * n, forces=start.forces + 1.5 * n, cell=start.cell * (1 + 0.01 * n))
             for n in range(60)]
    whole, first = begun(name, start, bonds), begun(name, start, bonds)
    verdicts = [whole.look(f) for f in rough]
    for f in rough[:30]:
        first.look(f)
    second = begun(name, rough[30], bonds)  # begun at another frame: only the memory can make it equal
    second.restore(first.state())
    for f, expected in zip(rough[30:], verdicts[30:]):
        seen = second.look(f)
        assert (seen.level, seen.reason, seen.atoms) == (expected.level, expected.reason, expected.atoms)
    silent = {"finite"} | ({"bond-graph"} if start is not START else set())
    if name not in silent | {"chirality", "peptide-bond", "ring", "uncertainty", "extrapolation"}:  # these have nothing to watch here, and memory tests of their own
        assert any(v.level != "ok" for v in verdicts)


# ---------------------------------------------------------------------------- finite


@pytest.mark.parametrize("what", ["positions", "momenta", "forces"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_finite_names_what_and_who(what, bad):
    values = getattr(START, what).copy()
    values[3, 1] = bad
    verdict = begun("finite", START).look(replace(START, **{what: values}))
    assert verdict.level == "stop" and verdict.atoms == (3,)
    assert verdict.reason == f"{what} of {named(START.numbers, [3])} are not finite"


@pytest.mark.parametrize("what", ["potential_energy", "kinetic_energy", "conserved_energy"])
def test_finite_sees_energies(what):
    verdict = begun("finite", START).look(replace(START, **{what: float("nan")}))
    assert verdict.level == "stop" and what.replace("_", " ") in verdict.reason


def test_finite_sees_the_cell():
    assert begun("finite", START).look(replace(START, cell=np.full((3, 3), np.nan))).level == "stop"


def test_opposite_infinities_do_not_cancel():
    forces = START.forces.copy()
    forces[0], forces[1] = np.inf, -np.inf
    assert begun("finite", START).look(replace(START, forces=forces)).atoms == (0, 1)


# ---------------------------------------------------------------------------- temperature


def test_temperature_far_beyond_the_target_stops():
    verdict = begun("temperature", START).look(replace(START, temperature_K=2500.0))
    assert verdict.level == "stop" and verdict.value == 2500.0 and verdict.limit < 2500.0


def test_a_start_above_its_minimum_may_heat_up_for_a_while_and_no_later():
    """What ACE-ALA-ALA-NME as it comes from a force field does within 15 fs: 1022 K at a target of 300."""
    big = frame_of(argon(n=4))
    watch = begun("temperature", big, target_K=300.0)
    assert [watch.look(at(replace(big, temperature_K=1022.0), t)).level for t in (15.0, 6000.0)] == ["ok", "stop"]
    assert begun("temperature", big, target_K=300.0).look(at(replace(big, temperature_K=2000.0), 15.0)).level == "stop"


@pytest.mark.parametrize("mean, level", [(300.0, "ok"), (420.0, "ok"), (1000.0, "warn")])
def test_mean_temperature_five_deviations_off_warns(mean, level):
    """9 atoms, 21 degrees of freedom: a deviation is 93 K."""
    watch = begun("temperature", START)
    verdicts = [watch.look(at(replace(START, temperature_K=mean), 5.0 * n)) for n in range(41)]
    assert verdicts[-1].level == level
    assert verdicts[5].level == "ok"  # not before it has looked back over most of 100 fs


def test_too_cold_counts_once_settled_and_only_with_a_target():
    big = frame_of(argon(n=4))  # 256 atoms, a deviation is 15 K
    cold = replace(big, temperature_K=150.0)
    for target_K, level in ((300.0, "warn"), (None, "ok")):
        watch = begun("temperature", big, target_K=target_K)
        early = [watch.look(at(cold, 5.0 * n)) for n in range(100)]
        late = [watch.look(at(cold, 6000.0 + 5.0 * n)) for n in range(100)]
        assert early[-1].level == "ok" and late[-1].level == level


@pytest.mark.parametrize("factor, level", [(10.0, "ok"), (20.0, "warn"), (40.0, "warn"), (100.0, "stop")])
def test_one_hot_atom_is_named(factor, level):
    momenta = START.momenta.copy()
    momenta[4] = np.sqrt(3 * START.masses[4] * units.kB * 300.0 * factor / 3) * np.ones(3)
    verdict = begun("temperature", START).look(replace(START, momenta=momenta))
    assert verdict.level == level
    if level != "ok":
        assert verdict.atoms == (4,) and verdict.value == pytest.approx(300.0 * factor)


def test_canonical_temperatures_raise_no_alarm_down_to_three_degrees_of_freedom():
    water = molecule("H2O")
    start, rng = frame_of(water), np.random.default_rng(7)
    watch = begun("temperature", start)
    for n in range(20_000):
        p = draw_momenta(water, 300.0, rng, exact=False)
        K = ob.kinetic_energy(p, start.masses)
        frame = replace(start, step=10 * n, time_fs=5.0 * n, momenta=p, kinetic_energy=K, temperature_K=ob.temperature_K(K, 3))
        assert watch.look(frame).level == "ok"


# ---------------------------------------------------------------------------- extent


@pytest.mark.parametrize("far, level", [(3.0, "ok"), (11.0, "warn"), (25.0, "stop"), (1e4, "stop")])
def test_an_atom_that_leaves_is_named(far, level):
    hydrogen = 5
    away = ACETAMIDE.positions[hydrogen] - ACETAMIDE.positions.mean(axis=0)
    verdict = begun("extent", START).look(moved(START, hydrogen, far * away / np.linalg.norm(away)))
    assert verdict.level == level
    if level != "ok":
        assert verdict.atoms == (hydrogen,)
        assert verdict.value == pytest.approx(far, abs=2.5)


def test_two_molecules_that_part_are_seen_and_two_far_apart_from_the_start_are_not():
    pair = ACETAMIDE.copy()
    pair.extend(ACETAMIDE.copy())
    second = np.arange(9, 18)
    for apart, opens, level in ((4.0, 0.0, "ok"), (4.0, 40.0, "stop"), (40.0, 0.0, "ok"), (40.0, 3.0, "ok"), (40.0, 60.0, "stop")):
        atoms = pair.copy()
        atoms.positions[second, 0] += 5.0 + apart
        start = frame_of(atoms)
        assert begun("extent", start).look(moved(start, second, [opens, 0, 0])).level == level, (apart, opens)


def test_a_chain_may_unfold():
    coil = frame_of(molecule("C60"))
    angle = np.arange(60)
    coil = replace(coil, positions=np.array([3 * np.cos(angle), 3 * np.sin(angle), 0.15 * angle]).T)
    line = replace(coil, positions=np.array([1.4 * np.arange(60), np.zeros(60), np.zeros(60)]).T)
    assert begun("extent", coil, np.zeros((0, 2), int)).look(line).level == "ok"


@pytest.mark.parametrize("scale, level", [(1.1, "ok"), (1.2, "warn"), (1.7, "stop"), (0.84, "warn"), (0.6, "stop")])
def test_a_box_that_bursts_or_collapses_is_seen(scale, level):
    start = frame_of(argon())
    assert begun("extent", start).look(replace(start, cell=start.cell * scale)).level == level


# ---------------------------------------------------------------------------- bond graph


def stretched(bond, by):
    i, j = BONDS[bond]
    d = START.positions[j] - START.positions[i]
    light = j if START.masses[j] < START.masses[i] else i
    return moved(START, light, (1 if light == j else -1) * by * d / np.linalg.norm(d)), {int(i), int(j)}


HEAVY = next(k for k, pair in enumerate(BONDS) if (ACETAMIDE.numbers[pair] > 1).all())
WITH_H = next(k for k, pair in enumerate(BONDS) if set(ACETAMIDE.numbers[pair]) == {1, 6})


@pytest.mark.parametrize("bond, by, level", [(HEAVY, 0.4, "ok"), (HEAVY, 0.6, "warn"), (HEAVY, 2.0, "stop"), (WITH_H, 0.6, "warn"), (WITH_H, 1.49, "stop")])
def test_a_bond_that_stays_off_is_reported_with_its_atoms(bond, by, level):
    off, pair = stretched(bond, by)
    watch = begun("bond-graph", START, formed_ratio=0.1)
    assert watch.look(at(off, 0.0)).level == "ok"  # one look is not enough
    assert watch.look(at(off, 5.0)).level == "ok"
    verdict = watch.look(at(off, 10.0))
    assert verdict.level == level
    if level != "ok":
        assert pair <= set(verdict.atoms) and "Å long" in verdict.reason


def test_a_bond_that_stays_off_for_long_is_broken():
    """A potential with weights off by 30 % left a C-H 0.6 Å off for 300 fs before anything else stopped the run."""
    off, pair = stretched(HEAVY, 0.6)
    watch = begun("bond-graph", START, formed_ratio=0.1)
    verdicts = [watch.look(at(off, 5.0 * n)) for n in range(21)]
    assert [v.level for v in verdicts] == ["ok"] * 2 + ["warn"] * 18 + ["stop"]
    assert pair <= set(verdicts[-1].atoms) and "0.60 Å off its start for 100 fs, limit 0.5" in verdicts[-1].reason and verdicts[-1].limit == 0.5


def test_a_bond_that_comes_back_starts_anew():
    off, _ = stretched(HEAVY, 0.6)
    watch = begun("bond-graph", START, formed_ratio=0.1)
    levels = [watch.look(at(f, 5.0 * n)).level for n, f in enumerate([off, off, START, off, off])]
    assert levels == ["ok"] * 5


def test_a_squeezed_bond_is_off_too():
    off, _ = stretched(HEAVY, -0.6)
    watch = begun("bond-graph", START, formed_ratio=0.1)
    assert [watch.look(at(off, 5.0 * n)).level for n in range(3)][-1] == "warn"


def test_a_bond_that_forms_is_reported():
    h = np.flatnonzero(ACETAMIDE.numbers == 1)
    a, b = h[0], h[-1]
    assert not (np.sort(BONDS, axis=1) == sorted((a, b))).all(axis=1).any()
    positions = START.positions.copy()
    positions[a] = positions[b] + [0.0, 0.0, 0.7]
    new = replace(START, positions=positions)
    watch = begun("bond-graph", START, warn_off_A=90.0, stop_off_A=99.0, hydrogen_A=99.0)
    verdict = [watch.look(at(new, 5.0 * n)) for n in range(3)][-1]
    assert verdict.level == "warn" and {int(a), int(b)} <= set(verdict.atoms) | {int(a), int(b)} and "as close as a bond" in verdict.reason


@pytest.mark.parametrize("cell", [np.diag([9.0, 9.0, 9.0]), np.array([[9.0, 0, 0], [4.0, 9.0, 0], [3.0, 4.0, 9.0]])], ids=["cube", "skewed"])
def test_bonds_through_periodic_walls_are_whole(cell):
    atoms = ACETAMIDE.copy()
    atoms.set_cell(cell)
    atoms.pbc = True
    atoms.positions += 8.5
    start = frame_of(atoms)
    atoms.wrap()
    wrapped = frame_of(atoms)
    assert not np.allclose(start.positions, wrapped.positions)
    watch = begun("bond-graph", start)
    assert [watch.look(at(wrapped, 5.0 * n)).level for n in range(4)] == ["ok"] * 4
    np.testing.assert_allclose(begun("bond-graph", wrapped).start_lengths, watch.start_lengths, atol=1e-10)


def test_no_bonds_nothing_to_say():
    start = frame_of(argon())
    watch = begun("bond-graph", start, np.zeros((0, 2), int))
    assert watch.look(replace(start, positions=start.positions * 0.2)).level == "ok"


def test_memory_of_another_topology_is_refused():
    state = begun("bond-graph", START).state()
    with pytest.raises(ValueError, match="holds 8 bonds, the topology 3"):
        begun("bond-graph", START, BONDS[:3]).restore(state)


# ---------------------------------------------------------------------------- energy drift


@pytest.mark.parametrize("slope, level", [(0.5, "ok"), (10.0, "warn"), (-10.0, "warn"), (200.0, "stop")])
def test_drift_is_measured_in_meV_per_atom_and_ps(slope, level):
    watch, rng = begun("energy-drift", START), np.random.default_rng(1)
    for n in range(400):
        t = 5.0 * n
        verdict = watch.look(at(replace(START, conserved_energy=slope * 1e-3 * 9 * t / 1000 + rng.normal(scale=1e-3)), t))
        assert verdict.level == "ok" or t >= 790
    assert verdict.level == level
    if level != "ok":
        assert verdict.value == pytest.approx(slope, abs=0.5)


@pytest.mark.parametrize("jump_eV, level", [(0.05, "ok"), (0.3, "warn"), (-0.3, "warn"), (5.0, "stop")])
def test_a_jump_is_seen_at_once(jump_eV, level):
    watch = begun("energy-drift", START)
    assert watch.look(at(START, 0.0)).level == "ok"
    verdict = watch.look(at(replace(START, conserved_energy=START.conserved_energy + jump_eV), 5.0))
    assert verdict.level == level
    if level != "ok":
        assert verdict.value == pytest.approx(1000 * jump_eV)


# ---------------------------------------------------------------------------- forces and contacts


@pytest.mark.parametrize("force, level", [(10.0, "ok"), (40.0, "warn"), (400.0, "stop")])
def test_the_largest_force_is_named(force, level):
    forces = START.forces.copy()
    forces[7] = [0.0, -force, 0.0]
    verdict = begun("largest-force", START).look(replace(START, forces=forces))
    assert verdict.level == level
    if level != "ok":
        assert verdict.atoms == (7,) and verdict.value == pytest.approx(force)


@pytest.mark.parametrize("distance, level", [(0.80, "ok"), (0.60, "warn"), (0.40, "stop")])
def test_the_closest_contact_is_named(distance, level):
    """An O-H pair: the radii add up to 0.97 Å."""
    oxygen, hydrogen = int(np.flatnonzero(ACETAMIDE.numbers == 8)[0]), int(np.flatnonzero(ACETAMIDE.numbers == 1)[0])
    out = ACETAMIDE.positions[oxygen] - ACETAMIDE.positions.mean(axis=0)
    positions = START.positions.copy()
    positions[hydrogen] = positions[oxygen] + distance * out / np.linalg.norm(out)
    verdict = begun("closest-contact", START).look(replace(START, positions=positions))
    assert verdict.level == level
    if level != "ok":
        assert set(verdict.atoms) == {oxygen, hydrogen}


def test_contacts_through_periodic_walls_count():
    start = frame_of(argon())
    edge = start.cell[0, 0]
    near = moved(start, 0, [edge - start.positions[0, 0] - 0.0, 0, 0])
    near = replace(near, positions=near.positions.copy())
    near.positions[1] = near.positions[0] + [0.5 - edge, 0.0, 0.0]
    assert begun("closest-contact", start).look(near).level == "stop"


# ---------------------------------------------------------------------------- settings


@pytest.mark.parametrize("name, options, said", [
    ("largest-force", {"warn_eV_per_A": 200.0}, "warn_eV_per_A must be > 0 and at most stop_eV_per_A"),
    ("extent", {"stop_gap_A": 1.0}, "warn_gap_A must be > 0 and at most stop_gap_A"),
    ("closest-contact", {"stop_ratio": 0.9}, "stop_ratio must be > 0 and at most warn_ratio"),
    ("bond-graph", {"hydrogen_A": -1.0}, "hydrogen_A must be > 0, got -1"),
    ("energy-drift", {"window_fs": 0.0}, "window_fs must be > 0, got 0"),
    ("temperature", {"target_K": -5.0}, "target_K must be > 0, got -5"),
])
def test_senseless_thresholds_are_refused(name, options, said):
    with pytest.raises(ValueError, match=said):
        monitors.get(name)(**options)


def test_atoms_in_words():
    numbers = np.array([1, 6, 7, 8])
    assert [named(numbers, a) for a in ([0], [0, 1], [0, 1, 2], [0, 1, 2, 3])] == ["H0", "H0 and C1", "H0, C1 and N2", "H0, C1, N2 and 1 more"]


@pytest.mark.parametrize("n_atoms", [1, 2, 5, 40, 110])
def test_pairs_of_a_small_molecule_are_those_that_a_search_finds(n_atoms, monkeypatch):
    from mdapp.monitors import _pairs

    frame = frame_of(Atoms(f"C{n_atoms}", np.random.default_rng(n_atoms).uniform(0, 1.8 * n_atoms ** (1 / 3), size=(n_atoms, 3))), 0.0)
    looked = _pairs.close_pairs(frame, 2.0)
    monkeypatch.setattr(_pairs, "FEW", 0)
    searched = _pairs.close_pairs(replace(frame), 2.0)
    assert all(np.array_equal(a, b) for a, b in zip(looked, searched)) and (n_atoms < 5 or len(looked[0]))
