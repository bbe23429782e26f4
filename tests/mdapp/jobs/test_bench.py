import json
from pathlib import Path

import pytest
from ase.build import bulk
from ase.io import write

from mdapp.cli import main
from mdapp.config.bench import BenchConfig
from mdapp.jobs.bench import bench


@pytest.fixture(autouse=True)
def crystal(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write("ar.xyz", bulk("Ar", "fcc", a=5.3, cubic=True).repeat(2))


def measured(**changes):
    return bench(BenchConfig(structure="ar.xyz", potential="lj", temperature=20, timestep=4, seconds=0.05, **changes)).summary


def test_parts_add_up_to_the_step_and_nothing_is_kept():
    summary = measured(copies=4)
    plain = summary["ways"]["plain"]
    parts = [plain[f"{name}_ms"] for name in ("neighbours", "potential", "conversion", "integrator", "guards_and_recorder")]
    assert all(ms > 0 for ms in parts)
    assert sum(parts) == pytest.approx(plain["ms_per_step"], rel=0.3)  # medians of each part against the median of their sums
    assert plain["ns_per_day"] == pytest.approx(86400 * 4e-6 / (plain["ms_per_step"] * 1e-3))
    (four,) = summary["copies"]
    alone_ms = sum(plain[f"{name}_ms"] for name in ("neighbours", "potential", "conversion"))
    assert four["copies"] == 4 and four["gain"] == pytest.approx(4 * alone_ms / four["ms"], rel=0.3)
    assert [p.name for p in Path().iterdir()] == ["ar.xyz"]


def test_clocks_change_no_step(tmp_path):
    from mdapp.jobs._parts import Parts
    from mdapp.jobs._start import first_moment, prepare
    from mdapp.screen import silent

    def positions(clocked):
        start = prepare(BenchConfig(structure="ar.xyz", potential="lj", temperature=20, timestep=4, seed=1), silent())
        stepper, watches = first_moment(start)
        if clocked:
            parts = Parts(stepper, watches, start.atoms, 10)
            parts.block(20)
            parts.release()
            assert "calculate" not in vars(start.atoms.calc)
        for _ in range(20 if not clocked else 0):
            stepper.step()
        return start.atoms.positions

    assert (positions(True) == positions(False)).all()


def test_a_calculator_of_others_is_one_part_and_has_no_batches(capsys):
    assert main(["bench", "ar.xyz", "-p", "ase:ase.calculators.lj:LennardJones", "--guard", "off", "--temperature", "20", "--seconds", "0.02", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert "neighbours_ms" not in summary["ways"]["plain"] and summary["copies"] == []
    assert main(["bench", "ar.xyz", "-p", "ase:ase.calculators.lj:LennardJones", "--guard", "off", "--temperature", "20", "--seconds", "0.02"]) == 0
    assert "property object" not in capsys.readouterr().out


@pytest.mark.parametrize("words, claim", [(["--seconds", "0"], "seconds must be > 0"), (["--copies", "-1"], "copies must be >= 0"), (["--replicas", "2"], "one system is measured"),
                                          (["--ensemble", "npt", "--thermostat", "csvr"], "does not fit")])
def test_what_cannot_be_measured_is_refused(capsys, words, claim):
    assert main(["bench", "ar.xyz", "-p", "lj", *words]) == 2
    assert claim in capsys.readouterr().err
