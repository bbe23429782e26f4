"""However a potential runs away, in whatever ensemble: the stepper says `Exploded` and names atoms, and never an error of arithmetic."""
import numpy as np
import pytest
from mdapp.dynamics import draw_momenta, ensembles
from mdapp.simulation import ASEStepper, Exploded, simulate
from toys import Argon, argon, methanol

CASES = [(name, {}) for name in ensembles.names()] + [(name, {"flexible": True}) for name in ("npt-langevin", "npt-mtk")]


def torn(calculator, size, stress_too):
    """From the tenth evaluation on the forces (and the stress) are of this size."""
    plain = calculator.calculate

    def calculate(*words, **options):
        plain(*words, **options)
        if calculator.calls > 10:
            forces = calculator.results["forces"]
            with np.errstate(all="ignore"):
                calculator.results["forces"] = np.where(forces < 0, -1.0, 1.0) * size
            if stress_too and "stress" in calculator.results:
                calculator.results["stress"] = np.full(6, size)

    calculator.calculate = calculate


@pytest.mark.parametrize("size", [1e2, 1e4, 1e8, 1e60, 1e150, 1e306, np.inf, np.nan])
@pytest.mark.parametrize("name, options", CASES)
def test_forces_that_run_away_end_in_an_explosion_with_atoms(name, options, size):
    kind = ensembles.get(name)
    atoms = argon() if kind.needs_cell else methanol()
    torn(atoms.calc, size, stress_too=size != 1e4)
    rng = np.random.default_rng(1)
    atoms.set_momenta(draw_momenta(atoms, 60.0, rng))
    fields = {"temperature_K": 60.0, "barostat_time_fs": 50.0, **options}
    stepper = ASEStepper(atoms, kind(**{k: v for k, v in fields.items() if k in kind.__dataclass_fields__}), 2.0, rng)
    with pytest.raises(Exploded, match="not finite|in one step|the cell runs away") as told:
        for _ in range(400):
            stepper.step()
    assert told.value.atoms and stepper.step_number > 5


def test_a_calculator_with_an_error_of_its_own_is_not_taken_for_an_explosion():
    class Divides(Argon):
        def calculate(self, *words, **options):
            super().calculate(*words, **options)
            if self.calls > 5:
                1 / 0

    atoms, rng = argon(), np.random.default_rng(1)
    atoms.calc = Divides()
    atoms.set_momenta(draw_momenta(atoms, 60.0, rng))
    with pytest.raises(ZeroDivisionError):
        simulate(ASEStepper(atoms, ensembles.get("nve")(), 2.0, rng), 50)
