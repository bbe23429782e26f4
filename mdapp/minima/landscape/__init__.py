"""The landscape that minima lie in: saddles between them, their network, its disconnectivity graph, populations."""
from mdapp.minima.landscape.disconnectivity import Branch, Drawing, draw, tree
from mdapp.minima.landscape.network import Edge, Network
from mdapp.minima.landscape.populations import Populations, populations

__all__ = ["Branch", "Drawing", "Edge", "Network", "Populations", "draw", "populations", "tree"]
