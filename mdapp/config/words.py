"""Words that several records share: help texts, and what can be said of a value before anything is loaded."""
from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from mdapp.quantities import quantity
from mdapp.record import chosen, nearest, whole

Dtype = Literal["float32", "float64"]

POTENTIAL = ("A file, a shipped potential (so3krates), a name (lj, emt, tblite:GFN2-xTB, ...; `mdapp potentials` lists them), or "
             "ase:package.module:Class. Several, repeated or as a pattern of files, are a committee.")
DEVICE = "cpu, cuda, cuda:N, or auto: the GPU when there is one."
DTYPE = "Precision of the potential: float32 or float64; its own when not given."
CHARGE = "Total charge of the structure in e, where the file does not say it or says it wrongly."
THREADS = "CPU threads of the potential; chosen by the size of the system and the free cores when not given."
RADIAL_TABLE = "With --compile or on a GPU, in single precision: read the filters of a distance from a table, whose error is below rounding and stated."
CUDA_GRAPHS = "On a GPU: capture a step once and replay it; without, every kernel is launched by itself."
COMPILE = "Evaluate the potential by compiled code (CPU), two to three times as fast: a minute the first time, then kept for later runs with the same potential."
LONG_RANGE = ("Cutoff of the long-range terms of a potential that has them, or none for all pairs; all pairs of an isolated molecule and "
              "12 Å in a cell when not given.")
ELECTROSTATICS = ("How the charges of a potential that has them act: pairs within the long-range cutoff, or ewald, all images of a cell. "
                  "pairs when not given.")
MULTIPLICITY = "Spin multiplicity of the structure (2S + 1), where the file does not say it or says it wrongly."


def ensemble_names() -> list[str]:
    """Names of the house's ensembles (its files) and of installed ones, none of them imported."""
    return plugin_names("mdapp.dynamics", "mdapp.ensembles")


def plugin_names(package: str, group: str) -> list[str]:
    """Names of a family's plug-ins: files of the house that register their own name, and entry points. Nothing is imported."""
    from importlib.metadata import entry_points
    from pathlib import Path

    folder = Path(__file__).parents[1].joinpath(*package.split(".")[1:])
    names = {f.stem.replace("_", "-"): f for f in folder.glob("*.py")}
    house = {name for name, f in names.items() if f'register("{name}")' in f.read_text(encoding="utf-8")}
    return sorted({*house, *(e.name for e in entry_points(group=group))})


def check_guard_word(word: str) -> None:
    """Refuse a guard that is not `on`, `off`, `NAME`, `no-NAME` or `NAME:key=value,...`."""
    if word in ("on", "off"):
        return
    name, _, settings = word.partition(":")
    known = plugin_names("mdapp.monitors", "mdapp.monitors")
    if name not in known and not (name.startswith("no-") and name[3:] in known and not settings):
        raise ValueError(f"guard '{word}' is unknown{nearest(name, ['on', 'off', *known])}; known: on, off, {', '.join(known)}, each also as no-NAME.")
    pairs(settings.split(",") if settings else (), f"guard '{word}'")


def check_move_word(word: str) -> None:
    """Refuse a move that is not `mixture`, `NAME`, or `NAME:key=value,...`."""
    if word == "mixture":
        return
    name, _, settings = word.partition(":")
    known = plugin_names("mdapp.minima.moves", "mdapp.moves")
    if name not in known:
        raise ValueError(f"move '{word}' is unknown{nearest(name, ['mixture', *known])}; known: mixture, {', '.join(known)}.")
    pairs(settings.split(",") if settings else (), f"move '{word}'")


def pairs(words: Iterable[str], where: str) -> dict[str, Any]:
    """`key=value` words as a mapping; values are numbers, true or false where they look so, else text."""
    found: dict[str, Any] = {}
    for word in words:
        key, equals, value = (part.strip() for part in word.partition("="))
        if not (key and equals and value):
            raise ValueError(f"{where}: expected key=value, got '{word}'.")
        if key in found:
            raise ValueError(f"{where}: '{key}' is given twice.")
        found[key] = _plain(value)
    return found


def _plain(word: str) -> Any:
    if word in ("true", "false"):
        return word == "true"
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            pass
    return word


def far_cutoff(value: float | str | None) -> float | str | None:
    """The cutoff of long-range terms in Å; "none" for all pairs, None where the potential may choose."""
    word = value.strip().lower() if isinstance(value, str) else value
    if word in (None, "auto"):
        return None
    if word == "none":
        return "none"
    if isinstance(word, str) and word.isalpha():
        raise ValueError(f"long_range_cutoff must be a length in Å, none (all pairs) or auto, got '{value}'.")
    length = quantity(value, "Å", "long_range_cutoff")
    if not length > 0:
        raise ValueError(f"long_range_cutoff must be > 0 Å, got {length:g}; none stands for all pairs.")
    return length


def check_common(config: Any) -> None:
    """What every verb that evaluates a potential asks for."""
    if not config.potential or not all(isinstance(p, str) and p for p in config.potential):
        raise ValueError("potential: name a file or an installed potential, for example --potential so3krates.pt.")
    whole(config, "threads", 1, 4096)
    if hasattr(config, "long_range_cutoff"):
        config._set("long_range_cutoff", far_cutoff(config.long_range_cutoff))
        if config.electrostatics is not None:
            chosen("electrostatics", config.electrostatics, ["pairs", "ewald"])
    if hasattr(config, "charge"):
        whole(config, "charge", -1000, 1000)
        whole(config, "multiplicity", 1, 1000)
    device = config.device
    if not (device in ("auto", "cpu", "cuda") or (device.startswith("cuda:") and device[5:].isdigit())):
        raise ValueError(f"device must be cpu, cuda, cuda:N or auto, got '{device}'.")
    if config.dtype not in (None, "float32", "float64"):
        raise ValueError(f"dtype must be float32 or float64, got '{config.dtype}'.")
