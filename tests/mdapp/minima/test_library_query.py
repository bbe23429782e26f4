"""What is asked of a library is answered by energy and by region, and comes out as other programs read it."""
from __future__ import annotations

import json
from pathlib import Path

import mdtraj
import numpy as np
import pytest
from ase import Atoms
from ase.io import read

from mdapp.analysis.dihedrals import backbone_torsions
from mdapp.cli import main
from mdapp.errors import OutputError, UserError
from mdapp.minima.library import Library, Origin
from mdapp.minima.query import backbone, export, select
from mdapp.minima.regions import ALIASES, REGIONS, named_regions, parse_pattern, within
from mdapp.topology import find_bonds, topology_of

REPO = Path(__file__).parents[3]
KNOWN = {  # phi and psi of minima of alanine dipeptide in the literature (see the head of mdapp.minima.regions), degrees
    "C7eq": [(-83, 75), (-86, 79)], "C5": [(-157, 160), (-157, 165)], "C7ax": [(74, -60), (72, -57)], "beta2": [(-130, 25), (-131, 22)],
    "alphaL": [(64, 31), (58, 45)], "alphaR": [(-70, -35), (-61, -41)], "alphaP": [(-170, -45), (-178, -44)], "PII": [(-70, 145)], "epsilonD": [(60, -150)],
}  # fmt: skip


def test_every_point_of_the_map_has_exactly_one_name():
    phi, psi = np.random.default_rng(0).uniform(-180, 180, (2, 20_000))
    borders = np.arange(-180.0, 181.0, 5.0)
    phi, psi = np.concatenate([phi, np.repeat(borders, len(borders))]), np.concatenate([psi, np.tile(borders, len(borders))])
    assert (np.sum([within(box, phi, psi) for box in REGIONS.values()], axis=0) == 1).all()
    assert set(named_regions(phi, psi)) == set(REGIONS)


def test_known_minima_lie_where_they_are_named():
    for name, points in KNOWN.items():
        assert named_regions(*np.array(points, dtype=float).T).tolist() == [name] * len(points)
    assert set(KNOWN) == set(REGIONS) >= set(ALIASES.values())


def test_angles_are_the_same_after_a_turn():
    phi, psi = np.random.default_rng(1).uniform(-180, 180, (2, 500))
    assert (named_regions(phi, psi) == named_regions(phi + 360, psi - 360)).all()


@pytest.mark.parametrize("text, message", [
    ("C7", "region 'C7' is unknown"), ("C7eq/gamma", "'gamma' is unknown"), ("10:-10,0:50", "a box rises"), ("", "unknown"), ("-100:-60", "unknown"),
])
def test_unknown_regions_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        parse_pattern(text)


def peptide_library(path: Path, angles: list[list[tuple[float, float]]]) -> Library:
    """The example's peptide with these phi and psi, each 0.05 eV above the one before."""
    start = read(REPO / "examples" / "peptide.xyz")
    bonds = find_bonds(start.numbers, start.positions, start.cell.array, start.pbc)
    torsions = backbone_torsions(topology_of(start, bonds))
    with Library(path, like=start) as library:
        for k, minimum in enumerate(angles):
            atoms = start.copy()
            for (phi, psi), p, q in zip(minimum, torsions.phi.tolist(), torsions.psi.tolist(), strict=True):
                for angle, atoms_of in ((phi, p), (psi, q)):
                    atoms.set_dihedral(*atoms_of, angle, indices=beyond(bonds, atoms_of[1], atoms_of[2]))
            library.place(atoms, -100.0 + 0.05 * k, Origin("dihedral", k - 1 if k else None, 0, 10 * k))
        library.set_frequencies(1, [-30.0, 50.0])
    return library


def beyond(bonds, i, j):
    near = {}
    for a, b in bonds.tolist():
        near.setdefault(a, []).append(b)
        near.setdefault(b, []).append(a)
    found, waiting = {j}, [j]
    while waiting:
        for n in near[waiting.pop()]:
            if n not in found and n != i:
                found.add(n)
                waiting.append(n)
    return sorted(found)


C7EQ, C5, C7AX, ALPHA = (-83.0, 75.0), (-157.0, 160.0), (74.0, -60.0), (-70.0, -35.0)
SHAPES = [[C7EQ, C7EQ, C7EQ], [C5, C5, C5], [C7EQ, C5, ALPHA], [C7AX, C7EQ, C5], [ALPHA, ALPHA, ALPHA]]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("search")
    peptide_library(folder / "minima.h5", SHAPES)
    return folder


def test_angles_are_those_that_were_set(path):
    found = backbone(Library(path, "r"))
    assert found.residues == ("SER2", "ALA3", "MET4")
    assert np.allclose(np.stack([found.phi_deg, found.psi_deg], axis=2), SHAPES, atol=1e-6)


@pytest.mark.parametrize("asked, indices", [
    (dict(), [0, 1, 2, 3, 4]), (dict(below_eV=0.1001), [0, 1, 2]), (dict(lowest=2), [0, 1]), (dict(region="C7eq"), [0, 2, 3]), (dict(region="c7EQ/any/*"), [0, 2]),
    (dict(region="any/any/C5"), [1, 3]), (dict(region="-90:-60,-50:-20/any/any"), [4]), (dict(region="C7ax", below_eV=0.1), []), (dict(region="αR", lowest=1), [2]),
    (dict(region="150:210,150:210"), [1, 2, 3]), (dict(region="170:190,150:210"), []), (dict(region="-160:-150,150:170"), [1, 2, 3]),
])
def test_minima_are_chosen_by_energy_and_region(path, asked, indices):
    assert select(Library(path, "r"), **asked).tolist() == indices


def test_extended_xyz_brings_everything_back(path, tmp_path):
    library = Library(path, "r")
    assert export(library, tmp_path / "out.xyz", [3, 1]) == 2
    frames = read(tmp_path / "out.xyz", ":")
    assert [a.info["minimum"] for a in frames] == [3, 1] and [a.info["region"] for a in frames] == ["C7ax/C7eq/C5", "C5/C5/C5"]
    assert frames[0].get_potential_energy() == pytest.approx(-99.85) and frames[0].info["relative_energy_eV"] == pytest.approx(0.15)
    assert np.allclose(frames[0].positions, library.atoms(3).positions, atol=1e-7) and np.array_equal(frames[0].numbers, library.reference.numbers)
    assert frames[1].info["imaginary_modes"] == 1 and frames[1].info["visits"] == 1 and frames[1].info["move"] == "dihedral"


def test_pdb_models_have_the_same_shapes(path, tmp_path):
    library = Library(path, "r")
    assert export(library, tmp_path / "out.pdb") == 5
    loaded = mdtraj.load(str(tmp_path / "out.pdb"))
    assert loaded.n_frames == 5 and [r.name for r in loaded.topology.residues] == ["ACE", "SER", "ALA", "MET", "NME"]
    found = [np.degrees(f(loaded)[1]) for f in (mdtraj.compute_phi, mdtraj.compute_psi)]
    assert np.allclose(np.stack(found, axis=2), SHAPES, atol=0.5)  # three digits after the point of an Å


def test_nothing_is_overwritten_and_nothing_half_written(path, tmp_path):
    library = Library(path, "r")
    out = tmp_path / "out.xyz"
    out.write_text("precious")
    with pytest.raises(OutputError, match="exists already"):
        export(library, out)
    assert out.read_text() == "precious"
    with pytest.raises(UserError, match=r"\.xyz, \.extxyz\) or PDB"):
        export(library, tmp_path / "out.cif")
    with pytest.raises(UserError, match="No minimum fits"):
        export(library, tmp_path / "none.xyz", [])
    with pytest.raises(OutputError, match="there is no folder"):
        export(library, tmp_path / "nowhere" / "out.pdb")
    assert [f.name for f in tmp_path.iterdir()] == ["out.xyz"]


def test_the_command_line_answers_in_json(path, tmp_path, capsys):
    out = tmp_path / "c7eq.xyz"
    assert main(["library", str(path), "--below", "5kcal/mol", "--region", "C7eq", "--export", str(out), "--json"]) == 0
    captured = capsys.readouterr()
    summary = json.loads(captured.out)
    assert [m["minimum"] for m in summary["minima"]] == [0, 2, 3] and summary["n_minima"] == 5 and summary["exported"] == str(out)
    assert summary["minima"][1]["regions"] == ["C7eq", "C5", "alphaR"] and summary["minima"][1]["above_lowest_eV"] == pytest.approx(0.1)
    assert summary["below_eV"] == pytest.approx(0.216820, abs=1e-6)
    assert len(read(out, ":")) == 3 and "3 of 5 minima" in captured.err


def test_the_command_line_shows_a_table(path, capsys):
    assert main(["library", str(path / "minima.h5"), "--lowest", "2"]) == 0
    out = capsys.readouterr().out
    assert "-83, 75 C7eq" in out and "C5" in out and "2 of 5 minima" in out and "residues SER2 ALA3 MET4" in out


@pytest.mark.parametrize("words, code, message", [
    (["nowhere"], 5, "nowhere does not exist"),
    (["."], 5, r". holds no minima.h5"),
    (["text.h5"], 5, "text.h5 is damaged or no HDF5 file"),
    (["PATH", "--region", "C8"], 2, "region 'C8' is unknown"),
    (["PATH", "--region", "C5/C5"], 2, "names 2 residues, but the molecule has 3"),
    (["PATH", "--below", "5apples"], 2, "known: eV, meV, kcal/mol, kJ/mol, Ha"),
    (["PATH", "--below", "-1"], 2, "below must be >= 0 eV"),
    (["PATH", "--lowest", "0"], 2, "lowest must be >= 1"),
    (["PATH", "--export", "out.cif"], 2, "choose a name that ends so"),
    (["PATH", "--region", "epsilonD", "--export", "out.xyz"], 2, "No minimum fits, so out.xyz was not written"),
    (["PATH", "--export", "text.h5.xyz/out.xyz"], 2, "there is no folder"),
    ([], 2, "'library' is missing"),
])
def test_refusals_are_sentences(path, tmp_path, monkeypatch, capsys, words, code, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.h5").write_text("text")
    assert main(["library", *(str(path) if word == "PATH" else word for word in words)]) == code
    err = capsys.readouterr().err
    assert message in err and "Traceback" not in err and len(err.strip().splitlines()) == 1
    assert [f.name for f in tmp_path.iterdir()] == ["text.h5"]


def test_a_cluster_has_no_regions_but_all_the_rest(tmp_path, capsys):
    with Library(tmp_path / "minima.h5") as library:
        library.place(Atoms("Ar3", positions=[[0, 0, 0], [3.8, 0, 0], [0, 3.8, 0]]), -0.02, Origin("start"))
    assert main(["library", str(tmp_path)]) == 0 and "Ar3" in capsys.readouterr().out
    assert main(["library", str(tmp_path), "--region", "C5"]) == 2 and "no residue with phi and psi" in capsys.readouterr().err
    for name in ("out.xyz", "out.pdb"):
        assert main(["library", str(tmp_path), "--export", str(tmp_path / name), "-q"]) == 0
    assert len(mdtraj.load(str(tmp_path / "out.pdb"))) == 1 and len(read(tmp_path / "out.xyz", ":")) == 1


def test_an_empty_library_is_shown(tmp_path, capsys):
    Library(tmp_path / "minima.h5", like=read(REPO / "examples" / "peptide.xyz")).close()
    assert main(["library", str(tmp_path), "--below", "1eV", "--region", "C5"]) == 0
    assert "0 of 0 minima" in capsys.readouterr().out
