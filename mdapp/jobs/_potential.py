"""The potential that a job asked for: loaded, known again, described."""
from __future__ import annotations

import glob
import hashlib
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mdapp.errors import PotentialError, UserError

FMAX = 0.01  # eV/Å, where a relaxation ends by default


@dataclass(frozen=True)
class LoadedPotential:
    """An ASE calculator and what is known of it."""

    calculator: Any
    title: str  # what a user calls it: the words of --potential
    source: str  # the file that was used, or where the name comes from
    fingerprint: str  # SHA-256 of the file, or of the name where there is none
    elements: tuple[int, ...] | None  # atomic numbers; None: any, or it does not say
    cutoff: float | None  # Å
    knows_charge: bool | None
    theory: str  # level of theory of the labels, "" where it does not say
    architecture: str
    dtype: str
    knows_spin: bool | None = None
    provides: tuple[str, ...] = ("energy", "forces", "stress")  # what may be asked of it
    conservative: bool = True  # its forces are the gradient of its energy
    equivariant: bool = True  # its forces turn with the structure
    net_force_zero: bool = True  # its forces sum to zero by construction
    typical_force: float | None = None  # eV/Å, of an atom in what it was made for; None: it does not say


def load(
    words: tuple[str, ...], device: str, dtype: str | None = None, long_range_cutoff: float | str | None = None, compiled: bool = False,
    electrostatics: str | None = None, radial_table: bool = False, cuda_graphs: bool = False,
) -> LoadedPotential:
    """Load what `--potential` names: one word, or several for a committee.

    Parameters
    ----------
    long_range_cutoff : Å, or "none" for all pairs; the potential's own choice when not given.
    compiled : evaluate by compiled code.
    electrostatics : "ewald" for all images of a cell.
    radial_table, cuda_graphs : see `potentials.calculator.PotentialCalculator`.

    Raises
    ------
    PotentialError : a file that cannot be used.
    UserError : a name that nothing has, an option that this potential does not take.
    """
    from potentials.calculator import load_calculator

    specs = expanded(words)
    options: dict[str, Any] = {"compiled": compiled, "radial_table": radial_table, "cuda_graphs": cuda_graphs}
    if electrostatics == "ewald":
        options["ewald"] = True
    if long_range_cutoff is not None:
        options["long_range_cutoff"] = None if long_range_cutoff == "none" else long_range_cutoff
    with translated(" ".join(specs)):
        calculator = load_calculator(specs[0] if len(specs) == 1 else specs, device=device, dtype=dtype, **options)
    if long_range_cutoff is not None and not getattr(getattr(calculator, "potential", None), "has_long_range", False):
        raise UserError(f"long_range_cutoff is given, but {' '.join(specs)} has no long-range terms. Leave it out.")
    card, file = getattr(calculator, "card", None), getattr(calculator, "source", None)
    elements, source = getattr(calculator, "elements", None), str(file.resolve()) if file is not None else " ".join(specs)
    return LoadedPotential(
        calculator, " ".join(specs), source, fingerprint_of(source, specs), None if elements is None else tuple(int(z) for z in elements),
        getattr(calculator, "cutoff", None), getattr(calculator, "knows_charge", None), str(getattr(card, "level_of_theory", "")).replace("not stated", ""),
        _architecture(calculator), _dtype(calculator, dtype), getattr(calculator, "knows_spin", None), typical_force=_typical_force(calculator), **_promises(calculator),
    )


def _promises(calculator: Any) -> dict[str, Any]:
    """What it provides and promises; of a stranger's calculator, which says nothing of promises, the best is assumed."""
    own = getattr(calculator, "potential", None)
    given = getattr(calculator, "implemented_properties", ())
    provides = getattr(own, "provides", None) or tuple(name for name in ("energy", "forces", "stress") if name in given)
    return {"provides": tuple(provides), **{name: bool(getattr(own, name, True)) for name in ("conservative", "equivariant", "net_force_zero")}}


def _typical_force(calculator: Any) -> float | None:
    """What the potential says itself, or the RMS of a force component in its training set; the least of a committee's."""
    own = getattr(calculator, "potential", None)
    said = []
    for member in getattr(own, "members", [own]):
        of_card = getattr(getattr(member, "card", None), "training", {}).get("forces_rms_eV_A")
        force = getattr(member, "typical_force", None) or of_card
        if isinstance(force, (int, float)) and 0 < force < math.inf:
            said.append(float(force))
    return min(said, default=None)


def sharp_enough(potential: LoadedPotential) -> float:
    """The largest force at which a relaxation has converged when nothing else is asked, eV/Å: 0.01, or 2 % of the potential's typical force, to one digit,
    where that is less (argon's strongest pull is 0.007 eV/Å)."""
    if potential.typical_force is None:
        return FMAX
    return min(FMAX, float(f"{potential.typical_force / 50:.0e}"))


def settle_promises(potential: LoadedPotential, ensemble: str, changes_cell: bool) -> list[str]:
    """Refuse what the potential cannot do; return warnings about what it does not promise.

    Parameters
    ----------
    ensemble : by its name, for messages: "npt-mtk", "nve".
    changes_cell : does the ensemble change the volume?

    Raises
    ------
    UserError : the ensemble needs a stress, and there is none.
    """
    if changes_cell and "stress" not in potential.provides:
        raise UserError(f"{potential.title} provides {' and '.join(potential.provides)}, and no stress, which {ensemble} needs. Take --ensemble nvt, or a "
                        "potential that provides a stress.")
    title, warnings = potential.title, []
    if not potential.conservative:
        if ensemble == "nve":
            warnings.append(f"The forces of {title} are not the gradient of an energy: in NVE the system may heat up or cool down steadily. Watch the "
                            "temperature, or take --ensemble nvt.")
        if "energy" not in potential.provides:
            warnings.append(f"{title} provides no energy: potential energies are written as 0, and the guard energy-drift is off. The guards of temperature, "
                            "forces and contacts watch.")
    if not potential.equivariant:
        warnings.append(f"The forces of {title} turn with the structure only as well as it has learnt to: results may hang on the orientation.")
    if not potential.net_force_zero:
        warnings.append(f"The forces of {title} need not sum to zero: the system as a whole may be pushed.")
    return warnings


def _architecture(calculator: Any) -> str:
    """Name of the architecture, or of the calculator's class where there is none."""
    potential = getattr(calculator, "potential", calculator)
    name = getattr(type(potential), "name", "")
    return name if isinstance(name, str) and name else type(potential).__name__  # ASE's calculators have a property of that name


def _dtype(calculator: Any, asked: str | None) -> str:
    """Precision of the potential's weights; float64 where it has none (a calculator of ASE)."""
    weights = getattr(getattr(calculator, "potential", None), "parameters", None)
    kinds = {str(w.dtype).removeprefix("torch.") for w in weights()} if weights is not None else set()
    return next(iter(kinds)) if len(kinds) == 1 else "float64" if not kinds else "mixed"


def expanded(words: tuple[str, ...]) -> tuple[str, ...]:
    """Patterns such as 'models/*.pt' become the files that they match, in order; other words stay."""
    found: list[str] = []
    for word in words:
        if any(c in word for c in "*?[") and not os.path.exists(word):
            files = sorted(glob.glob(word))
            if not files:
                raise UserError(f"potential '{word}': no file matches this pattern.")
            found += files
        else:
            found.append(word)
    return tuple(found)


def fingerprint_of(source: str, specs: tuple[str, ...]) -> str:
    """SHA-256 of the potential's files; of its name where it is no file."""
    digest = hashlib.sha256()
    for place in (source,) if len(specs) == 1 else specs:
        if Path(place).is_file():
            digest.update(file_hash(place).encode())
        else:
            digest.update(place.encode())
    return digest.hexdigest()


def file_hash(path: str | Path) -> str:
    """SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class translated:
    """Turns what potentials raise about the user's input into errors with an exit code."""

    def __init__(self, title: str):
        self.title = title

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        if error is None or isinstance(error, UserError) or not isinstance(error, Exception):
            return
        from potentials.checkpoint import PotentialFileError
        from potentials.registry import UnknownName

        if isinstance(error, UnknownName):
            raise UserError(str(error)) from error
        if isinstance(error, PotentialFileError) or isinstance(error, FileNotFoundError):
            raise PotentialError(str(error)) from error
        if is_out_of_memory(error):
            raise PotentialError(f"Not enough memory to load {self.title} on this device. Take --device cpu or --dtype float32.") from error
        if isinstance(error, ValueError):
            raise PotentialError(first_line(error)) from error
        if isinstance(error, (OSError, ImportError)) or self.title.startswith("ase:"):  # a stranger's class may raise anything
            raise PotentialError(f"{self.title} cannot be used ({type(error).__name__}): {first_line(error)}") from error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the device or the machine ran out of memory."""
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or "out of memory" in str(error).lower()


def first_line(error: BaseException) -> str:
    """An error's first line, or its kind where it has none, ending in a full stop."""
    lines = str(error).strip().splitlines()
    text = lines[0].strip() if lines else type(error).__name__
    return text if text.endswith((".", "!", "?")) else text + "."


def found_again(word: str, provenance: Mapping[str, Any]) -> str:
    """A potential as a folder's settings name it; the file's whole path where it was named relative to another folder than the present one.

    Parameters
    ----------
    provenance : [provenance] of run.toml: `folder`, in which the command was given, and `potential`, its file.
    """
    source, home = Path(str(provenance.get("potential", ""))), Path(str(provenance.get("folder", "")))
    return str(source) if source.is_file() and (home / word).resolve() == source and not Path(word).exists() else word
