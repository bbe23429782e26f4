"""Each guard in a run that gives it reason: it warns first, then stops, and names the atoms; what is written tells when, why and where."""
import json
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.io import read

from mdapp.cli import main
from mdapp.monitors import monitors
from mdapp.trajectory import read_events, read_frames


def methanes() -> Atoms:
    """Two of them, 5 Å apart."""
    two = molecule("CH4") + molecule("CH4")
    two.positions[5:] += (5.0, 0.0, 0.0)
    return two


def acid_and_water() -> Atoms:
    """Formic acid; its OH (atom 3 on 0) points to the oxygen (5) of a water."""
    acid, water = molecule("HCOOH"), molecule("H2O")
    along = (acid.positions[3] - acid.positions[0]) / acid.get_distance(0, 3)
    water.positions += acid.positions[0] + 2.75 * along - water.positions[0]
    if (water.positions[1:].mean(0) - water.positions[0]) @ along < 0:
        water.positions[1:] = 2 * water.positions[0] - water.positions[1:]
    return acid + water


def acetamide() -> Atoms:
    """trans-N-methylacetamide: 0 to 3 CH3, 4 C, 5 O, 6 N, 7 H, 8 CH3 with 9 to 11."""
    return Atoms("CH3CONHCH3", [
        [-1.93, 0.32, 0.0], [-2.05, 0.95, 0.88], [-2.05, 0.95, -0.88], [-2.70, -0.45, 0.0], [-0.55, -0.30, 0.0], [-0.42, -1.52, 0.0],
        [0.50, 0.55, 0.0], [0.35, 1.55, 0.0], [1.85, 0.05, 0.0], [2.03, -0.56, 0.88], [2.03, -0.56, -0.88], [2.55, 0.89, 0.0]])  # fmt: skip


def chiral() -> Atoms:
    """CHFClBr."""
    t = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / 3**0.5
    return Atoms("CHFClBr", np.vstack([[0, 0, 0], t * np.array([[1.09], [1.36], [1.77], [1.94]])]))


STARTS = {"methanol": lambda: molecule("CH3OH"), "methanes": methanes, "acid": acid_and_water, "acetamide": acetamide, "benzene": lambda: molecule("C6H6"), "chiral": chiral}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def go(start: str, provoker: str, guard: str, *more: str, steps: int = 1500) -> int:
    STARTS[start]().write(f"{start}.xyz")
    return main(["run", f"{start}.xyz", "-p", f"ase:jobs.provokers:{provoker}", "--guard", guard, "--steps", str(steps), "--temperature", "30", "--friction", "20",
                 "--no-relax-start", "--seed", "1", "--device", "cpu", "--threads", "1", "-q", "-o", "o", *more])  # fmt: skip


CASES = [
    ("methanol", "Breaks", "bond-graph", {0, 1}, "bond C0 and O1 is broken"),
    ("methanes", "Collides", "closest-contact", {0, 5}, "of the sum of their covalent radii"),
    ("chiral", "Inverts", "chirality", {0}, "stereocentre C0 has turned over"),
    ("acetamide", "Turns", "peptide-bond:warn_fs=10,stop_fs=60", {4, 6}, "has gone from trans to cis"),
    ("benzene", "Buckles", "ring", set(range(6)), "no longer flat"),
    ("methanes", "Evaporates", "extent", {5, 6, 7, 8, 9}, "away from all others"),
    ("methanol", "Heats", "temperature:target_K=30,average_fs=12,warn_deviations=2,start_factor=4,stop_factor=4,atom_stop_factor=200", set(), "temperature of"),
    ("methanol", "Kicks", "temperature:target_K=30,stop_factor=60,start_factor=60,atom_stop_factor=40", {2}, "H2 alone has a kinetic temperature"),
    ("methanol", "Pulls", "largest-force", {0, 2}, "eV/Å on"),
    ("methanol", "Drifts", "energy-drift:window_fs=100", set(), "meV/atom/ps"),
    ("methanol", "Jumps", "energy-drift", set(), "jumped by"),
    ("methanol", "Disagrees", "uncertainty", {2}, "committee disagrees"),
    ("methanol", "Strays", "uncertainty", {3}, "outside the training set"),
    ("methanol", "Extrapolates", "extrapolation", {1}, "outside the training data"),
]


@pytest.mark.parametrize("start, provoker, guard, atoms, said", CASES, ids=[case[1] for case in CASES])
def test_a_guard_warns_then_stops_and_names_the_atoms(start, provoker, guard, atoms, said):
    name = guard.partition(":")[0]
    alone = [word for other in monitors.names() if other != name for word in ("--guard", f"no-{other}")]
    assert go(start, provoker, guard, *alone) == 4
    summary, events = json.loads(Path("o/summary.json").read_text()), read_events(Path("o"))
    failure = summary["failure"]
    assert (failure["monitor"], summary["verdict"], summary["exit_code"]) == (name, "stopped", 4)
    assert failure["time_ps"] == pytest.approx(failure["step"] * 0.5e-3) and failure["step"] > 10 and failure["limit"] is not None
    assert said in failure["reason"]
    found = {a["index"] for a in failure["atoms"]}
    assert found <= atoms | _partners(start, atoms) and (not atoms or found & atoms), failure["atoms"]
    kinds = [e["kind"] for e in events if e["monitor"] == name]
    assert kinds[0] == "warning" and kinds[-1] == "guard", kinds
    assert events[0]["step"] < failure["step"] == events[-1]["step"]
    (record,) = Path("o").glob(f"event-{name}-{failure['step']}.extxyz")
    steps = [a.info["step"] for a in read(record, ":", format="extxyz")]
    assert steps == list(range(steps[0], failure["step"] + 1)) and len(steps) == min(300, failure["step"] + 1)
    assert all(f.step <= failure["step"] for f in read_frames(Path("o")))


def _partners(start, atoms):
    """Those that hang on the atoms."""
    from mdapp.topology import find_bonds

    made = STARTS[start]()
    return {int(k) for pair in find_bonds(made.numbers, made.positions, made.cell.array, made.pbc) if set(pair) & atoms for k in pair}


def test_a_new_bond_is_warned_of_and_ends_nothing():
    assert go("methanes", "Forms", "bond-graph", steps=400) == 0
    (event,) = read_events(Path("o"))
    assert (event["kind"], sorted(event["atoms"])) == ("warning", [0, 5]) and "new bond: C0" in event["message"]
    assert json.loads(Path("o/summary.json").read_text())["verdict"] == "suspect" and list(Path("o").glob("event-bond-graph-*.extxyz"))


def test_a_proton_that_hops_is_told_from_a_bond_that_breaks():
    assert go("acid", "Hops", "bond-graph", steps=400) == 0
    said = [e["message"] for e in read_events(Path("o"))]
    assert any("proton hop: H3 has gone from O0 to O5" in message for message in said) and not any("broken" in message for message in said), said


def test_no_number_stops_at_once_whatever_guards_are_on():
    assert go("methanol", "NotANumber", "off", steps=400) == 4
    failure = json.loads(Path("o/summary.json").read_text())["failure"]
    assert failure["monitor"] == "finite" and [a["index"] for a in failure["atoms"]] == [4] and 50 <= failure["step"] <= 60


def test_warn_tells_of_both_levels_and_goes_on():
    assert go("methanol", "Disagrees", "uncertainty", "--on-event", "warn", steps=300) == 0
    assert [e["kind"] for e in read_events(Path("o"))] == ["warning", "guard"]
    assert json.loads(Path("o/summary.json").read_text())["verdict"] == "suspect"


def test_a_calm_run_of_each_start_raises_no_alarm():
    for start in STARTS:
        STARTS[start]().write(f"{start}.xyz")
        assert main(["run", f"{start}.xyz", "-p", "ase:jobs.provokers:Led", "--steps", "300", "--temperature", "30", "--friction", "20", "--no-relax-start", "--seed", "1",
                     "--device", "cpu", "--threads", "1", "-q", "-o", f"calm-{start}"]) == 0  # fmt: skip
        assert read_events(Path(f"calm-{start}")) == [], start


def test_a_guard_that_refuses_the_first_frame_leaves_a_verdict_and_no_traceback(capsys):
    molecule("CH3OH").write("methanol.xyz")
    code = main(["run", "methanol.xyz", "-p", "ase:ase.calculators.emt:EMT", "--guard", "largest-force:warn_eV_per_A=1e-9,stop_eV_per_A=2e-9", "--no-relax-start", "--steps", "10",
                 "--device", "cpu", "--threads", "1", "-q", "-o", "o"])  # fmt: skip
    assert code == 4 and "internal error" not in capsys.readouterr().err
    summary = json.loads(Path("o/summary.json").read_text())
    assert summary["steps"] == 0 and summary["verdict"] == "stopped" and "largest-force" in summary["why"]
