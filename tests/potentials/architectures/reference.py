"""Reference numbers of the published code: random weights, four configurations, ethanol. They live beside the repository."""
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

from potentials.architectures import architectures
from potentials.graph import AtomicGraph
from potentials.imports._flax_names import so3krates_original_state, so3krates_state
from potentials.neighbours import graph_of
from potentials.potential import Potential

FOLDER = Path(__file__).resolve().parents[4] / "shared" / "reference" / "so3krates_random"
NAMES = ["sparse_F32_L2_l1234", "sparse_F48_L2_l123_full", "original_F48_L2_l123", "original_F32_L2_l1234_ln_res"]
SPARSE_OFF = dict(
    residual_mlp_1=False, residual_mlp_2=False, layer_normalization_1=False, layer_normalization_2=False, zbl_repulsion_bool=False,
    energy_learn_atomic_type_scales=False, energy_learn_atomic_type_shifts=False,
)  # fmt: skip


@dataclass(frozen=True)
class Reference:
    name: str
    potential: Potential  # float64, with the reference's weights
    flax: dict[str, np.ndarray]  # its parameters under their own names
    numbers: dict[str, np.ndarray]  # what it says
    graph: AtomicGraph

    @property
    def sparse(self) -> bool:
        return self.name.startswith("sparse")


def load(name: str) -> Reference:
    if not (FOLDER / f"{name}.npz").exists():
        pytest.skip(f"the reference numbers {name} are not here ({FOLDER})")
    options = json.loads((FOLDER / f"{name}.json").read_text())
    flax, said = dict(np.load(FOLDER / f"{name}_params.npz")), dict(np.load(FOLDER / f"{name}.npz"))
    options["degrees"] = tuple(options["degrees"])
    if name.startswith("sparse"):
        architecture, state, options = architectures.get("so3krates"), so3krates_state(flax), {**SPARSE_OFF, **options}
    else:
        options.pop("kernel_scale", None)  # applied to the stored weights already
        options["radial_cutoff_fn"] = options["radial_cutoff_fn"].removesuffix("_cutoff_fn")
        options["radial_basis_function"] = options["radial_basis_function"].replace("phys", "physnet")
        architecture, state = architectures.get("so3krates-original"), so3krates_original_state(flax)
        options.update(options.pop("layer"))
    potential = architecture(architecture.Config(**options)).double().eval()
    own = {"element_energies.energies"}  # the reference has no such table
    result = potential.load_state_dict(state, strict=False)
    assert not result.unexpected_keys and set(result.missing_keys) <= own, result
    atoms = Atoms(said["numbers"], said["positions"])
    if "total_charge" in said:
        atoms.info.update(charge=float(said["total_charge"]), multiplicity=1 + float(said["num_unpaired_electrons"]))
    return Reference(name, potential, flax, said, graph_of(atoms, potential.cutoff))
