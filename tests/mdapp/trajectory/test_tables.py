"""thermo.csv, events.jsonl, snapshots: whole lines, no line twice, nothing that is no number."""
from __future__ import annotations

import json

import numpy as np
import pytest
from ase.build import molecule
from ase.io import read
from runs import ethanol, frame

from mdapp.errors import OutputError, RunFolderError
from mdapp.structure import read_structure
from mdapp.trajectory.events import standing
from mdapp.trajectory import EventLog, ThermoWriter, load_series, read_events, read_frames, save_event_frames, write_frames, write_input
from mdapp.trajectory.thermo import COLUMNS, read_thermo


def table(folder, steps, **options):
    writer = ThermoWriter(folder, **options)
    for step in steps:
        writer(frame(ethanol(), step, full=True))
    writer.close()


def test_the_table_has_the_promised_columns_and_numbers(tmp_path):
    table(tmp_path, (0, 10))
    series = load_series(tmp_path / "thermo.csv")
    assert list(series.columns) == list(COLUMNS) and series.step.tolist() == [0, 10]
    f = frame(ethanol(), 10, full=True)
    expected = {
        "time_fs": 5.0, "T_K": f.temperature_K, "E_pot_eV": f.potential_energy, "E_kin_eV": f.kinetic_energy, "conserved_eV": f.conserved_energy,
        "P_bar": f.pressure * 1.602176634e6, "fmax_eV_A": np.linalg.norm(f.forces, axis=1).max(), "spread_eV_A": f.spread,
    }  # fmt: skip
    for name, value in expected.items():
        assert series[name][1] == pytest.approx(value, rel=2e-8, abs=1e-4 if name == "T_K" else 1e-6), name  # ASE's units are CODATA 2014


def test_unknown_values_stay_empty(tmp_path):
    writer = ThermoWriter(tmp_path)
    writer(frame(ethanol(), 0))
    writer.close()
    line = (tmp_path / "thermo.csv").read_text().splitlines()[1].split(",")
    assert line[6] == "" and line[8] == "" and np.isnan(load_series(tmp_path / "thermo.csv")["P_bar"][0])


def test_resuming_cuts_later_and_partial_lines(tmp_path):
    table(tmp_path, range(0, 60, 10))
    whole = (tmp_path / "thermo.csv").read_bytes()
    for cut in range(len(whole) - 150, len(whole), 7):
        (tmp_path / "thermo.csv").write_bytes(whole[:cut])
        table(tmp_path, range(0, 60, 10), resume_at=20)
        assert (tmp_path / "thermo.csv").read_bytes() == whole


def test_a_table_is_never_overwritten_and_damage_is_told(tmp_path):
    table(tmp_path, range(5))
    with pytest.raises(OutputError, match="exists already"):
        ThermoWriter(tmp_path)
    text = (tmp_path / "thermo.csv").read_text()
    for damaged in (text.replace("step,", "stop,"), text.replace("\n2,", "\n7,"), text.replace("\n2,", "\nx,"), text[:150] + "\0\0\n" + text[150:]):
        (tmp_path / "thermo.csv").write_text(damaged)
        with pytest.raises(RunFolderError, match="thermo.csv"):
            ThermoWriter(tmp_path, resume_at=3)
        assert (tmp_path / "thermo.csv").read_text() == damaged
    (tmp_path / "thermo.csv").unlink()
    table(tmp_path, range(3), resume_at=1)
    assert read_thermo(tmp_path / "thermo.csv")["step"].tolist() == [0, 1, 2]


def test_events_are_json_lines_without_nan(tmp_path):
    log = EventLog(tmp_path)
    assert read_events(tmp_path) == [] and list(tmp_path.iterdir()) == []
    log.write("guard", 10, 5.0, "Zu heiß: 900 K", atoms=np.array([1, 2]), value=np.float64(np.inf), nested={"a": np.nan})
    with open(tmp_path / "events.jsonl", "a") as file:
        file.write('{"kind": "gua')  # killed while writing
    log.write("restart", 20, 10.0, "on")
    events = read_events(tmp_path)
    assert [e["kind"] for e in events] == ["guard", "restart"]
    assert events[0]["atoms"] == [1, 2] and events[0]["value"] is None and events[0]["nested"] == {"a": None} and "heiß" in events[0]["message"]
    for line in (tmp_path / "events.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=lambda name: pytest.fail(name))


def test_frames_of_an_event_are_kept_under_a_plain_name(tmp_path):
    frames = [frame(ethanol(), step) for step in range(3)]
    path = save_event_frames(tmp_path, "../Energy Drift!", 2, frames)
    assert path == tmp_path / "event-energy-drift-2.extxyz"
    assert [f.step for f in read_frames(path)] == [0, 1, 2]
    assert save_event_frames(tmp_path, "../Energy Drift!", 2, frames) == tmp_path / "event-energy-drift-2-2.extxyz"
    assert save_event_frames(tmp_path, "x", 1, []) is None


def test_what_was_said_of_steps_that_are_made_again_no_longer_stands(tmp_path):
    log = EventLog(tmp_path)
    for kind, step, more in (("warning", 10, {}), ("warning", 50, {}), ("guard", 60, {}), ("rewind", 60, {"to_step": 20}), ("warning", 30, {}),
                             ("warning", 80, {}), ("stop", 90, {}), ("restart", 70, {})):  # fmt: skip
        log.write(kind, step, step / 2, "said", **more)
    assert [(e["kind"], e["step"]) for e in standing(read_events(tmp_path))] == [("warning", 10), ("rewind", 60), ("warning", 30), ("restart", 70)]


def test_snapshots_hold_velocities_forces_and_names(tmp_path):
    atoms = ethanol(periodic=True)
    atoms.info["charge"] = -1
    atoms.info["notes"] = ["a note"]
    atoms.set_array("residuenames", np.array(["ETH"] * 9))
    f = frame(atoms, 7, full=True)
    write_frames(tmp_path / "final.extxyz", [f], like=atoms)
    found = read(tmp_path / "final.extxyz")
    assert np.allclose(found.get_forces(), f.forces, atol=1e-7) and np.allclose(found.get_momenta(), f.momenta, atol=1e-7)
    assert np.allclose(found.get_stress(), f.stress) and found.get_potential_energy() == pytest.approx(f.potential_energy)
    assert np.allclose(found.cell, f.cell) and found.pbc.all() and found.info["charge"] == -1 and "notes" not in found.info
    again = next(iter(read_frames(tmp_path / "final.extxyz")))
    assert again.step == 7 and np.allclose(again.momenta, f.momenta, atol=1e-7)
    write_input(tmp_path / "input.extxyz", atoms)
    back = read_structure(tmp_path / "input.extxyz")
    assert np.allclose(back.positions, atoms.positions, atol=1e-8) and back.info["charge"] == -1 and back.arrays["residuenames"][0] == "ETH"


def test_a_snapshot_that_cannot_be_written_leaves_nothing(tmp_path):
    with pytest.raises(OutputError, match="cannot be written"):
        write_input(tmp_path / "gone" / "input.extxyz", molecule("H2O"))
    assert list(tmp_path.iterdir()) == []
