"""`mdapp analyse` of a library of minima: the page, its numbers, and what is refused."""
from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.io import read

from mdapp.cli import main
from mdapp.config import AnalyseConfig
from mdapp.errors import RunFolderError, StructureError, UserError
from mdapp.jobs.analyse import analyse
from mdapp.minima.library import Library, Origin

sys.path.insert(0, str(Path(__file__).parents[1] / "minima"))  # `surfaces`, for ase:surfaces:LennardJones

TRIANGLE = np.array([[0, 0, 0], [1, 0, 0], [0.5, 3**0.5 / 2, 0]]) * 2 ** (1 / 6)


def make_library(folder: Path, n: int = 12) -> Path:
    """Conformers of Ac-Ala-NHMe as a library would hold them: the shape of a peptide, energies that are made up."""
    from mdapp.structure import read_structure
    from mdapp.topology import find_bonds, topology_of

    folder.mkdir(parents=True)
    atoms = read_structure(Path(__file__).parents[3] / "examples" / "peptide.xyz")
    topology_of(atoms, find_bonds(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc))
    rng = np.random.default_rng(1)
    with Library(folder) as library:
        for k in range(n):
            one = atoms.copy()
            one.positions += 0.05 * k * rng.standard_normal(atoms.positions.shape) / 3
            library.place(one, -10 + 0.03 * ((5 * k) % n), Origin("start" if k == 0 else "dihedral", None if k == 0 else k - 1, 0, 40 * k))
    (folder / "run.toml").write_text('[minima]\nstructure = "peptide.xyz"\npotential = ["nowhere.pt"]\n')
    return folder


def add_saddles(folder: Path) -> None:
    """A chain of saddles, as a search for them leaves it."""
    with Library(folder, "r") as library, open(folder / "landscape.jsonl", "w", encoding="utf-8") as file:
        energies, positions = library.energies(), library.positions()
        for k in range(len(library) - 1):
            saddle = {"ends": [str(k), str(k + 1)], "energy_eV": float(max(energies[k : k + 2]) + 0.1), "frequencies_cm1": [-50.0, 80.0],
                      "positions": ((positions[k] + positions[k + 1]) / 2).tolist()}
            file.write(json.dumps({"format": 1, "pair": [k, k + 1], "reasons": [], "evaluations": 9, "saddles": [saddle], "minima": [], "potential": "made up"}) + "\n")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_page_has_all_pictures_and_each_has_its_numbers_beside_it(here):
    folder = make_library(here / "search")
    add_saddles(folder)
    found = analyse(AnalyseConfig(run=(str(folder),)))
    files = {f.name for f in (folder / "report").iterdir()}
    assert files == {"report.html", "summary.json", "minima.csv", "saddles.csv", "populations.csv", "disconnectivity.png", "disconnectivity.svg", "energy_rmsd.png",
                     "ramachandran.png", "populations.png", "network.png", "discovery.png"}
    page = (folder / "report" / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 6 and "nowhere.pt" in page
    s = json.loads((folder / "report" / "summary.json").read_text())
    assert s == found.summary["runs"][0] and (s["n_minima"], s["n_saddles"], s["verdict"], found.exit_code) == (12, 11, "finished", 0)
    rows = list(csv.DictReader((folder / "report" / "minima.csv").read_text().splitlines()))
    above = [float(r["above_lowest_eV"]) for r in rows]
    assert len(rows) == 12 and above == sorted(above) and above[0] == 0 and float(rows[0]["rmsd_from_lowest_A"]) < 1e-6
    assert len(list(csv.DictReader((folder / "report" / "saddles.csv").read_text().splitlines()))) == 11
    shares = list(csv.DictReader((folder / "report" / "populations.csv").read_text().splitlines()))
    assert sum(float(r["share"]) for r in shares) == pytest.approx(1, abs=1e-4) and {r["basis"] for r in shares} == {"energy"}


def test_a_bare_library_and_one_minimum_are_enough(here):
    folder = make_library(here / "search", n=1)
    assert main(["analyse", str(folder / "minima.h5"), "--no-plots"]) == 0
    assert {f.name for f in (here / "search" / "minima-report").iterdir()} == {"report.html", "summary.json", "minima.csv", "populations.csv"}


def test_frequencies_make_free_energies_and_are_kept(here, capsys):
    (here / "trimer").mkdir()
    with Library(here / "trimer") as library:
        library.place(Atoms("Ar3", positions=TRIANGLE), -3.0, Origin("start"))
    words = ["analyse", "trimer", "--frequencies", "1", "-p", "ase:surfaces:LennardJones", "--no-plots"]
    assert main(words) == 0 and "harmonic free energies" in capsys.readouterr().out
    kept = (here / "trimer" / "landscape.jsonl").read_text()
    (share,) = csv.DictReader((here / "trimer" / "report" / "populations.csv").read_text().splitlines())
    assert (share["symmetry"], share["mirror_images"], share["basis"]) == ("6", "1", "harmonic")
    assert main(["library", "trimer", "--export", "out.xyz", "--json"]) == 0
    assert '"imaginary_modes": 0' in capsys.readouterr().out
    assert len(read("out.xyz").info["frequencies_cm1"]) == 3
    row = json.loads(kept)
    e = np.sort(row["frequencies_cm1"])
    assert len(e) == 3 and e[0] == pytest.approx(e[1], rel=5e-3) and e[2] / e[0] == pytest.approx(2**0.5, rel=5e-3)  # three equal springs: e' and a1'; steps of 0.01 of 1.1 Å
    assert main(words) == 0 and (here / "trimer" / "landscape.jsonl").read_text() == kept  # nothing is done twice


def test_the_lowest_minima_can_be_turned_on_the_page(here):
    report = analyse(AnalyseConfig(run=make_library(here / "search", 6), plots=False)).reports[0]
    page = (report.folder / "report.html").read_text()
    scene = json.loads(page.split('id="scene">')[1].split("</script>")[0])
    lowest = report.summary["lowest"]
    assert len(scene["labels"]) == 6 and scene["labels"][0].startswith(f"minimum {lowest} ") and scene["labels"][0].endswith(", 0.000 eV")
    assert "<h2>Minima</h2>" in page and "all 6 structures, the lowest first" in page


def test_what_has_an_imaginary_frequency_is_said_to_be_no_minimum(here):
    folder = make_library(here / "search", 4)
    with Library(folder) as library:
        library.set_frequencies(0, np.array([30.0, 1000.0]))
        library.set_frequencies(2, np.array([-26.0, 40.0, 1000.0]))
    report = analyse(AnalyseConfig(run=folder, plots=False)).reports[0]
    assert report.summary["no_minima"] == {"2": -26.0}
    assert any("Not minima but saddles of a soft mode" in remark and "2 (26i cm⁻¹)" in remark for remark in report.remarks)


def test_another_potential_is_refused(here, capsys):
    (here / "trimer").mkdir()
    with Library(here / "trimer") as library:
        library.place(Atoms("Ar3", positions=TRIANGLE), -7.0, Origin("start"))
    assert main(["analyse", "trimer", "--saddles", "3", "-p", "ase:surfaces:LennardJones"]) == 2
    assert "made with another potential" in capsys.readouterr().err
    assert not (here / "trimer" / "report").exists() and not (here / "trimer" / "landscape.jsonl").exists()


def test_what_cannot_be_analysed_is_refused(here):
    make_library(here / "search", n=1)
    (here / "search" / "run.toml").unlink()
    with pytest.raises(UserError, match="does not say which potential"):
        analyse(AnalyseConfig(run=("search",), saddles=2))
    from ase.io import write

    write(here / "a.xyz", molecule("CH3OH"))
    with pytest.raises(UserError, match="are for libraries of minima"):
        analyse(AnalyseConfig(run=("a.xyz",), saddles=2))
    (here / "search" / "run.toml").write_text("[minima\n")
    with pytest.raises(RunFolderError, match="damaged"):
        analyse(AnalyseConfig(run=("search",)))
    (here / "none").mkdir()
    with Library(here / "none", like=Atoms("Ar3", positions=TRIANGLE)):
        pass
    with pytest.raises(StructureError, match="holds no minimum yet"):
        analyse(AnalyseConfig(run=("none",)))
    assert sorted(f.name for f in (here / "none").iterdir() if not f.name.endswith(".lock")) == ["minima.h5"]


def test_settings_are_checked(here):
    for words, said in ((dict(saddles=-1), "saddles must be >= 0"), (dict(temperature=0.0), "temperature must be > 0 K")):
        with pytest.raises(ValueError, match=said):
            AnalyseConfig(run=("x",), **words).check()


def test_saddles_are_sought_as_sharply_as_the_minima_were(here):
    """The four minima of LJ7 lie within 0.02 eV: at 0.01 eV/Å nothing on the way down to them would be told from them."""
    atoms = Atoms("Ar7", 3.4 * np.array([[0, 0, 0], [1.1, 0, 0], [0.5, 1, 0], [0.5, 0.3, 0.9], [0.5, 0.3, -0.9], [1.5, 0.9, 0.3], [-0.5, 0.9, 0.2]]))
    atoms.write("ar7.xyz")
    assert main(["minima", "ar7.xyz", "--potential", "lj", "--hops", "80", "--fmax", "1e-4", "--same-energy", "1e-4", "--seed", "1", "--output", "lj7"]) == 0
    found = analyse(AnalyseConfig(run="lj7", saddles=6, plots=False)).reports[0].summary
    assert found["n_minima"] == 4 and found["n_saddles"] >= 3
    assert min(found["barriers_eV"]) == pytest.approx(0.0110, abs=5e-4)


def test_a_potential_named_from_another_folder_is_found_again(here, monkeypatch):
    import shutil

    from potentials.words import file_of

    Path("sub").mkdir()
    shutil.copy(file_of("so3krates.pt"), "sub/mine.pt")
    molecule("CH3OH").write("sub/methanol.xyz")
    monkeypatch.chdir("sub")
    assert main(["minima", "methanol.xyz", "--potential", "mine.pt", "--hops", "1", "--walkers", "1", "--output", "found"]) in (0, 3)
    monkeypatch.chdir("..")
    assert main(["analyse", "sub/found", "--frequencies", "1"]) == 0
