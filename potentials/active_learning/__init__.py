"""Which configurations are worth a label: those on which a committee disagrees, and of these such that are unlike each other."""
from potentials.active_learning.selection import farthest_points, uncertain_and_diverse

__all__ = ["farthest_points", "uncertain_and_diverse"]
