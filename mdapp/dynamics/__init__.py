"""Ensembles, one file each, over ASE's integrators; the count of degrees of freedom; starting momenta."""
from importlib import import_module

from mdapp.dynamics._registry import ensembles

__all__ = ["ensembles", "degrees_of_freedom_of", "draw_momenta"]
_LATER = {"degrees_of_freedom_of": "mdapp.dynamics._base", "draw_momenta": "mdapp.dynamics._velocities"}


def __getattr__(name: str):  # these need ASE, which a list of names must not wait for
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LATER[name]), name)
