"""Potentials that have a name and need no file: one factory a file, or an entry point of the group `mdapp.potentials`.

A factory is called with the keyword arguments `device` and `dtype` and returns an ASE calculator.
"""
from potentials.registry import Registry

named = Registry("potential", "potentials.named", "mdapp.potentials")
