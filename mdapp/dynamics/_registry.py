"""The family of ensembles: files of this folder, and entry points of the group `mdapp.ensembles`."""
from potentials.registry import Registry

ensembles = Registry("ensemble", "mdapp.dynamics", "mdapp.ensembles")
