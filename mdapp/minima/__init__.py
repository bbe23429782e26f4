"""Search for minima: moves, identity, library, landscape."""
