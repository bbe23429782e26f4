"""Code is compiled once and found again by those to whom it belongs, and by nobody else."""
import gc
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from potentials.neighbours import graph_for
from potentials.runtime import ahead_of_time, code_cache
from potentials.runtime.code_cache import file_of, identity_of
from potentials.runtime.radial_table import with_radial_table
from samples import small, water

needs_compiler = pytest.mark.skipif(not (shutil.which("g++") or shutil.which("clang++")), reason="compiling needs a C++ compiler")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MDAPP_CACHE", str(tmp_path))
    code_cache.folder.cache_clear()
    yield tmp_path / "compiled"
    code_cache.folder.cache_clear()


def slope(x, i):
    """A gather and a derivative, as a potential has them."""
    x = x.detach().requires_grad_(True)
    y = (x.index_select(0, i) ** 3).sum()
    (g,) = torch.autograd.grad(y, x)
    return y[None], g


@needs_compiler
@pytest.mark.filterwarnings("ignore")
def test_compiled_code_serves_other_lengths_and_the_next_start(cache, monkeypatch):
    example = torch.randn(5, 2, dtype=torch.float64), torch.tensor([0, 1, 1, 4])
    file = code_cache.folder() / "slope.pt2"
    first = ahead_of_time.compiled(slope, example, ("n", "i"), file)
    monkeypatch.setattr(ahead_of_time, "_make", lambda *a: pytest.fail("compiled again"))
    again = ahead_of_time.compiled(slope, example, ("n", "i"), file)
    for n, m in ((5, 4), (4, 4), (7, 2), (3, 9)):
        x, i = torch.randn(n, 2, dtype=torch.float64), torch.randint(0, n, (m,))
        for one, two, three in zip(slope(x, i), first(x, i), again(x, i)):
            torch.testing.assert_close(two, one.detach(), rtol=1e-14, atol=1e-14)
            torch.testing.assert_close(three, two, rtol=0, atol=0)
    assert [p.name for p in cache.iterdir()] == ["slope.pt2"]


def test_what_cannot_be_made_in_a_child_is_made_here_and_its_error_told(cache, monkeypatch):
    asked = []

    def failing(*words):
        asked.append(os.getpid())
        raise RuntimeError("no compiler here")

    monkeypatch.setattr(ahead_of_time, "_make", failing)
    with pytest.raises(RuntimeError, match="no compiler here"):
        ahead_of_time.compiled(slope, (), (), code_cache.folder() / "slope.pt2")
    assert asked == [os.getpid()] and not list(cache.iterdir())  # the child's list is its own


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux alone ends a child with its parent")
def test_a_parent_that_is_killed_takes_the_child_along(cache, monkeypatch):
    code = """
import os, sys, time
from pathlib import Path
from potentials.runtime import ahead_of_time
def slow(*words):
    Path("child").write_text(str(os.getpid()))
    time.sleep(60)
ahead_of_time._make = slow
ahead_of_time._made_in_a_child(None, (), (), Path("code"))
"""
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=cache.parent, env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)})
    told = cache.parent / "child"
    until = time.monotonic() + 60
    while not (told.exists() and told.read_text()) and time.monotonic() < until:
        time.sleep(0.05)
    parent.kill()
    parent.wait()
    until = time.monotonic() + 10
    while _runs(int(told.read_text())) and time.monotonic() < until:
        time.sleep(0.05)
    assert not _runs(int(told.read_text()))


def _runs(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_parent_that_is_interrupted_again_and_again_leaves_no_child(cache, monkeypatch):
    """As a stop does until it is heard: also while the child is being ended."""
    if "PYTEST_XDIST_WORKER" in os.environ:  # its other threads hear signals that are blocked in the main one: a process of its own has none
        alone = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_XDIST")}
        done = subprocess.run([sys.executable, "-m", "pytest", "-p", "no:cacheprovider", __file__, "-k", "interrupted_again_and_again"],
                              cwd=Path(__file__).parents[3], env=alone, capture_output=True, text=True, timeout=120)  # fmt: skip
        assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout
        return

    class Enough(BaseException):
        pass

    def interrupt(number, frame):
        names = set()
        while frame is not None:
            names.add(frame.f_code.co_name)
            frame = frame.f_back
        if names & {"_made_in_a_child", "_put_an_end_to"}:
            raise Enough

    fork, born = os.fork, []

    def counted():
        born.append(fork())
        return born[-1]

    monkeypatch.setattr(os, "fork", counted)
    monkeypatch.setattr(ahead_of_time, "_make", lambda *a: time.sleep(60))
    monkeypatch.setattr(ahead_of_time, "HEARD", (*ahead_of_time.HEARD, signal.SIGALRM))
    before = signal.signal(signal.SIGALRM, interrupt)
    gc.disable()  # a collection calls back where no exception gets out,
    monkeypatch.setattr(sys, "unraisablehook", lambda told: None)  # and so does a finalizer
    try:
        for k in range(10):
            signal.setitimer(signal.ITIMER_REAL, 0.002 * (k + 1), 0.002)
            with pytest.raises(Enough):
                ahead_of_time._made_in_a_child(None, (), (), Path("code"))
            signal.setitimer(signal.ITIMER_REAL, 0)
            with pytest.raises(ChildProcessError):
                os.waitpid(born[-1], os.WNOHANG)  # waited for already
        assert len(born) == 10
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        gc.enable()


@needs_compiler
@pytest.mark.slow  # two compilations
@pytest.mark.filterwarnings("ignore")
def test_a_file_that_was_cut_short_is_made_anew(cache):
    example = torch.randn(5, 2, dtype=torch.float64), torch.tensor([0, 1, 1, 4])
    file = code_cache.folder() / "slope.pt2"
    file.write_bytes(b"PK\x03\x04 not a package")
    found = ahead_of_time.compiled(slope, example, ("n", "i"), file)
    torch.testing.assert_close(found(*example)[1], slope(*example)[1], rtol=1e-14, atol=1e-14)


def test_lengths_that_a_function_takes_for_one_are_refused(cache):
    def joined(x, y):
        return (x + y,)

    with pytest.raises(RuntimeError, match="for the same|length of"):
        ahead_of_time._make(joined, (torch.randn(4), torch.randn(4)), ("x", "y"), cache / "joined.pt2")


def test_the_name_of_a_file_knows_weights_settings_and_what_is_asked(cache):
    one, two = small("so3krates"), small("so3krates")
    two.load_state_dict(one.state_dict())
    assert identity_of(one) == identity_of(two)
    assert file_of(one, True) == file_of(two, True) != file_of(one, False)
    fast = with_radial_table(one)[0]
    assert identity_of(fast) == identity_of(with_radial_table(two)[0]) != identity_of(one)
    with torch.no_grad():
        next(two.parameters()).flatten()[0] += 1e-3
    assert identity_of(one) != identity_of(two) and identity_of(with_radial_table(two)[0]) != identity_of(fast)
    assert identity_of(one.double()) != identity_of(fast)


def test_looking_at_a_potential_does_not_change_its_name(cache):
    potential = small("so3krates")
    before = identity_of(potential)
    potential(graph_for(water(0), potential))
    assert identity_of(potential) == before


def test_a_folder_that_others_may_write_is_not_trusted(cache):
    cache.mkdir()
    cache.chmod(0o777)
    assert code_cache.folder() != cache
    cache.chmod(0o700)
    code_cache.folder.cache_clear()
    assert code_cache.folder() == cache


def test_the_longest_unused_files_go(cache, monkeypatch):
    monkeypatch.setattr(code_cache, "KEPT", 3)
    for k in range(5):
        path = code_cache.folder() / f"{k}.pt2"
        path.write_bytes(b"")
        os.utime(path, (k, k))
    code_cache.used(code_cache.folder() / "0.pt2")
    assert sorted(p.name for p in cache.iterdir()) == ["0.pt2", "3.pt2", "4.pt2"]
