"""Pairs of atoms that see each other."""
from potentials.neighbours.build import edges_of, graph_for, graph_of
from potentials.neighbours.search import all_pairs, pairs, pairs_plain

__all__ = ["all_pairs", "edges_of", "graph_for", "graph_of", "pairs", "pairs_plain"]
