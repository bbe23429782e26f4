"""The family of monitors: files of this folder, and entry points of the group `mdapp.monitors`."""
from potentials.registry import Registry

monitors = Registry("monitor", "mdapp.monitors", "mdapp.monitors")
