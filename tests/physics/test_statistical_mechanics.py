"""Every ensemble that is installed against statistical mechanics, by scripts/validate_ensembles.py; the long ones are marked slow."""
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
import _ensemble_systems as systems  # noqa: E402
import validate_ensembles as validation  # noqa: E402
from mdapp.dynamics import ensembles  # noqa: E402

DIPEPTIDE = ROOT.parent / "shared" / "structures" / "alanine_dipeptide.xyz"
BATHS = [name for name in ensembles.names() if name != "nve"]
BAROSTATS = [name for name in BATHS if ensembles.get(name).needs_cell]


@pytest.fixture
def checked():
    pytest.importorskip("physical_validation", reason="physical_validation is not installed (extra `validation`)")


def failed(rows):
    return [f"{r.ensemble} {r.system} {r.test}: {r.figure:.3g} {r.unit}, limit {r.limit:g}" for r in rows if r.verdict != "pass"]


@pytest.mark.parametrize("system", [systems.argon(), systems.liquid(), systems.water()], ids=lambda s: s.name)
def test_forces_of_the_systems_are_minus_the_gradient(system):
    atoms, h = system.build(), 1e-5
    atoms.rattle(0.05, seed=1)
    forces = atoms.get_forces()
    for atom, axis in ((0, 0), (1, 1), (5, 2)):
        energies = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.calc = system.build().calc
            moved.positions[atom, axis] += sign * h
            energies.append(moved.get_potential_energy())
        assert forces[atom, axis] == pytest.approx(-(energies[0] - energies[1]) / (2 * h), abs=1e-6)


def test_a_figure_passes_only_within_its_limit():
    row = lambda figure: validation.Row("nve", "argon", "x", figure, "sigma", 4.0)  # noqa: E731
    assert [row(f).verdict for f in (0.0, -3.9, 4.1, -4.1, np.nan, np.inf)] == ["pass", "pass", "FAIL", "FAIL", "FAIL", "FAIL"]


def test_shares_of_what_moves_add_up():
    """3N-6 for a free molecule, whichever way it is counted."""
    atoms = systems.water().build()
    assert validation._internal_shares(atoms.positions, atoms.get_masses(), turns=True).sum() == pytest.approx(36 - 6)
    assert validation._internal_shares(atoms.positions, atoms.get_masses(), turns=False).sum() == pytest.approx(36 - 3)


@pytest.mark.filterwarnings("ignore")
def test_integrator_is_of_second_order_and_goes_back(checked):
    system = systems.argon()
    assert not failed(validation.integrator_rows(system, 0.05, validation.minimum(system)))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("system", [systems.argon(), systems.water()], ids=lambda s: s.name)
def test_energy_is_kept_for_long(system, checked):
    assert not failed(validation.integrator_rows(system, 1.0, validation.minimum(system)))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", BATHS)
def test_argon_obeys_boltzmann(name, checked):
    system = systems.argon()
    assert not failed(validation.thermostat_rows(name, system, 0.5, validation.minimum(system)))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", BAROSTATS)
def test_argon_under_a_mask_obeys_boltzmann(name, checked):
    system = systems.argon()
    assert not failed(validation.thermostat_rows(name, system, 0.5, validation.minimum(system), cell_mask="1,1,0"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", BATHS)
def test_a_liquid_obeys_boltzmann(name, checked):
    system = systems.liquid()
    assert not failed(validation.thermostat_rows(name, system, 0.5, validation.minimum(system)))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [name for name in BATHS if name not in BAROSTATS])
def test_water_obeys_boltzmann(name, checked):
    system = systems.water()
    assert not failed(validation.thermostat_rows(name, system, 0.5, validation.minimum(system)))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_wrong_count_of_degrees_of_freedom_is_found(checked, monkeypatch):
    """ASE's 3N for a free cluster that rests: the same rows must fail, or they prove nothing."""
    monkeypatch.setattr("mdapp.dynamics.nvt_csvr.degrees_of_freedom_of", lambda ensemble, atoms: 3 * len(atoms))
    system = systems.water()
    rows = validation.thermostat_rows("nvt-csvr", system, 0.2, validation.minimum(system))
    assert any("kinetic energy, mean" in word for word in failed(rows))


@pytest.mark.slow
@pytest.mark.skipif(not DIPEPTIDE.exists(), reason="needs ../shared/structures/alanine_dipeptide.xyz")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["nve", "nvt-langevin", "nvt-csvr"])
def test_a_peptide_with_the_shipped_potential_obeys_too(name, checked):
    system = systems.peptide(DIPEPTIDE)
    relaxed = validation.minimum(system)
    rows = validation.integrator_rows(system, 0.25, relaxed) if name == "nve" else validation.thermostat_rows(name, system, 1.0, relaxed)
    assert not failed(rows)


@pytest.mark.slow
def test_the_script_prints_its_table_and_writes_its_rows(checked, tmp_path, monkeypatch, capsys):
    import _bench

    monkeypatch.setattr(_bench, "RESULTS", tmp_path)
    assert validation.main(["--short", "--systems", "argon"]) in (0, 1)  # too short to prove anything
    said = capsys.readouterr().out
    lines = (tmp_path / "validate_ensembles.csv").read_text().splitlines()
    assert len(lines) > 30 and all(name in said for name in ensembles.names())


def test_the_table_holds_the_latest_of_each_and_asks_again_where_there_was_no_verdict(tmp_path, monkeypatch):
    import _bench
    import _ensemble_table as table

    monkeypatch.setattr(_bench, "RESULTS", tmp_path)
    where = dict.fromkeys(("date", "commit", "python", "ase", "numpy"), "x")
    row = lambda name, system, figure: table.Row(name, system, "t", figure, "sigma", 4.0)  # noqa: E731
    table.keep([row("nve", "argon", 1.0), row("nve", "argon", 2.0)], 0.5, where)
    table.keep([row("nve", "water", 1.0), row("nve", "water", np.nan)], 0.5, where)
    assert table.judged(0.5) == table.judged(0.3) == {("nve", "argon")} and not table.judged(1.0)
    table.keep([row("nve", "water", 3.0)], 1.0, where)
    assert [(r["system"], float(r["figure"])) for r in table.rows_there()] == [("argon", 1.0), ("argon", 2.0), ("water", 3.0)]
    assert table.judged(0.5) == {("nve", "argon"), ("nve", "water")} and table.judged(1.0) == {("nve", "water")}


def test_the_liquid_is_one():
    """After 10 ps no atom is where it was, and none of the order of the lattice that it was made from is left."""
    system = systems.liquid()
    stepper = validation.start("nvt-langevin", system, system.timestep_fs, system.temperatures_K[0], 1, validation.minimum(system))
    begin = stepper.atoms.positions.copy()
    for _ in range(2000):
        stepper.step()
    moved = stepper.atoms.positions - begin
    moved -= moved.mean(axis=0)
    assert np.sqrt((moved**2).sum(axis=1).mean()) > 3.0  # Å; in the crystal at 40 K it is 0.5


def test_an_unknown_system_is_refused(capsys):
    with pytest.raises(SystemExit) as told:
        validation.main(["--systems", "xenon"])
    assert told.value.code == 2 and "no system xenon; known: argon, liquid, water, dipeptide, peptide" in capsys.readouterr().err
