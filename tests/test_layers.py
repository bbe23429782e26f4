"""The floor plan, drawn from the code: who imports whom.

An import only ever points down. Imports inside functions (made when they are needed, not before) are read as well; the few
that point up are named below with their reason. A new arrow or a new room is a decision: it is made here.
"""
import ast
import functools
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

LAYERS = """
mdapp.__main__
mdapp.cli
mdapp.options
mdapp.jobs
mdapp.minima
mdapp.simulation mdapp.relax mdapp.plots mdapp.report mdapp.screen
mdapp.trajectory
mdapp.dynamics mdapp.monitors mdapp.structure mdapp.analysis mdapp.cluster
mdapp.topology
mdapp.config mdapp.observables mdapp.toml
mdapp.frame mdapp.errors mdapp.record mdapp.schedule mdapp.selection
mdapp.quantities
mdapp
potentials.named potentials.active_learning
potentials.calculator
potentials.evaluation
potentials.exports potentials.shallow
potentials.imports
potentials.training potentials.conformance potentials.combine potentials.words
potentials.runtime potentials.data
potentials.architectures potentials.checkpoint potentials.derivatives
potentials.uncertainty
potentials.layers potentials.neighbours
potentials.registry potentials.potential
potentials.graph potentials.typed potentials.shipped potentials.lazy_results
potentials
""".split("\n")

DEPTH = {room: depth for depth, line in enumerate(LAYERS) for room in line.split()}

UPWARD = {  # inside functions only
    ("potentials", "potentials.calculator"): "the public face, opened when a name is asked for",
    ("potentials.checkpoint", "potentials.architectures"): "a file names its architecture; the registry finds it",
    ("potentials.words", "potentials.named"): "a word that stands for nothing is answered with the names there are",
    ("mdapp.analysis", "mdapp.plots"): "`.plot()` of a result draws, and only where it is asked to; numbers need no picture",
    ("potentials.calculator", "potentials.named"): "a word names a potential; the registry finds it, and its factories return calculators",
}


def imports_of(path):
    """(module, inside a function, line) for each import of a file that ever runs; `from package import name` is package.name where that is a module."""
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    never = {id(node) for i in ast.walk(tree) if isinstance(i, ast.If) and ast.unparse(i.test) == "TYPE_CHECKING" for s in i.body for node in ast.walk(s)}
    inside = {id(node) for f in ast.walk(tree) if isinstance(f, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)) for node in ast.walk(f)}
    for node in ast.walk(tree):
        if id(node) in never:
            continue
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively; the house writes whole names."
            names = [f"{node.module}.{alias.name}" if _is_module(f"{node.module}.{alias.name}") else node.module for alias in node.names]
        else:
            continue
        for name in names:
            yield name, id(node) in inside, node.lineno


def _is_module(name):
    path = ROOT.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def module_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module):
    return ".".join(module.split(".")[:2])


FILES = sorted(f for wing in ("mdapp", "potentials") for f in (ROOT / wing).rglob("*.py"))


@functools.cache
def all_imports():
    """(module, imported module, inside a function, file:line)."""
    return [(module_of(f), name, deferred, f"{f.relative_to(ROOT)}:{line}") for f in FILES for name, deferred, line in imports_of(f)]


@functools.cache
def arrows():
    """(room, imported room, inside a function, file:line) of the house's own imports."""
    ours = [(room_of(a), room_of(b), *rest) for a, b, *rest in all_imports() if b.split(".")[0] in ("mdapp", "potentials")]
    return [arrow for arrow in ours if arrow[0] != arrow[1]]


def test_the_picture_was_drawn_from_something():
    assert len(FILES) > 80 and len(arrows()) > 100


def test_every_room_has_its_place_in_the_picture():
    rooms = {room_of(module_of(f)) for f in FILES} | {b for _, b, _, _ in arrows()}
    assert rooms <= DEPTH.keys(), f"Not in the picture: {sorted(rooms - DEPTH.keys())}. Say in LAYERS where they stand."


def test_imports_point_down():
    wrong = [f"{at}: {a} imports {b}" for a, b, deferred, at in arrows() if DEPTH[a] >= DEPTH[b] and not (deferred and (a, b) in UPWARD)]
    assert not wrong, "\n".join(["Imports that do not point down:", *wrong])


def test_exceptions_are_still_needed():
    assert UPWARD.keys() <= {(a, b) for a, b, deferred, _ in arrows() if deferred}


def test_potentials_never_imports_mdapp():
    assert [at for a, b, _, at in arrows() if a.split(".")[0] == "potentials" and b.split(".")[0] == "mdapp"] == []


@pytest.mark.parametrize(
    "package, rooms, verb",
    [
        ("matplotlib", ["mdapp.plots"], "only"),
        ("torch", ["mdapp.analysis", "mdapp.config", "mdapp.frame", "mdapp.observables", "mdapp.plots", "mdapp.cli", "mdapp.options"], "not"),
        ("ase", ["mdapp.cli", "mdapp.options", "mdapp.config", "mdapp.toml", "mdapp.quantities"], "not"),
        ("mdtraj", ["mdapp.trajectory", "mdapp.topology", "mdapp.analysis", "mdapp.jobs"], "only"),
        ("vesin", ["potentials.neighbours"], "only"),
    ],
)
def test_a_package_stays_in_its_rooms(package, rooms, verb):
    users = [(room_of(a), at) for a, b, _, at in all_imports() if b.split(".")[0] == package]
    wrong = [at for room, at in users if (room in rooms) == (verb == "not")]
    assert not wrong, f"{package} is imported in {', '.join(wrong)}; {verb} in {', '.join(rooms)}"
    if verb == "only":
        assert users  # else the rule guards nothing


def test_no_file_runs_code_from_data():
    """No pickle but where a reader of foreign weights allows three harmless names, and no eval, exec or unsafe loading anywhere."""
    for f in FILES:
        for node in ast.walk(ast.parse(f.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = ast.unparse(node.func)
            keywords = {k.arg: ast.unparse(k.value) for k in node.keywords}
            where = f"{f.relative_to(ROOT)}:{node.lineno}"
            assert name not in ("eval", "exec", "pickle.load", "pickle.loads", "yaml.load", "yaml.unsafe_load"), where
            if name == "torch.load":
                assert keywords.get("weights_only") == "True", where
            if name in ("np.load", "numpy.load"):
                assert keywords.get("allow_pickle", "False") == "False", where


def test_packages_only_hand_on_names():
    """An `__init__` of the house holds imports, a registry and lazy look-ups, no classes and no work of its own."""
    for f in FILES:
        if f.name != "__init__.py":
            continue
        kinds = (ast.Import, ast.ImportFrom, ast.Expr, ast.Assign, ast.AnnAssign)
        own = [n for n in ast.parse(f.read_text(encoding="utf-8")).body if not isinstance(n, kinds)]
        assert all(isinstance(n, ast.FunctionDef) and n.name in ("__getattr__", "__dir__", "version") for n in own), f.relative_to(ROOT)


def test_the_command_line_and_the_analysis_are_light():
    """`--help` must answer at once, and analysis must not need a potential: no heavy package comes in by import alone."""
    code = """
import importlib, pkgutil, sys
import mdapp, potentials, mdapp.cli, mdapp.config
heavy = sorted({"torch", "ase", "matplotlib", "mdtraj", "h5py", "scipy", "numpy"} & sys.modules.keys())
assert not heavy, ("mdapp.cli", heavy)
import mdapp.analysis, mdapp.frame, mdapp.observables
for module in pkgutil.iter_modules(mdapp.analysis.__path__, "mdapp.analysis."):
    importlib.import_module(module.name)
heavy = sorted({"torch", "matplotlib"} & sys.modules.keys())
assert not heavy, ("mdapp.analysis", heavy)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-1500:]
