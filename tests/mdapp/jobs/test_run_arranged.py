"""Heavier hydrogens, tied bonds, frozen atoms, schedules and masks, asked for as a user does: said, done, refused, and resumed to the same bits."""
import json
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk, molecule

from mdapp.cli import main
from mdapp.config import ResumeConfig, RunConfig, ensemble_names
from mdapp.errors import RunFolderError, UserError
from mdapp.jobs.resume import resume
from mdapp.jobs.run import run
from mdapp.trajectory import load_checkpoint, read_events, read_frames

QUICK = {"temperature": 60.0, "every": 10, "seed": 3, "device": "cpu", "threads": 1, "guard": "off", "steps": 40}
MOLECULE = {"structure": "m.xyz", "potential": "ase:springs:Springs", "timestep": 1.0, "heavy_hydrogens": 3.0, "constrain_hydrogens": True}
BOX = {"structure": "box.extxyz", "potential": "ase:toys:Argon", "timestep": 4.0, "cell_mask": "1,1,0"}
METHODS = ensemble_names()


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    molecule("CH3OH").write("m.xyz")
    (bulk("Ar", "fcc", a=5.4, cubic=True) * (2, 2, 2)).write("box.extxyz")
    wet = molecule("CH3OH") + molecule("CH3OH")
    wet.positions[6:] += [5, 5, 5]
    wet.set_cell([10, 10, 10])
    wet.pbc = True
    wet.write("wet.extxyz")


def settings(method, **changes):
    family, _, part = method.partition("-")
    chosen = {"nvt": {"thermostat": part}, "npt": {"barostat": part}}.get(family, {})
    held = {} if family == "npt" else {"freeze": "O"}
    system = BOX if family == "npt" else MOLECULE
    if method == "npt-c-rescale":  # which moves molecules with their tied bonds, and knows no mask
        system = {**MOLECULE, "structure": "wet.extxyz", "barostat_time": 100.0}
    legs = {} if family == "nve" else {"anneal": "200K 20fs, 40K 10fs"}
    return RunConfig(**{**system, "ensemble": family, **chosen, **held, **legs, **QUICK, **changes})


class Cuts:
    """Asks for a stop after so many steps of a session, as a signal would."""

    def __init__(self, monkeypatch, steps):
        from mdapp.jobs._stopping import Stopping

        self.left = steps

        def asked(stopping):
            self.left -= 1
            if self.left < 0 and stopping.reason is None:
                stopping.reason = "a test"
            return stopping.reason is not None

        monkeypatch.setattr(Stopping, "__call__", asked)


def assert_same_run(a, b):
    first, second = list(read_frames(a)), list(read_frames(b))
    assert [f.step for f in first] == [f.step for f in second] == [0, 10, 20, 30, 40]
    for f, g in zip(first, second):
        for name in ("time_fs", "positions", "momenta", "masses", "forces", "cell", "potential_energy", "conserved_energy", "temperature_K"):
            assert np.array_equal(getattr(f, name), getattr(g, name)), f"{name} at step {f.step}"
    assert Path(a, "thermo.csv").read_bytes() == Path(b, "thermo.csv").read_bytes()
    x, y = (load_checkpoint(Path(p)).state["stepper"] for p in (a, b))
    assert x.keys() == y.keys() and all(np.array_equal(x[k], y[k]) for k in x)


@pytest.mark.parametrize("method", METHODS)
def test_a_run_with_everything_that_is_cut_twice_is_the_uninterrupted_one(method, monkeypatch):
    run(settings(method, output="a"))
    begun = settings(method, output="b")
    for part, cut in enumerate((17, 6, 10**9)):  # at 17, at 23, to the end
        with monkeypatch.context() as patch:
            patch.setattr("mdapp.jobs.run.refuse_to_begin", lambda *words: None)
            patch.setattr("mdapp.jobs.resume.refuse_to_go_on", lambda *words: None)
            Cuts(patch, cut)
            result = run(begun) if part == 0 else resume(ResumeConfig("b"))
        assert result.exit_code == (0 if part == 2 else 3)
    assert_same_run("a", "b")
    assert [e["kind"] for e in read_events(Path("b"))] == ["stop", "restart", "stop", "restart"] and not list(read_events(Path("a")))


def test_tied_bonds_are_as_long_as_after_the_relaxation_of_a_strained_start(monkeypatch):
    """The lengths come from the relaxed start, which a resumed run does not see: they travel in its state."""
    strained = molecule("CH3OH")
    strained.positions[3:] *= 1.12
    strained.write("m.xyz")
    monkeypatch.setattr("mdapp.jobs._start.STRAINED", 1.0)
    monkeypatch.setattr("mdapp.jobs._start.RELAXED", 0.5)
    begun = {"potential": "ase:springs:Methanol", "freeze": ()}
    assert "strained start" in run(settings("nve", output="a", steps=20, **begun)).summary["relaxation"]
    run(settings("nve", output="b", steps=10, **begun))
    resume(ResumeConfig("b", steps=20))
    lengths = [load_checkpoint(Path(p)).state["stepper"]["bond_lengths"] for p in "ab"]
    np.testing.assert_array_equal(*lengths)
    last = [list(read_frames(p))[-1].positions for p in "ab"]
    np.testing.assert_array_equal(*last)


@pytest.mark.parametrize("was, now", [
    ('anneal = ["200K 20fs, 40K 10fs"]', 'anneal = ["200K 30fs, 40K 10fs"]'), ("heavy_hydrogens = 3.0", "heavy_hydrogens = 2.0"),
    ("constrain_hydrogens = true", "constrain_hydrogens = false"), ('freeze = ["O"]', 'freeze = ["C"]'),
])
def test_a_changed_option_is_refused_at_resume(was, now):
    run(settings("nvt-langevin", output="a", steps=10))
    text = Path("a/run.toml").read_text()
    assert was in text
    Path("a/run.toml").write_text(text.replace(was, now))
    with pytest.raises(RunFolderError, match=f"{was.split(' ')[0]} was .* when the run began"):
        resume(ResumeConfig("a", steps=20))


def words(**options):
    return ["run", "m.xyz", "-p", "ase:springs:Springs", "--steps", "2", "--device", "cpu", "--seed", "1", "-o", "r",
            *(w for k, v in options.items() for w in (f"--{k.replace('_', '-')}", *([] if v is True else [str(v)])))]


def test_the_header_says_what_was_done_to_the_system(capsys):
    assert main(words(heavy_hydrogens=3, constrain_hydrogens=True, freeze="O,0", anneal="400K 1ps", thermostat="nhc", timestep=1)) == 0
    said = capsys.readouterr()
    text = said.out + said.err
    assert "4 hydrogens at 3 amu" in text and "amu in all, as before" in text and "2 of 6 atoms: C0 and O1" in text
    assert "4 bonds of hydrogens held" in text and "300 K, to 400 K in 1 ps" in text and "Nosé-Hoover chain" in text
    frames = list(read_frames("r"))
    np.testing.assert_array_equal(frames[0].masses[2:], 3.0)
    assert frames[0].masses.sum() == pytest.approx(molecule("CH3OH").get_masses().sum())
    assert np.array_equal(frames[-1].positions[:2], frames[0].positions[:2])
    assert "masses" not in Path("r/input.extxyz").read_text().splitlines()[1]  # the structure as it was read
    assert json.loads(Path("r/summary.json").read_text())["exit_code"] == 0


@pytest.mark.parametrize("options, said, code", [
    ({"freeze": "all"}, "freeze holds all 6 atoms", 2), ({"freeze": "9"}, "whose atoms are 0 to 5", 2), ({"freeze": "N"}, "holds no atom of 'N'", 2),
    ({"freeze": "2-5", "constrain_hydrogens": True, "ensemble": "npt"}, "cannot hold atoms", 2), ({"anneal": "300K 1ps", "ensemble": "nve"}, "no thermostat", 2),
    ({"heavy_hydrogens": 4.5}, "less than its hydrogens", 2), ({"ensemble": "npt", "cell_mask": "0,0,0"}, "holds the whole cell", 2),
    ({"ensemble": "npt", "cell_mask": "1,1,0"}, "the structure has no cell", 2),
    ({"ensemble": "npt", "barostat": "c-rescale", "flexible": True}, "npt-c-rescale scales the cell as a whole", 2),
    ({"ensemble": "npt", "barostat": "c-rescale", "cell_mask": "1,1,0"}, "npt-c-rescale scales the cell as a whole", 2),
    ({"ensemble": "npt", "barostat": "mtk", "constrain_hydrogens": True}, "barostat c-rescale", 2),
    ({"timestep": 2.5}, "too long", 2), ({"timestep": 4.5, "constrain_hydrogens": True}, "too long", 2),
])
def test_what_makes_no_sense_is_refused_and_leaves_nothing(options, said, code, capsys):
    assert main(words(**options)) == code
    told = capsys.readouterr().err
    assert said in told and "Traceback" not in told and len(told.strip().splitlines()) <= 3
    assert not Path("r").exists()


def test_longer_steps_are_taken_with_heavy_or_tied_hydrogens(capsys):
    """No warning about the step where the masses, or the ties, allow it."""
    for k, options in enumerate(({"timestep": 1.5, "heavy_hydrogens": 3}, {"timestep": 2, "constrain_hydrogens": True})):
        assert main(words(**{**options, "output": f"r{k}"})) == 0
        assert "A time step" not in "".join(capsys.readouterr())
    assert main(words(timestep=1.5, output="r9")) == 0
    assert "A time step of 1.5 fs is long" in "".join(capsys.readouterr())


def test_a_structure_without_hydrogens_has_none_to_change():
    molecule("CO2").write("m.xyz")
    for name, value in (("heavy_hydrogens", 3.0), ("constrain_hydrogens", True)):
        with pytest.raises(UserError, match=f"{name} is given, but no hydrogen"):
            run(RunConfig(structure="m.xyz", potential="lj", **{name: value}, **QUICK))
    assert not Path("runs").exists()


@pytest.mark.parametrize("asked, words", [
    ({"thermostat": "andersen", "friction": 3.0}, "NVT, Andersen collisions, 300 K, 3 collisions of an atom in a ps"),
    ({"ensemble": "npt", "barostat": "mtk", "flexible": True}, "NPT, Martyna-Tobias-Klein, 300 K, thermostat 100 fs, 1 bar, barostat 1000 fs, flexible cell"),
    ({"ensemble": "npt", "cell_mask": "1,1,0"}, "1 bar, barostat 1000 fs, cell vectors 1,1,0")])
def test_the_header_says_what_the_ensemble_does(asked, words):
    from mdapp.jobs._plugins import ensemble_of
    from mdapp.jobs._report import ensemble_words

    config = RunConfig(structure="x.xyz", potential="lj", **asked)
    assert ensemble_words(config, ensemble_of(config)).endswith(words)
