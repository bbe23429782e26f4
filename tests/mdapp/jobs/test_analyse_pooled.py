"""Several runs of a peptide on one page: what is pooled, with which error, and what is not."""
from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from ase.io import read

from mdapp.config import AnalyseConfig
from mdapp.jobs._pooled import _row, pool
from mdapp.jobs.analyse import analyse

from .recorded import PEPTIDE, record


@pytest.fixture(scope="module")
def replicas(tmp_path_factory):
    """Two runs of the example's peptide, the second shaken harder, and what an analysis of both says."""
    here = tmp_path_factory.mktemp("replicas")
    atoms = read(PEPTIDE)
    for k, sigma in enumerate((0.02, 0.10)):
        record(here / "many" / f"r00{k}", atoms, 300, sigma_A=sigma, seed=k + 1)
    found = analyse(AnalyseConfig(run=str(here / "many"), plots=False))
    pool(found.reports, AnalyseConfig(run=str(here / "many")))  # once more, with figures of all runs alone
    return here / "many", found


def test_the_page_shows_what_a_peptide_person_asks_for_of_all_runs(replicas):
    folder, found = replicas
    files = {f.name for f in (folder / "report").iterdir()}
    for name in ("ramachandran", "free_energy", "hydrogen_bonds", "secondary_structure"):
        assert {f"{name}.png", f"{name}.svg", f"{name}.csv"} <= files, name
    assert {"temperature.png", "potential_energy.png", "rmsd.png", "gyration.png", "basins.png", "pooled.csv", "summary.json", "report.html"} <= files
    page = (folder / "report" / "report.html").read_text()
    for word in ("Side by side", "Pooled", "by their spread", "hydrogen bonds", "end to end", "beta and PPII", "r000", "r001"):
        assert word in page, word
    with open(folder / "report" / "free_energy.csv", encoding="utf-8") as file:
        lowest = min(float(row["F_kJ_mol"]) for row in csv.DictReader(file))
    assert lowest == 0


def test_pooled_numbers_are_means_of_the_runs_with_their_spread(replicas):
    folder, found = replicas
    with open(folder / "report" / "pooled.csv", encoding="utf-8") as file:
        rows = {(row["observable"], row["label"]): row for row in csv.DictReader(file)}
    assert ("hydrogen_bonds", "hydrogen bonds") in rows and ("end_to_end", "end to end") in rows and any(name == "basins" for name, _ in rows)
    for (name, label), row in rows.items():
        each, error = [float(row[f"mean_r00{k}"]) for k in (0, 1)], float(row["error"])
        if name == "omega":  # about 180 degrees
            continue
        assert float(row["mean"]) == pytest.approx(np.mean(each), rel=1e-7, abs=1e-9), label
        assert float(row["between"]) == pytest.approx(abs(each[0] - each[1]) / 2, rel=1e-4, abs=1e-6)
        assert error == pytest.approx(max(float(row["between"]), float(row["within"])), rel=1e-6)
    rmsd = [report.summary["rmsd_A"]["mean"] for report in found.reports]
    assert float(rows["rmsd_A", "RMSD"]["mean"]) == pytest.approx(np.mean(rmsd)) and rmsd[1] > 3 * rmsd[0]
    assert any("disagree about RMSD" in remark for remark in found.summary["pooled"]["remarks"])
    json.dumps(found.summary, allow_nan=False)


def test_a_share_that_one_run_never_saw_counts_as_nothing(replicas):
    folder, found = replicas
    bonds = [report.measured.further["hydrogen_bonds"].result for report in found.reports]
    only = set(bonds[1].labels) - set(bonds[0].labels)
    pooled = {row["label"]: row for row in found.summary["pooled"]["observables"] if row["name"] == "hydrogen_bonds"}
    for label in only & set(pooled):
        share = 100 * bonds[1].share[bonds[1].labels.index(label)]
        assert pooled[label]["mean"] == pytest.approx(share / 2)
    assert len(pooled) >= 2


def test_torsions_are_pooled_across_180_degrees():
    row = _row("omega", "omega ALA1-ALA2", "degrees", [(178.0, 0.5), (-176.0, 0.5)], [1.0, 1.0])
    assert row.pooled.value == pytest.approx(-179.0) and row.pooled.between == pytest.approx(3.0)


def test_runs_at_different_temperatures_are_not_pooled(tmp_path):
    atoms = read(PEPTIDE)
    for k, kelvin in enumerate((300.0, 500.0)):
        folder = record(tmp_path / f"run{k}", atoms, 20)
        (folder / "run.toml").write_text(f'[run]\nensemble = "nvt"\ntemperature = {kelvin}\n')
    found = analyse(AnalyseConfig(run=[str(tmp_path / "run0"), str(tmp_path / "run1")], output=str(tmp_path / "out"), plots=False))
    assert found.summary["pooled"]["pooled"] == {} and "different temperatures (300 K, 500 K)" in found.summary["pooled"]["remarks"][0]
    assert "Side by side" in (tmp_path / "out" / "pooled" / "report.html").read_text()
