"""Pairs of atoms that see each other."""
from potentials.neighbours.build import edges_of, graph_for, graph_of
from potentials.neighbours.search import pairs, pairs_plain

__all__ = ["edges_of", "graph_for", "graph_of", "pairs", "pairs_plain"]
