"""SO3LR's published parameters: `params.pkl` of the SO3LR repository, or the same arrays flattened in an `.npz`.

A. Kabylda, J. T. Frank, S. Suárez-Dou, A. Khabibrakhmanov, L. Medrano Sandonas, O. T. Unke, S. Chmiela, K.-R. Müller,
A. Tkatchenko, J. Am. Chem. Soc. 147, 33723 (2025).
"""
from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from potentials.architectures.so3krates import Config, So3krates
from potentials.checkpoint import Card
from potentials.imports import imports
from potentials.imports._flax_names import so3krates_state
from potentials.imports._numpy_pickle import MAX_BYTES, read_arrays

CONFIG = Config(
    elements=(1, 6, 7, 8, 9, 15, 16, 17),
    num_layers=3,
    num_features=128,
    num_heads=4,
    degrees=(1, 2, 3, 4),
    cutoff=4.5,
    cutoff_fn="phys",
    radial_basis_fn="bernstein",
    num_radial_basis_fn=32,
    message_normalization="avg_num_neighbors",
    avg_num_neighbors=13.168995780096482,
    residual_mlp_1=True,
    layer_normalization_1=True,
    layer_normalization_2=True,
    energy_regression_dim=128,
    use_charge_embed=True,
    use_spin_embed=True,
    zbl_repulsion_bool=True,
    electrostatic_energy_bool=True,
    electrostatic_energy_scale=4.0,
    dispersion_energy_bool=True,
    dispersion_energy_scale=1.2,
    output_is_zero_at_init=False,
)

CARD = Card(
    level_of_theory="PBE0+MBD",
    energy_zero="relative: trained on forces alone, only differences between conformations of one composition mean something",
    description="SO3LR: So3krates with short-range repulsion, electrostatics and dispersion. Kabylda et al., J. Am. Chem. Soc. 147, 33723 (2025).",
    licence="MIT (SO3LR authors)",
    training={"structures": "about 4 million: small molecules, fragments of biomolecules, dimers", "labels": "forces, dipoles, Hirshfeld ratios"},
)


@imports.register("so3lr")
def so3lr(source: str | Path) -> So3krates:
    """The potential from published parameters.

    Raises
    ------
    ValueError : a file that cannot be read safely, or parameters with other names or shapes than SO3LR's.
    """
    source = Path(source)
    arrays = _read(source)
    arrays = {name.removeprefix("params."): value for name, value in arrays.items()}
    potential = So3krates(CONFIG)
    try:
        state = so3krates_state(arrays)
    except KeyError as error:
        raise ValueError(f"{source}: SO3LR's parameter {error} is missing.") from error
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error
    expected = {name: value for name, value in potential.state_dict().items() if name != "element_energies.energies"}
    missing, foreign = sorted(set(expected) - set(state)), sorted(set(state) - set(expected))
    if missing or foreign:
        raise ValueError(f"{source} does not hold SO3LR's parameters: missing {missing[:3] or 'none'}, foreign {foreign[:3] or 'none'}.")
    for name, value in state.items():
        if value.shape != expected[name].shape:
            raise ValueError(f"{source}: parameter '{name}' has shape {tuple(value.shape)}, SO3LR's has {tuple(expected[name].shape)}.")
        if not bool(torch.isfinite(value).all()):
            raise ValueError(f"{source}: parameter '{name}' holds NaN or infinity.")
    potential.load_state_dict(state, strict=False)
    potential.card = CARD
    return potential.eval()


def _read(source: Path) -> dict[str, np.ndarray]:
    if not source.is_file():
        raise ValueError(f"There is no parameter file {source}.")
    if source.suffix == ".npz":
        try:
            with source.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                claimed = sum(member.file_size for member in archive.zip.infolist())
                if claimed > MAX_BYTES:
                    raise ValueError(f"it unpacks to {claimed / 1e9:.1f} GB")
                return {name: archive[name] for name in archive.files}
        except Exception as error:  # numpy raises many kinds for a damaged archive
            raise ValueError(f"{source} is not a readable .npz of plain arrays ({type(error).__name__}: {error}).") from error
    return read_arrays(source)
