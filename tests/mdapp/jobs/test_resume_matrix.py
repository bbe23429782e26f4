"""Resumed to the same bits with committees and with compiled code too, in a cell and in every ensemble; and while a run is going back."""
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.cluster import Icosahedron

from mdapp.config import ResumeConfig, RunConfig, ensemble_names
from mdapp.jobs import _rewind
from mdapp.jobs.resume import resume
from mdapp.jobs.run import run
from mdapp.trajectory import load_checkpoint, read_events, read_frames
from potentials.architectures.lennard_jones import Config, LennardJones
from potentials.checkpoint import save_potential

METHODS = ensemble_names()
STEPS = 44
SHOWN = ("time_fs", "positions", "momenta", "forces", "cell", "potential_energy", "conserved_energy", "temperature_K")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Icosahedron("Ar", 2, latticeconstant=5.4).write("ar.xyz")
    (bulk("Ar", "fcc", a=5.5, cubic=True) * (2, 2, 2)).write("box.extxyz")
    for k in range(2):
        save_potential(f"member-{k}.pt", LennardJones(Config(sigma=3.4 + 0.01 * k, cutoff=5.0, switch_on=4.0)))


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Compiled code, for all tests of this file."""
    return tmp_path_factory.mktemp("code")


def settings(method, output, **changes):
    family, _, part = method.partition("-")
    chosen = {"nvt": {"thermostat": part}, "npt": {"barostat": part}}.get(family, {})
    always = {"structure": "box.extxyz", "temperature": 30.0, "timestep": 4.0, "every": 10, "seed": 3, "device": "cpu", "threads": 1, "steps": STEPS}
    return RunConfig(**{**always, "ensemble": family, **chosen, "output": output, **changes})


def cut_at(monkeypatch, *cuts):
    """The session asks for a stop when it comes to one of these steps."""
    from mdapp.jobs import _session

    plain, left = _session.simulate, list(cuts)

    def simulate(stepper, steps, *words, **options):
        asked = options["should_stop"]

        def stops():
            if left and stepper.step_number == left[0]:
                left.pop(0)
                asked.reason = "the test"
            return asked()

        return plain(stepper, steps, *words, **{**options, "should_stop": stops})

    monkeypatch.setattr(_session, "simulate", simulate)


def assert_same_however_cut(config, monkeypatch, *cuts):
    """Runs it whole into `a` and in parts into `b`, and compares all that is kept."""
    whole = run(replace(config, output="a"))
    with monkeypatch.context() as patch:
        cut_at(patch, *cuts)
        result = run(replace(config, output="b"))
        assert result.exit_code == 3
        while result.exit_code == 3:
            result = resume(ResumeConfig("b"))
    assert result.exit_code == whole.exit_code
    first, second = list(read_frames("a")), list(read_frames("b"))
    assert [f.step for f in first] == [f.step for f in second]
    for f, g in zip(first, second):
        for name in SHOWN:
            assert np.array_equal(getattr(f, name), getattr(g, name)), f"{name} at step {f.step}"
    assert Path("a/thermo.csv").read_bytes() == Path("b/thermo.csv").read_bytes()
    x, y = (load_checkpoint(Path(p)).state for p in "ab")
    assert x["stepper"].keys() == y["stepper"].keys()
    for key in x["stepper"]:
        assert np.array_equal(x["stepper"][key], y["stepper"][key]), key
    told = [[(e["kind"], e["step"], e["message"]) for e in read_events(Path(p)) if e["kind"] in ("guard", "warning", "rewind")] for p in "ab"]
    assert told[0] == told[1]
    return whole


@pytest.mark.parametrize("method", ["nve", "nvt-langevin", "npt-c-rescale"])
def test_a_committee(method, monkeypatch):
    """Its spread is in the table and watched by a guard that speaks."""
    config = settings(method, "a", potential=("member-*.pt",), guard=("on", "uncertainty:warn_spread_eV_per_A=1e-5"))
    assert_same_however_cut(config, monkeypatch, 17, 18, 30)
    assert any(e["kind"] == "warning" and "committee" in e["message"] for e in read_events(Path("b")))


@pytest.mark.parametrize("method", ["nvt-langevin", *(pytest.param(name, marks=pytest.mark.slow) for name in ("nve", "npt-mtk", "npt-c-rescale"))])
def test_compiled_code_in_a_cell(method, kept, monkeypatch):
    """The compiled function with a stress and the one without may differ in a last bit: whole and cut runs ask for the same one."""
    from potentials.runtime import code_cache

    monkeypatch.setattr(code_cache, "folder", lambda: kept)
    assert_same_however_cut(settings(method, "a", potential="member-0.pt", compile=True), monkeypatch, 17, 30)
    assert len(list(kept.glob("*.pt2"))) == 1, "compiled once, for runs and resumes of all ensembles"


@pytest.mark.parametrize("method", [m for m in METHODS if not m.startswith("npt")])
def test_a_run_that_goes_back(method, monkeypatch):
    """Hotter than it can bear; cut before the first alarm, on the way again in smaller steps, and again. It may find no way out: then both end alike."""
    for name, steps in (("MARK_EVERY", 20), ("MARGIN", 5), ("SETTLED", 80)):
        monkeypatch.setattr(_rewind, name, steps)
    monkeypatch.setattr("mdapp.jobs._session.MARK_EVERY", 20)
    config = settings(method, "a", structure="ar.xyz", potential="ase:jobs.strangers:Holed", temperature=100.0, on_event="rewind", rewinds=5, steps=150, friction=5.0)
    whole = assert_same_however_cut(config, monkeypatch, 3, 15, 21, 22, 60)
    assert whole.summary["rewinds"], "nothing happened that it could go back from"
    assert any(e["kind"] == "restart" and e["step"] == 22 for e in read_events(Path("b")))
