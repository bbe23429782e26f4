"""Architectures: one file each, found by its name."""
from potentials.registry import Registry

architectures = Registry("architecture", "potentials.architectures")
