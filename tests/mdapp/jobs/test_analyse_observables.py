"""What a report shows of a peptide, a liquid and a reference, and that Python gives the same numbers."""
from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from ase.build import molecule
from ase.io import read, write

from mdapp.analysis.bond_statistics import bond_statistics
from mdapp.analysis.chunks import chunks_of
from mdapp.analysis.clusters import clusters
from mdapp.analysis.contacts import contact_map
from mdapp.analysis.density import density
from mdapp.analysis.diffusion import diffusion
from mdapp.analysis.hydrogen_bonds import hydrogen_bonds
from mdapp.analysis.infrared import infrared
from mdapp.analysis.power_spectrum import power_spectrum
from mdapp.analysis.rdf import rdf
from mdapp.analysis.rmsf import rmsf
from mdapp.analysis.secondary_structure import secondary_structure
from mdapp.analysis.shape import end_to_end, rmsd_series
from mdapp.analysis.statistics import mean_with_error
from mdapp.analysis.structure_factor import structure_factor
from mdapp.analysis.torsions import all_torsions, torsion_series
from mdapp.analysis.velocity_autocorrelation import velocity_autocorrelation
from mdapp.cli import main
from mdapp.config import AnalyseConfig
from mdapp.jobs.analyse import analyse
from mdapp.trajectory import load_series, read_frames

from .recorded import PEPTIDE, record, water_box

PEPTIDES = {
    "bond_statistics": bond_statistics, "rmsf": rmsf, "end_to_end": end_to_end, "clusters": lambda f: clusters(f, 1.0), "omega": lambda f: torsion_series(f, ("omega",)),
    "chi": lambda f: torsion_series(f, tuple(f"chi{k}" for k in range(1, 6))), "hydrogen_bonds": hydrogen_bonds, "secondary_structure": secondary_structure,
    "contacts": contact_map, "power_spectrum": power_spectrum, "velocity_autocorrelation": velocity_autocorrelation, "infrared": lambda f: infrared(f, 300.0),
}  # fmt: skip
LIQUIDS = {
    "bond_statistics": bond_statistics, "rdf_O_O": lambda f: rdf(f, ("O", "O"), intermolecular=True), "rdf_O_H": lambda f: rdf(f, ("O", "H"), intermolecular=True),
    "rdf_H_H": lambda f: rdf(f, ("H", "H"), intermolecular=True), "structure_factor": structure_factor, "density": density, "diffusion_H2O": lambda f: diffusion(f, "H2O"),
}  # fmt: skip


@pytest.fixture(scope="module")
def peptide(tmp_path_factory):
    """A run of Ac-Ser-Ala-Met-NHMe and its report."""
    run = record(tmp_path_factory.mktemp("peptide") / "run", read(PEPTIDE), 60, charged=True)
    return run, analyse(AnalyseConfig(run=run)).reports[0]


@pytest.fixture(scope="module")
def liquid(tmp_path_factory):
    run = record(tmp_path_factory.mktemp("liquid") / "run", water_box(), 60, frame_fs=100.0, walk_A=0.2)
    return run, analyse(AnalyseConfig(run=run, plots=False)).reports[0]


def test_a_peptide_gets_every_section_with_figure_caption_and_table(peptide):
    run, report = peptide
    page, files = (report.folder / "report.html").read_text(), {f.name for f in report.folder.iterdir()}
    assert set(report.measured.further) == set(PEPTIDES)
    for name in (*PEPTIDES, "ramachandran", "rmsd", "gyration", "bonds"):
        assert {f"{name}.png", f"{name}.svg", f"{name}.csv"} <= files and f"({name}.csv)" in page
    titles = [part.split("</h2>")[0] for part in page.split("<h2>")[1:]]
    assert titles == ["Trajectory", "Energy and temperature", "Bonds and angles", "Shape", "Peptide", "Vibrations", "Settings", "How to cite"]
    assert "chi1 MET4" in page and "hydrogen bonds" in page and "conformer 1" in page and "strongest absorption" in page and not report.remarks


@pytest.mark.parametrize("name", PEPTIDES)
def test_python_gives_the_numbers_of_a_peptides_report(peptide, name, tmp_path):
    run, report = peptide
    PEPTIDES[name](read_frames(run)).to_csv(tmp_path / "python.csv")
    assert (tmp_path / "python.csv").read_text() == (report.folder / f"{name}.csv").read_text()


@pytest.mark.parametrize("name", LIQUIDS)
def test_python_gives_the_numbers_of_a_liquids_report(liquid, name, tmp_path):
    run, report = liquid
    LIQUIDS[name](read_frames(run)).to_csv(tmp_path / "python.csv")
    assert (tmp_path / "python.csv").read_text() == (report.folder / f"{name}.csv").read_text()


def test_the_summary_holds_the_same_numbers_as_python(peptide):
    run, report = peptide
    said = json.loads((report.folder / "summary.json").read_text())
    found = {one["label"]: one for these in said["observables"].values() for one in these}
    ends = end_to_end(read_frames(run)).mean
    assert found["end to end"]["value"] == ends.value and found["end to end"]["error"] == ends.error and found["end to end"]["unit"] == "Å"
    bonds = hydrogen_bonds(read_frames(run)).mean_count
    assert found["hydrogen bonds"]["value"] == bonds.value
    temperature = mean_with_error(load_series(run)["T_K"])
    assert said["T_K"]["mean"] == pytest.approx(temperature.value, rel=0.02)  # the report leaves out the approach to equilibrium
    topology = next(chunks_of(read_frames(run))).system.topology
    backbone = [a.index for a in topology.atoms if a.residue.is_protein and a.name in ("N", "CA", "C", "O")]
    capped = np.unique([*backbone, *all_torsions(topology, ("phi", "psi"))[1].ravel()])
    assert said["rmsd_A"]["mean"] == pytest.approx(mean_with_error(rmsd_series(read_frames(run), capped).rmsd_A).value, rel=1e-9)


def test_a_liquid_is_measured_as_one(liquid):
    run, report = liquid
    assert set(report.measured.further) == set(LIQUIDS)
    said = json.loads((report.folder / "summary.json").read_text())["observables"]
    assert said["density"][0]["value"] == pytest.approx(27 * 18.015 / 0.602214 / 9.6**3, rel=1e-3)
    found = said["diffusion_H2O"][0]
    assert found["value"] == pytest.approx(1e5 * 1e-4 * 0.2**2 / (2 * 0.1), rel=0.5)  # cm²/s of a walk of 0.2 Å a frame and found["unit"] == "10⁻⁵ cm²/s"
    assert "Yeh and Hummer" in found["note"] or "not diffusive" in found["note"]


def test_pairs_are_those_that_were_asked_for(tmp_path):
    run = record(tmp_path / "run", water_box(2, 6.4), 4)
    report = analyse(AnalyseConfig(run=run, plots=False, rdf="O-H,all-all")).reports[0]
    assert [name for name in report.measured.further if name.startswith("rdf")] == ["rdf_O_H", "rdf_all_all"]
    assert any("There is no Xe" in remark or "there is no Xe" in remark for remark in analyse(AnalyseConfig(run=run, plots=False, rdf="Xe-O")).reports[0].remarks)
    with pytest.raises(ValueError, match="'OH' is no pair of elements; write one such as O-H"):
        AnalyseConfig(run=run, rdf="OH")


def test_without_a_temperature_there_is_no_infrared_and_the_page_says_so(tmp_path):
    frames = []
    for frame in read_frames(record(tmp_path / "run", molecule("CH3OH"), 40, charged=True)):
        atoms = molecule("CH3OH")
        atoms.positions = frame.positions
        atoms.info.update(time_fs=frame.time_fs, dipole=frame.extras["dipole"])
        frames.append(atoms)
    write(tmp_path / "bare.extxyz", frames)
    report = analyse(AnalyseConfig(run=tmp_path / "bare.extxyz", plots=False)).reports[0]
    assert "infrared" not in report.measured.further and any("No infrared: the temperature" in remark for remark in report.remarks)


def test_a_run_is_its_own_best_reference(tmp_path):
    run = record(tmp_path / "run", molecule("CH3CH2OH"), 60)
    hot = record(tmp_path / "hot", molecule("CH3CH2OH"), 60, sigma_A=0.1, seed=2)
    same = analyse(AnalyseConfig(run=run, reference=str(run), output=str(tmp_path / "same"))).reports[0]
    values = {one["label"]: one["value"] for one in same.summary["observables"]["comparison"]}
    assert values["distance histogram error"] == 0 and set(same.summary["reference"]["bond_distributions"].values()) == {0.0}
    files = {f.name for f in (tmp_path / "same").iterdir()}
    assert {"comparison.csv", "reference_bond_statistics.csv", "reference_distances.csv", "against_distances.png", "against_bond_statistics.svg"} <= files
    assert "Against the reference" in (tmp_path / "same" / "report.html").read_text()
    far = analyse(AnalyseConfig(run=hot, reference=str(run), plots=False)).reports[0].summary
    found = {one["label"]: one for one in far["observables"]["comparison"]}
    noise = float(found["distance histogram error"]["note"].split()[0])
    assert found["distance histogram error"]["value"] > 1.5 * noise and far["reference"]["bond_distributions"]["C-C"] > 0.3  # 0.1 against 0.02 Å


def test_a_reference_of_other_atoms_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write("a.xyz", [molecule("CH3OH")] * 3)
    write("b.xyz", [molecule("CH3SH")] * 3)
    assert main(["analyse", "a.xyz", "--reference", "b.xyz", "--no-plots"]) == 5
    said = capsys.readouterr().err
    assert "other atoms than the trajectory" in said and "Traceback" not in said and not Path("a-report").exists()


def test_spectra_need_frames_that_are_close(tmp_path):
    run = record(tmp_path / "run", molecule("CH3OH"), 30, frame_fs=500.0)
    report = analyse(AnalyseConfig(run=run, plots=False)).reports[0]
    assert "power_spectrum" not in report.measured.further
    assert any(remark.startswith("No power spectrum: frames are 500 fs apart") for remark in report.remarks)


def test_errors_of_a_long_run_are_smaller(tmp_path):
    errors = []
    for n in (50, 800):
        found = analyse(AnalyseConfig(run=record(tmp_path / f"run{n}", molecule("CH3OH"), n), plots=False)).summary["runs"][0]
        errors.append(next(one["error"] for one in found["observables"]["bond_statistics"] if one["label"] == "bond C-O"))
    assert errors[1] < 0.5 * errors[0] and np.isfinite(errors).all()  # a quarter, for independent samples


def test_a_record_too_short_to_tell_bands_apart_has_no_spectrum(tmp_path):
    for n, there in ((13, False), (80, True)):
        found = analyse(AnalyseConfig(run=record(tmp_path / f"run{n}", molecule("CH3OH"), n, charged=True), plots=False)).summary["runs"][0]
        assert ("power_spectrum" in found["observables"]) is ("infrared" in found["observables"]) is there
        assert any("No power spectrum" in one and "too short" in one for one in found["remarks"]) is not there
