"""`--frequencies`: is the end of a relaxation a minimum, and what do its vibrations add?"""
from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mdapp.config import RelaxConfig
    from mdapp.relax import Minimum, Relaxed


@dataclass(frozen=True)
class Judged:
    """The end with its vibrations; both None where there was nothing to judge."""

    relaxed: Relaxed
    minimum: Minimum | None
    free_energy: float | None  # harmonic, eV, without the energy of the minimum

    @property
    def numbers(self) -> dict[str, Any]:
        """What a summary and a table say of them."""
        if self.minimum is None or self.free_energy is None:
            return {}
        modes = self.minimum.modes
        lowest = float(modes.frequencies_cm1[0]) if len(modes.frequencies_cm1) else None
        return {"n_imaginary": modes.n_imaginary, "descents": self.minimum.descents, "lowest_frequency_cm1": lowest,
                "zero_point_eV": modes.zero_point_energy, "free_energy_eV": self.relaxed.energy + self.free_energy}

    @property
    def sentence(self) -> str:
        """For the screen."""
        known = self.numbers
        if not known:
            return ""
        n, k = known["n_imaginary"], known["descents"]
        what = "a minimum" if n == 0 else f"no minimum: {n} imaginary mode{'s' if n > 1 else ''}"
        if n == 0 and (known["lowest_frequency_cm1"] or 0.0) < 0:
            what = f"perhaps a minimum, the softest mode being lost in noise of {self.minimum.modes.noise_cm1:.1f} cm⁻¹ (a smaller --fmax tells)"
        way = f" after {k} descent{'s' if k > 1 else ''} along imaginary modes" if k else ""
        lowest = "" if known["lowest_frequency_cm1"] is None else f", lowest frequency {known['lowest_frequency_cm1']:.1f} cm⁻¹"
        return f"{what}{way}{lowest}, zero point {known['zero_point_eV']:.4f} eV, harmonic free energy {known['free_energy_eV']:.4f} eV"


def judge(relaxed: Relaxed, evaluate: Any, config: RelaxConfig) -> Judged:
    """Frequencies of a converged structure, imaginary modes followed down."""
    from mdapp.relax import BatchOptions, follow_imaginary, harmonic_free_energy

    if not (config.frequencies and relaxed.converged):
        return Judged(relaxed, None, None)
    minimum = follow_imaginary(relaxed, evaluate, BatchOptions("lbfgs", config.sharp, max(config.steps, 1)))
    return Judged(minimum.relaxed, minimum, harmonic_free_energy(minimum.modes, config.temperature))
