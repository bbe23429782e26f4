"""A potential file (`.pt`): name of the architecture, its config, weights, and a card that says what it stands for.

A torch archive of tensors and plain values, opened with `weights_only=True`, always: reading one never runs code.
Everything in it is checked before use, and what is missing, foreign, misshapen or damaged is refused by name.
"""
from __future__ import annotations

import hashlib
import math
import os
import pickle
import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from ase.data import chemical_symbols
from torch import Tensor
from torch.nn.modules.module import register_module_buffer_registration_hook, register_module_parameter_registration_hook

from potentials.potential import Potential
from potentials.registry import UnknownName
from potentials.typed import ConfigError, from_mapping, to_mapping

FORMAT = "mdapp potential"
FORMAT_VERSION = 1
MAX_BYTES = 4 << 30
UNITS = {"energy": "eV", "length": "Å"}
DTYPES = {"float32": torch.float32, "float64": torch.float64}
WEIGHT_DTYPES = (*DTYPES.values(), torch.int64, torch.int32, torch.bool)
MAX_VALUES, MAX_DEPTH = 1_000_000, 50  # of config and card


class PotentialFileError(ValueError):
    """A potential file that cannot be used; the message says why and names what is wrong."""


@dataclass(frozen=True)
class Card:
    """What a potential stands for; plain data, shown by `mdapp potentials NAME`."""

    level_of_theory: str = "not stated"  # of the labels
    energy_zero: str = "not stated"  # "absolute", or "relative to atoms"
    description: str = ""
    licence: str = ""
    training: dict[str, Any] = field(default_factory=dict)  # summary: frames, steps, hours, errors
    data_hash: str = ""  # SHA-256 of the training data


def save_potential(path: str | Path, potential: Potential, card: Card | None = None) -> None:
    """Write a potential; the file appears whole or not at all.

    Raises
    ------
    ValueError : the potential's class is not a registered architecture.
    """
    name = getattr(type(potential), "name", None)
    if name is None:
        raise ValueError(f"{type(potential).__name__} has no registered name; decorate it with @architectures.register('name').")
    weights = {key: tensor.detach().cpu().contiguous() for key, tensor in potential.state_dict().items()}
    card = card or getattr(potential, "card", None) or Card()
    content = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "architecture": name,
        "config": to_mapping(potential.config),
        "elements": None if potential.elements is None else list(potential.elements),
        "cutoff": potential.cutoff,
        "units": UNITS,
        "dtype": _dtype_name(potential),
        "knows_charge": bool(potential.knows_charge),
        "card": to_mapping(card),
        "weights": weights,
        "checksum": checksum(weights),
    }
    if potential.domain is not None:
        tensors = {key: tensor.detach().cpu().contiguous() for key, tensor in potential.domain.tensors.items()}
        content["domain"] = {**tensors}
        content["domain_checksum"] = checksum(tensors)
    path = Path(path)
    scratch = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        torch.save(content, scratch)
        with open(scratch, "rb") as file:
            os.fsync(file.fileno())
        os.replace(scratch, path)
    finally:
        scratch.unlink(missing_ok=True)


def load_potential(path: str | Path, dtype: str | None = None) -> Potential:
    """Read a potential; its card is in ``potential.card``.

    Parameters
    ----------
    dtype : "float32" or "float64" for the network; as stored when not given.

    Raises
    ------
    PotentialFileError : anything that makes the file unusable.
    """
    # imported here: the registry's folder holds modules that need this one's neighbours, not this one
    from potentials.architectures import architectures

    if dtype is not None and dtype not in DTYPES:
        raise ValueError(f"dtype is '{dtype}'; allowed: {', '.join(DTYPES)}.")
    content = read_content(path)
    try:
        architecture = architectures.get(content["architecture"])
    except UnknownName as error:
        raise PotentialFileError(f"{path}: {error} A third-party one appears after installing its package.") from error
    try:
        config = from_mapping(architecture.Config, content["config"], f"{path}: config")
        card = from_mapping(Card, content["card"], f"{path}: card")
        potential = _built(architecture, config, content["weights"], path)
    except ConfigError as error:
        raise PotentialFileError(str(error)) from error
    except PotentialFileError:
        raise
    except (ValueError, TypeError, KeyError, IndexError, ArithmeticError, RuntimeError) as error:
        raise PotentialFileError(f"{path}: config does not make a {content['architecture']}: {error}") from error
    _take_weights(potential, content["weights"], path)
    if not math.isclose(potential.cutoff, content["cutoff"]):
        raise PotentialFileError(f"{path}: states a cutoff of {content['cutoff']} Å, but its config makes {potential.cutoff} Å.")
    stated = None if content["elements"] is None else tuple(sorted(content["elements"]))
    if stated != potential.elements:
        raise PotentialFileError(f"{path}: states elements {stated}, but its config makes {potential.elements}.")
    potential.card = card
    potential.domain = _domain(content, path)
    potential.to(DTYPES[dtype or content["dtype"]])
    return potential.eval()


def read_content(path: str | Path) -> dict[str, Any]:
    """The checked content of a potential file, before any architecture is built from it."""
    path = Path(path)
    if path.is_dir():
        raise PotentialFileError(f"{path} is a folder, not a potential file.")
    if not path.exists():
        raise PotentialFileError(f"There is no potential file {path}.")
    _check_archive(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        wanted = re.search(r"GLOBAL ([\w.]+)", str(error))
        asks = f" (it asks for {wanted[1]})" if wanted else ""
        raise PotentialFileError(
            f"{path} holds more than tensors and plain values{asks}, so opening it could run code. It was not loaded; ask its author for a "
            "potential file written by mdapp, or import it with `mdapp potentials import`."
        ) from error
    except Exception as error:  # torch raises many kinds for a damaged archive
        raise PotentialFileError(f"{path} is damaged and cannot be read ({type(error).__name__}).") from error
    _check_content(content, path)
    return content


def checksum(weights: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and bytes of all weights."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        tensor = weights[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def fingerprint(path: str | Path) -> str:
    """SHA-256 of a file, to know it again."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _check_archive(path: Path) -> None:
    """A stored (not compressed) zip whose members fit into the file: sizes are known before memory is taken."""
    size = path.stat().st_size
    if size == 0:
        raise PotentialFileError(f"{path} is empty.")
    if size > MAX_BYTES:
        raise PotentialFileError(f"{path} has {size / 1e9:.1f} GB; potential files up to {MAX_BYTES / 1e9:.1f} GB are read.")
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except OSError as error:
        raise PotentialFileError(f"{path} cannot be read: {error.strerror}.") from error
    except (zipfile.BadZipFile, ValueError, NotImplementedError, RuntimeError) as error:
        raise PotentialFileError(f"{path} is not a potential file, or was cut short: no torch archive was found in it.") from error
    if any(m.compress_type != zipfile.ZIP_STORED for m in members) or sum(m.file_size for m in members) > size:
        raise PotentialFileError(f"{path} is not a potential file: its archive is compressed, which torch never writes.")


_REQUIRED: dict[str, tuple[type, ...]] = {
    "format": (str,), "format_version": (int,), "architecture": (str,), "config": (dict,), "elements": (list, type(None)), "cutoff": (float, int),
    "units": (dict,), "dtype": (str,), "knows_charge": (bool,), "card": (dict,), "weights": (dict,), "checksum": (str,),
}  # fmt: skip

_OPTIONAL = ("domain", "domain_checksum")  # tensors of `potentials.uncertainty.Domain`, and their checksum


def _check_content(content: Any, path: Path) -> None:
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise PotentialFileError(f"{path} is a torch file, but not a potential of mdapp: it lacks the entry format = '{FORMAT}'.")
    missing = [key for key in _REQUIRED if key not in content]
    if missing:
        raise PotentialFileError(f"{path} lacks {', '.join(missing)}.")
    if content["format_version"] != FORMAT_VERSION:
        raise PotentialFileError(f"{path} has format version {content['format_version']}; this mdapp reads version {FORMAT_VERSION}. Update mdapp.")
    foreign = [str(key) for key in content if key not in (*_REQUIRED, *_OPTIONAL)]
    if foreign:
        raise PotentialFileError(f"{path} holds unknown entries: {', '.join(foreign)}.")
    for key, kinds in _REQUIRED.items():
        if not isinstance(content[key], kinds):
            raise PotentialFileError(f"{path}: {key} is {type(content[key]).__name__}, expected {kinds[0].__name__}.")
    for key in ("config", "card", "units", "elements"):
        _check_plain(content[key], f"{path}: {key}", finite=key != "card")
    if content["units"] != UNITS:
        raise PotentialFileError(f"{path}: units are {content['units']}, expected {UNITS}.")
    if content["dtype"] not in DTYPES:
        raise PotentialFileError(f"{path}: dtype is '{content['dtype']}'; allowed: {', '.join(DTYPES)}.")
    if not 0 < content["cutoff"] < 1000:
        raise PotentialFileError(f"{path}: cutoff is {content['cutoff']} Å, expected between 0 and 1000.")
    elements = content["elements"]
    if elements is not None and not all(isinstance(z, int) and 0 < z < len(chemical_symbols) for z in elements):
        raise PotentialFileError(f"{path}: elements holds something that is no atomic number.")
    size = path.stat().st_size
    for name, tensor in (*content["weights"].items(), *_domain_tensors(content, path)):
        plain = isinstance(name, str) and isinstance(tensor, Tensor) and tensor.layout == torch.strided and tensor.device.type == "cpu"
        if not plain or tensor.dtype not in WEIGHT_DTYPES or not tensor.is_contiguous():
            raise PotentialFileError(f"{path}: weight '{name}' is not a plain tensor.")
        size -= tensor.numel() * tensor.element_size()  # a view may claim more than is stored
        if size < 0:
            raise PotentialFileError(f"{path}: its weights claim to be larger than the file.")
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise PotentialFileError(f"{path}: weight '{name}' holds NaN or infinity.")
    if checksum(content["weights"]) != content["checksum"]:
        raise PotentialFileError(f"{path} is damaged: its weights do not match their checksum.")
    if "domain" in content and checksum(content["domain"]) != content.get("domain_checksum"):
        raise PotentialFileError(f"{path} is damaged: its training domain does not match its checksum.")


def _domain_tensors(content: dict[str, Any], path: Path) -> list[tuple[Any, Any]]:
    """Names and tensors of the training domain, none where the file holds no such thing."""
    found = content.get("domain", {})
    if not isinstance(found, dict):
        raise PotentialFileError(f"{path}: domain is {type(found).__name__}, expected dict.")
    return list(found.items())


def _domain(content: dict[str, Any], path: str | Path) -> Any:
    """The training domain that a file holds, None where it holds none."""
    if "domain" not in content:
        return None
    from potentials.uncertainty.domain import Domain

    try:
        return Domain(**content["domain"])
    except (TypeError, ValueError, AttributeError) as error:
        raise PotentialFileError(f"{path}: its training domain cannot be used: {error}") from error


def _check_plain(value: Any, where: str, *, finite: bool) -> None:
    """Finite numbers, text, None, lists and dicts of them, of bounded size."""
    stack, count = [(value, 0)], 0
    while stack:
        item, depth = stack.pop()
        count += 1
        if depth > MAX_DEPTH or count > MAX_VALUES:
            raise PotentialFileError(f"{where} holds more than {MAX_VALUES} values, or lists in lists deeper than {MAX_DEPTH}.")
        if type(item) is dict:
            stack += [(part, depth + 1) for pair in item.items() for part in pair]
        elif type(item) in (list, tuple):
            stack += [(part, depth + 1) for part in item]
        elif type(item) not in (str, int, float, bool, type(None)):
            raise PotentialFileError(f"{where} holds a {type(item).__name__}, expected numbers and text.")
        elif type(item) is float and not math.isfinite(item) and finite:
            raise PotentialFileError(f"{where} holds {item}, expected finite numbers.")


def _built(architecture: Any, config: Any, weights: Mapping[str, Tensor], path: str | Path) -> Potential:
    """The potential of a config: first without memory, and given up as soon as it asks for more numbers than the file holds.

    A config of a few bytes could otherwise ask for any amount of memory, or for layers without end.
    """
    with torch.random.fork_rng(devices=[]):
        with _no_larger_than(weights, path), torch.device("meta"):
            try:
                architecture(config)
            except (NotImplementedError, RuntimeError, TypeError):
                pass  # an error of the config comes again below; a constructor that reads its tensors cannot be tried without memory
        with _no_larger_than(weights, path):
            return architecture(config)


@contextmanager
def _no_larger_than(weights: Mapping[str, Tensor], path: str | Path) -> Iterator[None]:
    n_weights = sum(tensor.numel() for tensor in weights.values())
    left = {"parameters": 2 * n_weights + 10_000, "buffers": 2 * n_weights + 1_000_000}  # a few too many are named one by one later

    def counted(kind: str, tensor: Tensor | None) -> None:
        left[kind] -= 0 if tensor is None else tensor.numel()
        if left[kind] < 0:
            raise PotentialFileError(f"{path}: its config asks for a much larger potential than its {n_weights} weights can fill.")

    hooks = [
        register_module_parameter_registration_hook(lambda module, name, tensor: counted("parameters", tensor)),
        register_module_buffer_registration_hook(lambda module, name, tensor: counted("buffers", tensor)),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _take_weights(potential: Potential, weights: Mapping[str, Tensor], path: str | Path) -> None:
    expected = potential.state_dict()
    missing, foreign = sorted(set(expected) - set(weights)), sorted(set(weights) - set(expected))
    if missing or foreign:
        parts = [f"lacks {_some(missing)}"] * bool(missing) + [f"has {_some(foreign)}, which it should not"] * bool(foreign)
        raise PotentialFileError(f"{path}: the weights do not fit the architecture: it {' and '.join(parts)}.")
    for name, tensor in weights.items():
        if tensor.shape != expected[name].shape:
            raise PotentialFileError(f"{path}: weight '{name}' has shape {tuple(tensor.shape)}, expected {tuple(expected[name].shape)}.")
    if any(tensor.dtype == torch.float64 for name, tensor in weights.items() if name in dict(potential.named_parameters())):
        potential.double()
    potential.load_state_dict(dict(weights))


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _dtype_name(potential: Potential) -> str:
    kinds = {p.dtype for p in potential.parameters()}
    return "float64" if torch.float64 in kinds or not kinds else "float32"
