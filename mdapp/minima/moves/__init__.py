"""Moves of a search for minima: one file a move, or an entry point of the group `mdapp.moves`.

A move is a frozen dataclass whose fields are its options; see `mdapp.minima.moves._base.Move` for what it owes.
"""
from potentials.registry import Registry

moves = Registry("move", "mdapp.minima.moves", "mdapp.moves")
