"""Folders that cannot be gone on with are told of before anything is computed."""
from pathlib import Path

from ase.cluster import Icosahedron

from mdapp.cli import main


def test_a_frame_that_does_not_fit_its_checksum_is_told_of_before_a_resume(tmp_path, monkeypatch, capsys):
    import h5py

    monkeypatch.chdir(tmp_path)
    Icosahedron("Ar", 2, latticeconstant=5.4).write("ar.xyz")
    assert main(["run", "ar.xyz", "--potential", "lj", "--temperature", "20", "--timestep", "4", "--steps", "40", "--every", "1", "--output", "run"]) == 0
    path = Path("run/trajectory.h5")
    with h5py.File(path) as file:
        begin = file["coordinates"].id.get_chunk_info(0).byte_offset
    content = bytearray(path.read_bytes())
    content[begin + 50] ^= 0xFF
    path.write_bytes(content)
    assert main(["resume", "run", "--steps", "80"]) == 5
    assert "is damaged near frame 0 (coordinates does not fit its checksum)" in capsys.readouterr().err


def test_a_folder_that_could_not_be_resumed_is_no_output(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Icosahedron("Ar", 2, latticeconstant=5.4).write("ar.xyz")
    Path("job").mkdir()
    Path("job/pep.xyz").symlink_to("../ar.xyz")
    words = ["run", "ar.xyz", "--potential", "lj", "--temperature", "20", "--timestep", "4", "--steps", "5", "--output"]
    assert main([*words, "job"]) == 2 and "is a link to ../ar.xyz" in capsys.readouterr().err
    assert main([*words, ""]) == 2 and "--output is empty" in capsys.readouterr().err
