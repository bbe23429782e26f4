"""Guards of the molecule's shape: hands, peptide bonds, rings; what hops; what the potential doubts."""
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase.build import molecule
from mdapp.monitors import monitors
from mdapp.monitors._graph import peptide_bonds, rings, stereocentres
from mdapp.topology.bonds import find_bonds
from test_guards import at, frame_of, moved

REPO = Path(__file__).parents[3]
ALANINE = """N -1.48 0.30 -0.10
H -1.90 -0.60 -0.30
H -1.80 0.95 -0.80
C -0.02 0.20 0.00
H 0.30 0.90 0.80
C 0.50 0.65 -1.36
H 0.16 1.66 -1.60
H 1.60 0.66 -1.38
H 0.17 -0.03 -2.15
C 0.45 -1.20 0.38
O 0.10 -2.20 -0.20
O 1.30 -1.20 1.42
H 1.55 -2.13 1.60"""
# N-methylacetamide, trans: CH3-C(=O)-NH-CH3
NMA = """C -1.90 -0.50 0.00
C -0.50 0.10 0.00
O -0.30 1.31 0.00
N 0.52 -0.78 0.00
H 0.33 -1.77 0.00
C 1.90 -0.33 0.00
H -2.63 0.31 0.00
H -2.03 -1.12 0.89
H -2.03 -1.12 -0.89
H 2.57 -1.20 0.00
H 2.10 0.27 0.89
H 2.10 0.27 -0.89"""


def atoms_of(text):
    from ase import Atoms

    rows = [line.split() for line in text.splitlines()]
    return Atoms([r[0] for r in rows], [[float(x) for x in r[1:]] for r in rows])


def bonds_of(atoms):
    return find_bonds(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc)


def begun(name, atoms, **options):
    start = frame_of(atoms)
    return start, monitors.get(name)(**options).begin(start, bonds_of(atoms))


def levels(watch, frame, times):
    return [watch.look(at(frame, t)).level for t in times]


def turned(positions, axis_from, axis_to, atoms, degrees):
    """`atoms` turned about the axis between two others."""
    axis = positions[axis_to] - positions[axis_from]
    axis = axis / np.linalg.norm(axis)
    r, angle = positions[atoms] - positions[axis_from], np.radians(degrees)
    new = positions.copy()
    new[atoms] = positions[axis_from] + r * np.cos(angle) + np.cross(axis, r) * np.sin(angle) + np.outer(r @ axis, axis) * (1 - np.cos(angle))
    return new


# ---------------------------------------------------------------------------- chirality


def test_the_centre_of_alanine_is_found_and_no_other():
    atoms = atoms_of(ALANINE)
    assert stereocentres(atoms.numbers, bonds_of(atoms))[:, 0].tolist() == [3]
    for name in ("CH3CH2OH", "CH3CONH2", "C6H6", "isobutane"):
        other = molecule(name)
        assert not len(stereocentres(other.numbers, bonds_of(other))), name


def test_an_inverted_centre_warns_then_stops_and_is_named():
    atoms = atoms_of(ALANINE)
    start, watch = begun("chirality", atoms)
    mirror = replace(start, positions=start.positions * [1, 1, -1])
    assert levels(watch, mirror, [0, 5, 10, 50, 99, 100]) == ["ok", "ok", "warn", "warn", "warn", "stop"]
    verdict = watch.look(at(mirror, 105))
    assert verdict.atoms == (3,) and "stereocentre C3 has turned over" in verdict.reason


def test_a_centre_that_is_shaken_or_turned_as_a_whole_keeps_its_hand():
    atoms = atoms_of(ALANINE)
    start, watch = begun("chirality", atoms)
    rng = np.random.default_rng(1)
    for n in range(100):
        atoms.rotate(rng.uniform(0, 360), rng.normal(size=3))
        shaken = replace(at(start, 5.0 * n), positions=atoms.positions + rng.normal(scale=0.12, size=(len(atoms), 3)))
        assert watch.look(shaken).level == "ok"


def test_a_hand_is_kept_through_periodic_walls():
    atoms = atoms_of(ALANINE)
    atoms.set_cell([9.0, 9.0, 9.0])
    atoms.pbc = True
    start, watch = begun("chirality", atoms)
    atoms.positions += [0.2, 4.4, 0.9]
    atoms.wrap()
    assert levels(watch, replace(start, positions=atoms.positions), range(0, 200, 5)) == ["ok"] * 40


def oxide():
    """Ac-Met(O)-NHMe, and the same with its S=O turned over."""
    from ase.io import read

    atoms = read(REPO / "examples" / "learn_peptide" / "Ac-MetO-NHMe.xyz")
    sulfur = int(np.flatnonzero(atoms.numbers == 16)[0])
    bonds = bonds_of(atoms)
    near = sorted({int(k) for bond in bonds if sulfur in bond for k in bond} - {sulfur})
    oxygen = next(k for k in near if atoms.numbers[k] == 8)
    u, v = (atoms.positions[k] - atoms.positions[sulfur] for k in near if k != oxygen)
    normal = np.cross(u, v) / np.linalg.norm(np.cross(u, v))
    inverted = atoms.copy()
    inverted.positions[oxygen] -= 2 * ((atoms.positions[oxygen] - atoms.positions[sulfur]) @ normal) * normal
    return atoms, inverted, sulfur, oxygen


def test_a_sulfoxide_is_a_centre_that_may_not_turn_over():
    from mdapp.minima.integrity import Integrity
    from mdapp.minima.molecule import Molecule

    atoms, inverted, sulfur, _ = oxide()
    start, watch = begun("chirality", atoms)
    assert sulfur in watch.centres[:, 0].tolist() and len(watch.centres) == 2
    assert levels(watch, replace(start, positions=inverted.positions), [0, 10, 100]) == ["ok", "warn", "stop"]
    assert levels(begun("chirality", atoms)[1], start, range(0, 200, 50)) == ["ok"] * 4
    integrity = Integrity(Molecule.of(atoms))
    assert integrity.broken(atoms.positions) is None and integrity.broken(inverted.positions) == f"stereocentre S{sulfur} turned over"


def test_a_thioether_is_no_centre():
    atoms, _, sulfur, oxygen = oxide()
    alpha = [k for k in stereocentres(atoms.numbers, bonds_of(atoms))[:, 0].tolist() if k != sulfur]
    del atoms[oxygen]
    assert stereocentres(atoms.numbers, bonds_of(atoms))[:, 0].tolist() == alpha


@pytest.mark.parametrize("symbols, centres", [
    ("S OCN", 1), ("S FCN", 1), ("P HCN", 1), ("S OOC", 0), ("P HHC", 0), ("N HCO", 0), ("C HNO", 0), ("S OOCN", 0), ("P OOSC", 0), ("P OSCN", 1), ("S CC", 0),
])  # fmt: skip
def test_sulfur_and_phosphorus_need_three_different_partners_or_four(symbols, centres):
    """The first atom in the middle, the others about it."""
    from ase import Atoms

    atoms = Atoms(symbols.replace(" ", ""))
    found = stereocentres(atoms.numbers, np.array([(0, k) for k in range(1, len(atoms))]))
    assert found.tolist() == [[*range(len(atoms)), -1][:5]] * centres


# ---------------------------------------------------------------------------- peptide bond


def test_a_peptide_bond_is_found_and_a_plain_amide_is_none():
    nma, acetamide = atoms_of(NMA), molecule("CH3CONH2")
    assert peptide_bonds(nma.numbers, bonds_of(nma)).tolist() == [[0, 1, 3, 5]]
    assert not len(peptide_bonds(acetamide.numbers, bonds_of(acetamide)))


@pytest.mark.parametrize("degrees, early, late", [(0, "ok", "ok"), (35, "ok", "ok"), (75, "warn", "warn"), (180, "warn", "stop")])
def test_a_twisted_peptide_bond_warns_and_one_that_went_to_cis_stops(degrees, early, late):
    start, watch = begun("peptide-bond", atoms_of(NMA))
    new = replace(start, positions=turned(start.positions, 1, 3, [4, 5, 9, 10, 11], degrees))
    seen = levels(watch, new, range(0, 600, 5))
    assert (seen[0], seen[9], seen[11], seen[-1]) == ("ok", "ok", early, late)
    if degrees == 180:
        verdict = watch.look(at(new, 605))
        assert set(verdict.atoms) == {1, 3} and "from trans to cis" in verdict.reason and verdict.value == pytest.approx(180)


@pytest.mark.parametrize("falls_to, form, other", [(-86, "trans", "cis"), (94, "cis", "trans")])
def test_a_bond_that_starts_twisted_may_fall_to_either_side_and_is_watched_from_there(falls_to, form, other):
    flat = atoms_of(NMA)
    far = [4, 5, 9, 10, 11]
    flat.positions = turned(flat.positions, 1, 3, far, 86)
    start, watch = begun("peptide-bond", flat)
    assert levels(watch, start, range(0, 2000, 5)) == ["ok"] * 400  # the start has said so; it is no news
    down = replace(start, positions=turned(start.positions, 1, 3, far, falls_to))
    seen = levels(watch, down, range(2000, 2400, 5))
    assert seen == ["ok"] * 40 + ["warn"] + ["ok"] * 39  # 200 fs at rest, told once
    fresh = monitors.get("peptide-bond")().begin(start, bonds_of(flat))
    fresh.restore(watch.state())
    across = replace(start, positions=turned(down.positions, 1, 3, far, 180))
    for each in (watch, fresh):
        assert levels(each, across, range(2400, 3000, 5))[-1] == "stop"
        assert f"from {form} to {other}" in each.look(at(across, 3000)).reason


def test_a_bond_that_starts_twisted_is_named_when_it_comes_to_rest_and_a_swing_through_is_none():
    flat = atoms_of(NMA)
    far = [4, 5, 9, 10, 11]
    flat.positions = turned(flat.positions, 1, 3, far, 80)
    start, watch = begun("peptide-bond", flat)
    trans, cis = (replace(start, positions=turned(start.positions, 1, 3, far, by)) for by in (-80, 100))
    for k in range(20):  # hot, it goes over the barrier again and again
        assert levels(watch, trans if k % 2 else cis, range(150 * k, 150 * k + 140, 5)) == ["ok"] * 28
        assert watch.look(at(start, 150 * k + 145)).level == "ok"
    verdicts = [watch.look(at(trans, t)) for t in range(3000, 3300, 5)]
    (told,) = [v for v in verdicts if v.level != "ok"]
    assert told.level == "warn" and told.atoms == (1, 3) and "C1 and N3 (trans)" in told.reason and "the start's" in told.reason


def test_memory_of_an_older_run_is_taken():
    start, watch = begun("peptide-bond", atoms_of(NMA))
    state = watch.state()
    del state["settling_fs"]
    watch.restore(state)
    assert watch.look(at(start, 5)).level == "ok"


# ---------------------------------------------------------------------------- rings


def test_rings_are_found_in_order_and_once():
    benzene = molecule("C6H6")
    (ring,) = rings(len(benzene), bonds_of(benzene))
    assert sorted(ring) == np.flatnonzero(benzene.numbers == 6).tolist()
    bonded = {frozenset(b) for b in bonds_of(benzene).tolist()}
    assert all(frozenset((a, b)) in bonded for a, b in zip(ring, (*ring[1:], ring[0])))
    c60 = molecule("C60")
    assert [len(r) for r in rings(60, bonds_of(c60))].count(5) == 12


def test_a_flat_ring_that_buckles_and_one_that_is_squeezed_are_told():
    benzene = molecule("C6H6")
    start, watch = begun("ring", benzene)
    carbons = np.flatnonzero(benzene.numbers == 6)
    assert levels(watch, moved(start, carbons[0], [0, 0, 0.3]), [0, 5, 10, 15]) == ["ok"] * 4
    assert levels(watch, moved(start, carbons[0], [0, 0, 1.4]), [20, 25, 30]) == ["ok", "ok", "warn"]
    assert levels(watch, moved(start, carbons[0], [0, 0, 3.0]), [40, 45, 50])[-1] == "stop"
    positions = start.positions.copy()
    positions[carbons, 0] *= 0.6
    verdict = [watch.look(at(replace(start, positions=positions), t)) for t in (60, 65, 70)][-1]
    assert verdict.level in ("warn", "stop") and "distance across" in verdict.reason and set(verdict.atoms) == set(carbons.tolist())


def test_a_ring_that_puckers_by_nature_may():
    cyclobutane = molecule("cyclobutane")
    start, watch = begun("ring", cyclobutane)
    ring = rings(len(cyclobutane), bonds_of(cyclobutane))[0]
    assert levels(watch, moved(start, ring[0], [0, 0, 0.5]), [0, 5, 10, 15]) == ["ok"] * 4


# ---------------------------------------------------------------------------- bonds


def test_a_proton_hop_is_told_from_a_broken_bond():
    atoms = atoms_of(ALANINE)
    start, watch = begun("bond-graph", atoms)
    proton, giver, taker = 12, 11, 0
    out = start.positions[taker] - start.positions[3]
    hopped = replace(start, positions=start.positions.copy())
    hopped.positions[proton] = start.positions[taker] + 1.02 * out / np.linalg.norm(out)
    verdict = [watch.look(at(hopped, t)) for t in (0, 5, 10, 15)][-1]
    assert verdict.level == "stop" and verdict.atoms[:3] == (proton, giver, taker) and "proton hop: H12 has gone from O11 to N0" in verdict.reason
    watch = begun("bond-graph", atoms)[1]
    lost = moved(start, proton, [0, 0, 4.0])
    verdict = [watch.look(at(lost, t)) for t in (0, 5, 10)][-1]
    assert verdict.level == "stop" and "is broken" in verdict.reason and "hop" not in verdict.reason


def test_the_bond_deviation_of_the_benchmarks_is_kept_and_survives_a_restart():
    atoms = atoms_of(ALANINE)
    start, watch = begun("bond-graph", atoms)
    assert watch.summary()["bond_deviation"]["first_beyond_0.5_A_ps"] is None
    for t, by in ((0, 0.1), (5, 0.7), (10, 0.2)):
        d = start.positions[12] - start.positions[11]
        watch.look(at(moved(start, 12, by * d / np.linalg.norm(d)), t))
    other = begun("bond-graph", atoms)[1]
    other.restore(watch.state())
    for told in (watch.summary(), other.summary()):
        found = told["bond_deviation"]
        assert found["largest_A"] == pytest.approx(0.7) and sorted(found["atoms"]) == [11, 12] and found["at_ps"] == 0.005 == found["first_beyond_0.5_A_ps"]


# ---------------------------------------------------------------------------- doubts


@pytest.mark.parametrize("name, value, level", [("forces_spread", 0.3, "ok"), ("forces_spread", 0.8, "warn"), ("forces_spread", 5.0, "stop"),
                                                ("forces_spread", np.nan, "stop"), ("domain_distance", 0.9, "ok"), ("domain_distance", 1.5, "warn"),
                                                ("domain_distance", 4.0, "stop")])
def test_what_the_potential_doubts_is_named(name, value, level):
    start, watch = begun("uncertainty", atoms_of(ALANINE))
    values = np.full(13, 0.1)
    values[7] = value
    verdict = watch.look(replace(start, extras={name: values}))
    assert verdict.level == level and (level == "ok" or verdict.atoms == (7,))


@pytest.mark.parametrize("begun_at, now, level", [(1.9, 2.2, "ok"), (1.9, 2.5, "warn"), (1.9, 4.7, "warn"), (1.9, 4.8, "stop"), (0.5, 1.1, "warn"), (0.5, 2.1, "stop")])
def test_an_atom_that_begins_outside_the_training_set_is_judged_by_how_much_farther_it_goes(begun_at, now, level):
    """It was told of before the first step. Its own edge lies at 1.25 of its start, also after a restart at another moment; those of others stay where they are."""
    start, _ = begun("uncertainty", atoms_of(ALANINE))
    far = lambda value: replace(start, extras={"domain_distance": np.where(np.arange(13) == 7, value, 0.1)})
    guard = monitors.get("uncertainty")()
    watch, resumed = guard.begin(far(begun_at), np.zeros((0, 2), int)), guard.begin(far(now), np.zeros((0, 2), int))
    resumed.restore(watch.state())
    for one in (watch, resumed):
        assert one.look(far(now)).level == level
        assert one.look(replace(start, extras={"domain_distance": np.full(13, 2.1)})).level == "stop", "the others are known"


def test_the_doubts_of_a_calculator_reach_the_guard():
    from mdapp.dynamics import draw_momenta, ensembles
    from mdapp.simulation import ASEStepper, simulate
    from toys import Morse, methanol

    class Unsure(Morse):
        def calculate(self, *words, **options):
            super().calculate(*words, **options)
            self.results["forces_spread"] = np.full(6, 0.01 * self.calls)
            self.results["energy_spread"] = 0.5

    atoms = methanol()
    atoms.calc = Unsure(atoms)
    atoms.set_momenta(draw_momenta(atoms, 300.0, np.random.default_rng(1)))
    stepper = ASEStepper(atoms, ensembles.get("nve")(), 0.5, np.random.default_rng(1))
    watch = monitors.get("uncertainty")().begin(stepper.frame(), np.zeros((0, 2), int))
    outcome = simulate(stepper, 1000, [watch])
    assert outcome.reason == "guard" and outcome.verdicts[-1].monitor == "uncertainty" and outcome.last_sound.spread <= 3.0
    assert outcome.last_sound.extras["energy_spread"] == 0.5


# ---------------------------------------------------------------------------- memory and false alarms


@pytest.mark.parametrize("name, text", [("chirality", ALANINE), ("peptide-bond", NMA), ("ring", None)])
def test_memory_survives_a_restart(name, text):
    atoms = atoms_of(text) if text else molecule("C6H6")
    start, whole = begun(name, atoms)
    rng = np.random.default_rng(2)
    harmed = {"chirality": start.positions * [1, 1, -1], "peptide-bond": turned(start.positions, 1, 3, [4, 5, 9, 10, 11], 180) if name == "peptide-bond" else None,
              "ring": start.positions + 3.0 * np.eye(len(atoms))[0][:, None] * [0, 0, 1]}[name]  # fmt: skip
    rough = [replace(at(start, 10.0 * n), positions=(harmed if n > 30 else start.positions) + rng.normal(scale=0.02, size=start.positions.shape)) for n in range(120)]
    verdicts = [whole.look(f) for f in rough]
    assert any(v.level == "stop" for v in verdicts)
    first = begun(name, atoms)[1]
    for f in rough[:40]:
        first.look(f)
    second = monitors.get(name)().begin(rough[40], bonds_of(atoms))
    second.restore(first.state())
    for f, expected in zip(rough[40:], verdicts[40:]):
        assert (second.look(f).reason, second.guard) == (expected.reason, whole.guard)


def test_hot_atoms_of_a_sound_run_raise_no_alarm_and_the_limit_rises_with_the_looks():
    """Canonical momenta at random, 166 atoms: the chance of one alarm is below a thousandth."""
    from mdapp.observables import kinetic_energy, temperature_K

    atoms = molecule("C60") * 1
    start, watch = begun("temperature", atoms, target_K=300.0)
    rng = np.random.default_rng(5)
    sigma = np.sqrt(start.masses * 300.0 * 8.617333262e-5)[:, None]
    limits = []
    for n in range(6000):
        p = sigma * rng.normal(size=start.momenta.shape)
        K = kinetic_energy(p, start.masses)
        assert watch.look(replace(at(start, 5.0 * n), momenta=p, kinetic_energy=K, temperature_K=temperature_K(K, 174))).level == "ok"
        limits.append(watch._atom_limit(60))
    assert 13 * 300 < limits[0] < limits[-1] < 17 * 300
