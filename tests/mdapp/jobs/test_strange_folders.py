"""Run folders from strangers: whatever lies in them, no code runs, nothing is written elsewhere, nothing hangs."""
import hashlib
import json
import os
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from ase.cluster import Icosahedron

from mdapp.cli import main
from mdapp.config import ResumeConfig, RunConfig
from mdapp.errors import RunFolderError
from mdapp.jobs.resume import resume
from mdapp.jobs.run import run
from mdapp.trajectory import load_checkpoint, read_frames, save_checkpoint
from mdapp.trajectory.checkpoint import MAGIC, USER_BLOCK


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Icosahedron("Ar", 2, latticeconstant=5.4).write("ar.xyz")
    run(RunConfig(structure="ar.xyz", potential="lj", temperature=20.0, timestep=4.0, steps=20, every=10, seed=3, device="cpu", threads=1, output="a"))
    Path("victim").write_text("precious")


@pytest.mark.parametrize("name", ["thermo.csv", "events.jsonl", "run.log", "run.lock", "trajectory.journal", "trajectory.h5.tmp", "checkpoint.h5.tmp",
                                  "summary.json", "final.extxyz", "report"])
def test_links_in_a_run_folder_are_refused_and_lead_nowhere(name, capsys):
    path = Path("a", name)
    path.unlink(missing_ok=True)
    path.symlink_to(Path("victim").resolve())
    for words in (["resume", "a", "--steps", "40"], ["analyse", "a"]):
        assert main(words) == 5
        said = capsys.readouterr().err
        assert "is a link to" in said and name in said and "Traceback" not in said
    assert Path("victim").read_text() == "precious" and path.is_symlink()


def test_a_link_inside_the_report_is_refused_too(capsys):
    Path("a/report").mkdir()
    Path("a/report/report.html").symlink_to(Path("victim").resolve())
    assert main(["analyse", "a"]) == 5 and "report.html is a link" in capsys.readouterr().err
    assert Path("victim").read_text() == "precious"


def test_even_without_that_look_nothing_is_written_through_a_link(monkeypatch):
    """A link that is put there later is not followed either."""
    monkeypatch.setattr("mdapp.trajectory.folder.refuse_strange", lambda folder: None)
    for name in ("thermo.csv", "trajectory.journal", "trajectory.h5.tmp", "checkpoint.h5.tmp", "run.lock"):
        path = Path("a", name)
        path.unlink(missing_ok=True)
        path.symlink_to(Path("victim").resolve())
        try:
            resume(ResumeConfig("a", steps=40))
        except Exception:
            pass
        assert Path("victim").read_text() == "precious", name
        path.unlink(missing_ok=True)


def test_a_pipe_in_the_folder_does_not_hang(capsys):
    Path("a/thermo.csv").unlink()
    os.mkfifo("a/thermo.csv")
    assert main(["resume", "a", "--steps", "40"]) == 5 and "neither a file nor a folder" in capsys.readouterr().err
    assert main(["analyse", "a"]) == 5


def test_the_folder_itself_may_be_a_link():
    Path("b").symlink_to("a")
    assert resume(ResumeConfig("b", steps=40)).exit_code == 0


def test_code_that_came_with_the_folder_is_not_imported(monkeypatch, capsys):
    Path("a/evil.py").write_text("open('ran', 'w').write('x')\nfrom ase.calculators.lj import LennardJones as Calc\n")
    monkeypatch.syspath_prepend(str(Path("a").resolve()))
    text = Path("a/run.toml").read_text()
    Path("a/run.toml").write_text(text.replace('["lj"]', '["ase:evil:Calc"]'))
    assert main(["resume", "a", "--steps", "40"]) == 5
    assert "brings its own code" in capsys.readouterr().err and not Path("ran").exists() and "evil" not in sys.modules


@pytest.mark.parametrize("key, value", [("output", '"../../elsewhere"'), ("output", '"/tmp/elsewhere-of-a-stranger"')])
def test_paths_in_a_strangers_settings_do_not_move_the_output(key, value):
    text = Path("a/run.toml").read_text()
    lines = [line for line in text.splitlines() if not line.startswith(f"{key} =")]
    lines.insert(lines.index("[run]") + 1 if "[run]" in lines else 0, f"{key} = {value}")
    Path("a/run.toml").write_text("\n".join(lines) + "\n")
    before = sorted(os.listdir("."))
    assert resume(ResumeConfig("a", steps=40)).folder == Path("a")
    assert sorted(os.listdir(".")) == before and not Path("/tmp/elsewhere-of-a-stranger").exists() and not Path("../../elsewhere").exists()


def test_a_potential_or_structure_elsewhere_is_at_most_read(capsys):
    text = Path("a/run.toml").read_text()
    Path("a/run.toml").write_text(text.replace('["lj"]', f'["{Path("victim").resolve()}"]'))
    assert main(["resume", "a", "--steps", "40"]) == 5
    assert "precious" not in capsys.readouterr().err and Path("victim").read_text() == "precious"


# ---------------------------------------------------------------------------- checkpoints that claim


def sealed(path, fill):
    """A checkpoint with a right checksum and other contents."""
    with h5py.File("raw.h5", "w") as file:
        fill(file)
    image = Path("raw.h5").read_bytes()
    head = b"%s, format %d, sha256 %s\n" % (MAGIC, 1, hashlib.sha256(image).hexdigest().encode())
    path.write_bytes(head.ljust(USER_BLOCK, b"\0") + image)


def tree(file, value):
    file.create_dataset("tree", data=np.frombuffer(json.dumps(value).encode(), "u1"))


def packed(file):
    tree(file, {"a": {"__array__": 0}})
    file.create_dataset("arrays/0", shape=(10**9,), dtype="f8", chunks=(10**6,), compression="gzip")


def multiplied(file):
    tree(file, {"a": [{"__array__": 0}] * 10_000})
    file.create_dataset("arrays/0", data=np.zeros(100_000))


def deep(file):
    file.create_dataset("tree", data=np.frombuffer(b"[" * 100_000, "u1"))


def linked(file):
    tree(file, {"a": {"__array__": 0}})
    file.create_group("arrays")["0"] = h5py.ExternalLink("victim.h5", "/x")


def outside(file):
    tree(file, {"a": {"__array__": 0}})
    file.create_dataset("arrays/0", shape=(8,), dtype="u1", external=[(str(Path("victim").resolve()), 0, 8)])


@pytest.mark.parametrize("fill", [packed, multiplied, deep, linked, outside])
def test_a_checkpoint_that_claims_memory_or_other_files_is_refused(fill, capsys):
    import resource

    sealed(Path("a/checkpoint.h5"), fill)
    Path("a/checkpoint.prev.h5").unlink()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(RunFolderError):
        load_checkpoint(Path("a"))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000, "kilobytes"
    assert main(["resume", "a", "--steps", "40"]) == 5
    said = capsys.readouterr().err
    assert "Traceback" not in said and "precious" not in said


@pytest.mark.parametrize("damage", [lambda f: f.__setitem__("mdapp/soft", h5py.SoftLink("/coordinates")),
                                    lambda f: f.__setitem__("mdapp/far", h5py.ExternalLink("/etc/passwd", "/"))])
def test_a_trajectory_with_links_is_refused_on_resume_and_on_reading(damage, capsys):
    with h5py.File("a/trajectory.h5", "r+") as file:
        damage(file)
    for words in (["resume", "a", "--steps", "40"], ["analyse", "a"]):
        assert main(words) == 5 and "link to elsewhere" in capsys.readouterr().err
    with pytest.raises(RunFolderError):
        list(read_frames("a"))


def test_a_restart_state_holds_no_object():
    class Code:
        def __reduce__(self):
            return (os.system, ("true",))

    with pytest.raises(TypeError, match="cannot be stored"):
        save_checkpoint(Path("a"), {"x": Code()})
    with pytest.raises(TypeError, match="cannot be stored"):
        save_checkpoint(Path("a"), {"x": np.array([Code()], dtype=object)})
    assert b"pickle" not in Path("a/checkpoint.h5").read_bytes()


def test_an_at_sign_in_a_name_is_a_letter_like_any_other(capsys):
    """ASE reads what follows it as the number of a frame."""
    os.link("ar.xyz", "ar@1:3.xyz")
    assert main(["run", "ar@1:3.xyz", "-p", "lj", "--steps", "5", "--temperature", "20", "--device", "cpu", "-q", "-o", "o@0"]) == 0
    assert main(["resume", "o@0", "--steps", "8", "-q"]) == 0 and json.loads(Path("o@0/summary.json").read_text())["steps"] == 8
    assert main(["run", "ar.xyz@0", "-p", "lj", "--steps", "5", "-q", "-o", "x"]) == 5 and "ar.xyz@0 does not exist" in capsys.readouterr().err
    assert not Path("x").exists()
