"""What the adapters of other packages' potentials share: a package that is wanted, and a clear line where it is not there."""
from __future__ import annotations

import importlib
from types import ModuleType


def wanted(module: str, feature: str, package: str | None = None) -> ModuleType:
    """The module of an optional package.

    Parameters
    ----------
    feature : the word that asked for it, for the message.
    package : how pip calls it; the module's first name when not given.

    Raises
    ------
    ValueError : it is not installed, or cannot be imported.
    """
    package = package or module.split(".")[0]
    try:
        return importlib.import_module(module)
    except ImportError as error:
        there = isinstance(error, ModuleNotFoundError) and (error.name or "").split(".")[0] == module.split(".")[0]
        why = "which is not installed here" if there else f"which cannot be imported here ({error})"
        raise ValueError(f"{feature} needs the package {package}, {why}: pip install {package}.") from error
