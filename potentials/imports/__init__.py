"""Foreign weights: other programs' parameters under our names."""
