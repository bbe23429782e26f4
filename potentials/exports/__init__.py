"""Potentials for other programs: one file a format, each a function of a potential and a folder that writes it there."""
from potentials.registry import Registry

exports = Registry("export format", "potentials.exports", "potentials.exports")
