"""`mdapp analyse`: healthy and doctored runs, files of other programs, and folders that must not be touched."""
from __future__ import annotations

import csv
import json
from pathlib import Path

import mdtraj
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.cluster import Icosahedron
from ase.io import write

from mdapp.cli import main
from mdapp.config import AnalyseConfig
from mdapp.errors import OutputError, UserError
from mdapp.frame import Frame
from mdapp.jobs._sources import open_source
from mdapp.jobs.analyse import analyse
from mdapp.screen import Screen
from mdapp.topology import topology_of
from mdapp.trajectory import ThermoWriter, TrajectoryWriter, write_input

N = 400


def make_run(folder: Path, *, drift: float = 0.0, temperature: float = 300.0, break_at: int = N, summary: dict | None = None, n: int = N) -> Path:
    """A run folder of methanol: thermal noise around its shape, every 10 fs.

    `drift` in meV/atom/ps; from frame `break_at` on the hydroxyl hydrogen is gone.
    """
    folder.mkdir(parents=True)
    atoms, rng = molecule("CH3OH"), np.random.default_rng(1)
    write_input(folder / "input.extxyz", atoms)
    (folder / "run.toml").write_text('[run]\nstructure = "methanol.xyz"\nensemble = "nvt"\ntemperature = 300.0\n')
    (folder / "summary.json").write_text(json.dumps(summary or {"verdict": "sound", "exit_code": 0}))
    frames, table = TrajectoryWriter(folder, topology_of(atoms), "test"), ThermoWriter(folder)
    for k in range(n):
        positions = atoms.positions + 0.03 * rng.standard_normal((6, 3))
        if k >= break_at:
            positions[3] += [0.0, 0.0, 3.0]
        conserved = -5 + drift * 0.01 * k * 6 / 1000 + 1e-4 * rng.standard_normal()
        frame = Frame(step=20 * k, time_fs=10.0 * k, numbers=atoms.numbers, masses=atoms.get_masses(), positions=positions, momenta=np.zeros((6, 3)),
                      forces=np.ones((6, 3)), cell=np.zeros((3, 3)), pbc=np.zeros(3, dtype=bool), potential_energy=-6 + 0.01 * rng.standard_normal(),
                      kinetic_energy=0.2, temperature_K=temperature + 60 * rng.standard_normal(), conserved_energy=conserved)
        frames.write(frame)
        table.write(frame)
    frames.close()
    table.close()
    return folder


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_healthy_run_is_sound_and_its_numbers_are_right(here):
    found = analyse(AnalyseConfig(run=make_run(here / "run")))
    report = found.reports[0]
    assert found.exit_code == 0 and report.judgement.word == "sound" and report.judgement.checked == ("energy drift", "temperature", "bonds")
    s = json.loads((here / "run" / "report" / "summary.json").read_text())
    assert s == found.summary["runs"][0]
    assert abs(s["T_K"]["mean"] - 300) < 4 * s["T_K"]["error"] and s["T_K"]["error"] == pytest.approx(60 / np.sqrt(N), rel=0.4)
    assert s["E_pot_eV"]["mean"] == pytest.approx(-6, abs=0.003) and s["n_frames"] == N and s["target_temperature_K"] == 300
    assert s["rmsd_A"]["mean"] == pytest.approx(0.06, rel=0.3)  # 0.03 Å twice, 12 of 18 coordinates left by the superposition
    assert s["bonds"] == {"n_bonds": 5, "broken_frames": 0, "worst_A": pytest.approx(0.15, abs=0.1)}


@pytest.mark.parametrize("summary, n, word, reason", [
    ({}, N, "sound", ""), ({}, 30, "too short", "290 fs are too short to tell"),
    ({"start_warnings": ["S7 is outside what a.pt was trained on (2.4 times as far as the edge): forces are guesses. Take another."]}, N, "suspect", "S7 is outside what a.pt"),
    ({"start_warnings": ["The file states a total charge of +1 e; --charge 0 overrides it."]}, N, "sound", ""),
    ({"rewinds": [{"monitor": "temperature", "step": 3}]}, N, "suspect", "it was rewound 1 time (guard temperature)"),
    ({"start_warnings": "a word", "rewinds": [7]}, N, "sound", "")])  # fmt: skip
def test_a_report_doubts_what_the_run_doubted_of_itself(here, summary, n, word, reason):
    found = analyse(AnalyseConfig(run=make_run(here / "run", n=n, summary={"verdict": "sound", "exit_code": 0, **summary}), plots=False)).reports[0].judgement
    assert found.word == word and reason in found.sentence


@pytest.mark.parametrize("summary, word, shown", [({}, "suspect", " K (target 300 K)"), ({"midstep_excess_K": 26.0}, "sound", " K in the middle of the steps (target 300 K)"),
                                                  ({"midstep_excess_K": "much"}, "suspect", " K (target 300 K)")])  # fmt: skip
def test_a_temperature_is_judged_in_the_middle_of_the_steps_where_that_is_known(here, summary, word, shown):
    run = make_run(here / "run", temperature=274.0, summary={"verdict": "sound", "exit_code": 0, **summary})
    report = analyse(AnalyseConfig(run=run, plots=False)).reports[0]
    assert report.judgement.word == word and dict(report.rows)["T"].endswith(shown)


def test_every_figure_has_its_numbers_beside_it(here):
    analyse(AnalyseConfig(run=make_run(here / "run", n=30)))
    files = {f.name for f in (here / "run" / "report").iterdir()}
    figures = {"temperature", "energies", "conserved", "bonds", "rmsd", "gyration", "power_spectrum", "bond_statistics"}
    series = {"thermo", "bonds", "rmsd", "gyration", "power_spectrum", "bond_statistics"}
    assert files == {"report.html", "summary.json"} | {f"{n}.{k}" for n in figures for k in ("png", "svg")} | {f"{n}.csv" for n in series}
    ours = list(csv.DictReader((here / "run" / "report" / "thermo.csv").read_text().splitlines()))
    theirs = list(csv.DictReader((here / "run" / "thermo.csv").read_text().splitlines()))
    assert [float(row["T_K"]) for row in ours] == pytest.approx([float(row["T_K"]) for row in theirs])
    page = (here / "run" / "report" / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 8 and "<strong>too short</strong>" in page and "temperature = 300.0" in page


@pytest.mark.parametrize("doctored, word, reason", [
    (dict(drift=3.0), "suspect", "conserved energy drifts by +3"),
    (dict(drift=-30.0), "broken", "conserved energy drifts by -30"),
    (dict(temperature=350.0), "suspect", "off its target 300 K"),
    (dict(break_at=N // 2), "broken", "broken at the end (atoms 1 and 3 first)"),
    (dict(summary={"exit_code": 4, "why": "temperature at step 10: 4000 K."}), "broken", "a guard stopped the run: temperature at step 10"),
])
def test_a_doctored_run_is_found_out(here, doctored, word, reason):
    judgement = analyse(AnalyseConfig(run=make_run(here / "run", **doctored), plots=False)).reports[0].judgement
    assert judgement.word == word and reason in judgement.sentence and len(judgement.reasons) == 1


def test_alarms_that_did_not_stop_the_run_count(here):
    run = make_run(here / "run")
    event = {"kind": "guard", "step": 5, "time_fs": 2.5, "message": "far", "monitor": "extent"}
    (run / "events.jsonl").write_text((json.dumps(event) + "\n") * 2)
    judgement = analyse(AnalyseConfig(run=run, plots=False)).reports[0].judgement
    assert judgement.word == "suspect" and judgement.sentence == "guard extent warned 2 times."


def test_a_run_without_summary_is_said_to_go_on(here):
    run = make_run(here / "run", n=5)
    (run / "summary.json").unlink()
    assert any("still going on" in remark for remark in analyse(AnalyseConfig(run=run, plots=False)).reports[0].remarks)


def test_what_lies_before_the_start_is_left_out(here):
    report = analyse(AnalyseConfig(run=make_run(here / "run"), start="2ps", plots=False)).reports[0]
    assert report.measured.n_frames == 200 and report.thermo.time_ps[0] == 2.0
    with pytest.raises(UserError, match="no frames from"):
        analyse(AnalyseConfig(run=here / "run", start="2ns", plots=False))


def peptide(n: int) -> mdtraj.Trajectory:
    """Heavy atoms of capped alanine whose phi and psi go round, as MDTraj knows it."""
    topology = mdtraj.Topology()
    chain = topology.add_chain()
    for number, (name, atoms) in enumerate((("ACE", "CH3 C O"), ("ALA", "N CA CB C O"), ("NME", "N CH3")), 1):
        residue = topology.add_residue(name, chain, resSeq=number)
        for atom in atoms.split():
            topology.add_atom(atom, mdtraj.element.Element.getBySymbol(atom[0]), residue)
    flat = np.zeros((10, 3))
    for k, atom in enumerate((0, 1, 3, 4, 6, 8, 9)):
        flat[atom] = (1.25 * k, 0.7 * (k % 2), 0.0)
    flat[2], flat[7], flat[5] = flat[1] + (0, 1.2, 0), flat[6] - (0, 1.2, 0), flat[4] + (0, 0.6, 1.3)
    frames = []
    for k in range(n):
        atoms = Atoms("X10", flat)
        atoms.set_dihedral(1, 3, 4, 6, -70 + k, indices=[5, 6, 7, 8, 9])
        atoms.set_dihedral(3, 4, 6, 8, 140 - k, indices=[7, 8, 9])
        frames.append(atoms.positions / 10)
    return mdtraj.Trajectory(np.array(frames), topology, time=2.0 * np.arange(n))


def test_a_peptide_of_another_program_gets_its_ramachandran_map(here):
    trajectory = peptide(12)
    trajectory.save_xtc("peptide.xtc")
    trajectory[0].save_pdb("peptide.pdb")
    report = analyse(AnalyseConfig(run="peptide.xtc")).reports[0]
    assert report.folder == Path("peptide-report") and {"ramachandran.png", "ramachandran.csv", "rmsd.png"} < {f.name for f in report.folder.iterdir()}
    angles = report.measured.ramachandran
    assert angles.residues == ("ALA2",) and angles.time_ps == pytest.approx(2.0 * np.arange(12))
    assert angles.phi_deg[:, 0] == pytest.approx(-70 + np.arange(12), abs=0.5)  # xtc keeps 0.01 Å
    assert angles.psi_deg[:, 0] == pytest.approx(140 - np.arange(12), abs=0.5)
    assert report.measured.rmsd.selection == "backbone" and report.summary["backbone"]["beta and PPII"] == 1.0
    assert report.judgement.word == "sound" and any("no energies" in remark for remark in report.remarks)


def test_a_format_without_elements_asks_for_a_topology(here, capsys):
    peptide(3).save_xtc("lonely.xtc")
    peptide(3)[0].save_pdb("names.pdb")
    assert main(["analyse", "lonely.xtc"]) == 5 and "PDB" in capsys.readouterr().err
    assert main(["analyse", "lonely.xtc", "--topology", "names.pdb", "--no-plots", "-q"]) == 0


def test_argon_without_times_has_nothing_to_judge(here):
    argon = bulk("Ar", "fcc", a=5.3, cubic=True)
    write("argon.xyz", [argon] * 3)
    report = analyse(AnalyseConfig(run="argon.xyz")).reports[0]
    assert report.judgement.word == "not judged" and report.measured.rmsd is None and report.measured.bonds is None
    said = " ".join(report.remarks)
    for what in ("no times", "No peptide", "no covalent bonds", "no RMSD", "no energies"):
        assert what in said


def test_one_frame_is_enough_for_a_report(here, capsys):
    peptide(1).save_pdb("one.pdb")
    assert main(["analyse", "one.pdb", "--json"]) == 0
    said = capsys.readouterr()
    summary = json.loads(said.out)["runs"][0]
    assert summary["n_frames"] == 1 and summary["rmsd_A"]["error"] is None and any("one frame only" in remark for remark in summary["remarks"])
    assert "verdict" in summary and (here / "one-report" / "ramachandran.png").exists() and not (here / "one-report" / "rmsd.png").exists()


def test_a_wrapped_molecule_does_not_jump(here):
    ethanol = molecule("CH3CH2OH")
    ethanol.set_cell([8.0, 8, 8])
    ethanol.pbc = True
    frames = []
    for k in range(20):
        moved = ethanol.copy()
        moved.translate([0.7 * k, 0.3 * k, 0])
        moved.wrap()
        moved.info["time_fs"] = 10.0 * k
        frames.append(moved)
    write("wrapped.extxyz", frames)
    report = analyse(AnalyseConfig(run="wrapped.extxyz", plots=False)).reports[0]
    assert report.measured.rmsd.rmsd_A == pytest.approx(np.zeros(20), abs=1e-6) and report.measured.bonds.worst_A.max() < 1e-6


def test_a_second_report_takes_the_place_of_the_first(here):
    run = make_run(here / "run", n=20)
    for _ in range(2):
        analyse(AnalyseConfig(run=run, plots=False))
    assert sorted(f.name for f in run.iterdir() if "report" in f.name) == ["report"]


def test_a_folder_that_is_no_report_is_left_alone(here):
    run = make_run(here / "run", n=20)
    before = {f: f.read_bytes() for f in run.iterdir()}
    with pytest.raises(OutputError, match="not a report of ours"):
        analyse(AnalyseConfig(run=run, output=str(run)))
    assert {f: f.read_bytes() for f in run.iterdir()} == before


def test_several_runs_get_a_report_each(here):
    runs = [make_run(here / name / "run", n=20) for name in "ab"]
    found = analyse(AnalyseConfig(run=[str(run) for run in runs], output="out", plots=False))
    assert [report.folder for report in found.reports] == [Path("out/run"), Path("out/run-2")]
    assert all((report.folder / "report.html").exists() for report in found.reports)


@pytest.mark.parametrize("word", ["missing", "missing.xyz", "empty.xyz", "notes.txt", "."])
def test_what_cannot_be_read_is_refused_and_leaves_nothing(here, word, capsys):
    (here / "empty.xyz").touch()
    (here / "notes.txt").write_text("hello")
    before = sorted(here.iterdir())
    assert main(["analyse", word]) == 5
    said = capsys.readouterr().err
    assert "Traceback" not in said and 0 < len(said.strip().splitlines()) <= 3
    assert sorted(here.iterdir()) == before


def test_one_frame_is_no_evidence_of_sound_bonds(here):
    write("one.xyz", molecule("CH3OH"))
    assert analyse(AnalyseConfig(run="one.xyz", plots=False)).reports[0].judgement.word == "not judged"


def test_a_free_cluster_has_a_shape(here):
    cluster = bulk("Ar", "fcc", a=5.3, cubic=True) * (2, 2, 2)
    cluster.pbc = False
    write("cluster.xyz", [cluster, cluster])
    report = analyse(AnalyseConfig(run="cluster.xyz", plots=False)).reports[0]
    assert report.measured.rmsd.n_selected == 32 and report.measured.rmsd.rmsd_A == pytest.approx([0, 0], abs=1e-9)


def test_a_broken_run_says_from_which_step(here):
    run = make_run(here / "run", break_at=30, n=50)
    event = {"kind": "guard", "step": 600, "time_fs": 300.0, "message": "C0 and H2 <apart>", "monitor": "bond_graph"}
    (run / "events.jsonl").write_text(json.dumps(event) + "\n")
    (run / "event-guard-600.extxyz").write_text("")
    report = analyse(AnalyseConfig(run=run, plots=False)).reports[0]
    page = (report.folder / "report.html").read_text()
    assert "from step 600 (300 fs) on" in page and "first at step 600 (300 fs)" in page and report.summary["first_sign"] == {"step": 600, "time_fs": 300.0}
    assert "C0 and H2 &lt;apart&gt;" in page and "event-guard-600.extxyz" in page and 'data-frame="30"' in page  # all 50 frames are shown


def test_a_molecule_that_fell_apart_is_said_to_be_fragments(here):
    report = analyse(AnalyseConfig(run=make_run(here / "run", break_at=10, n=50), plots=False)).reports[0]
    assert any("broken in 40 of 50 frames" in remark and "fragments" in remark for remark in report.remarks)


def test_a_sound_run_has_no_first_sign(here):
    assert analyse(AnalyseConfig(run=make_run(here / "run", n=20), plots=False)).summary["runs"][0]["first_sign"] is None


def test_what_comes_before_the_damage_is_measured(here):
    atoms, frames = molecule("CH3OH"), []
    for k in range(6):
        atoms.info["time_fs"] = 10.0 * k
        frames.append(atoms.copy())
    write("cut.extxyz", frames)
    text = (here / "cut.extxyz").read_text()
    (here / "cut.extxyz").write_text(text[: int(0.9 * len(text))])
    write("other.extxyz", [*frames[:4], molecule("H2O")])
    for word, n in (("cut.extxyz", 5), ("other.extxyz", 4)):
        report = analyse(AnalyseConfig(run=word, plots=False)).reports[0]
        assert report.measured.n_frames == n and "ended before the end" in report.remarks[0]


def test_replicas_are_shown_side_by_side_and_pooled(here):
    for k, temperature in enumerate((270.0, 330.0)):
        make_run(here / "many" / f"r00{k}", temperature=temperature, n=200)
    found = analyse(AnalyseConfig(run="many", plots=False))
    assert [report.folder for report in found.reports] == [Path("many/r000/report"), Path("many/r001/report")]
    pooled = found.summary["pooled"]["pooled"]["T_K"]
    assert pooled["mean"] == pytest.approx(300, abs=6) and pooled["error"] > 6  # the spread of the two, not the 3 K of each
    page = (here / "many" / "report" / "report.html").read_text()
    assert "Side by side" in page and "r001" in page and "disagree about T" in page


def test_runs_of_different_atoms_are_not_pooled(here):
    write("water.xyz", [molecule("H2O")] * 2)
    write("methanol.xyz", [molecule("CH3OH")] * 2)
    found = analyse(AnalyseConfig(run=["water.xyz", "methanol.xyz"], output="out", plots=False))
    assert found.summary["pooled"]["pooled"] == {} and "not pooled" in (here / "out" / "pooled" / "report.html").read_text()


def test_a_run_that_is_named_twice_is_read_once(here, capsys):
    run = make_run(here / "run", n=30)
    found = analyse(AnalyseConfig(run=(str(run), str(run / "trajectory.h5"), "run"), plots=False), Screen())
    assert len(found.reports) == 1 and capsys.readouterr().out.count("is named twice, and read once") == 2


def test_the_last_frame_of_a_run_that_was_lengthened_is_not_among_even_ones(here):
    """A run that ends between two frames writes its last step; one that is then made longer is analysed as if it had never ended."""
    write("ar.xyz", Icosahedron("Ar", 2, latticeconstant=5.4))
    common = ["run", "ar.xyz", "--potential", "lj", "--ensemble", "nve", "--temperature", "20", "--timestep", "4", "--every", "10", "--seed", "3", "--output"]
    assert main([*common, "whole", "--steps", "120"]) == 0
    assert main([*common, "part", "--steps", "45"]) == 0 and [f.step for f in open_source("part").frames()] == [0, 10, 20, 30, 40, 45]
    assert main(["resume", "part", "--steps", "120"]) == 0
    whole, part = (list(open_source(name).frames()) for name in ("whole", "part"))
    assert [f.step for f in part] == [f.step for f in whole] == list(range(0, 130, 10))
    assert all((a.positions == b.positions).all() for a, b in zip(whole, part, strict=True))
