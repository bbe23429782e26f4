"""What a single potential can say of its doubts: how far an atom's surroundings lie from those that it was trained on."""
from potentials.uncertainty.domain import Domain, domain_of, fit_domain

__all__ = ["Domain", "domain_of", "fit_domain"]
