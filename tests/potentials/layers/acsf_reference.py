"""Reference values of symmetry functions, where they are at hand: files that a public package made."""
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.data import atomic_numbers

from potentials.graph import with_geometry
from potentials.layers.symmetry_functions import SymmetryFunction, SymmetryFunctions
from potentials.neighbours import graph_of

FOLDER = Path(__file__).resolve().parents[4] / "shared" / "reference" / "acsf"
NAMES = sorted(f.stem for f in FOLDER.glob("*.npz") if not f.stem.startswith("cutoff_functions") and "_aev_" not in f.stem)
AEV_NAMES = sorted(f.stem for f in FOLDER.glob("*_aev_*.npz"))

needs_reference = pytest.mark.skipif(not FOLDER.is_dir(), reason=f"no reference files in {FOLDER}")


def load(name):
    with np.load(FOLDER / f"{name}.npz", allow_pickle=False) as data:
        return dict(data)


def atoms_of(data):
    return Atoms(data["numbers"], data["positions"], cell=data.get("cell"), pbc=data.get("pbc", False))


def functions_of(data):
    number = {"": None, **atomic_numbers}
    columns = (data[k] for k in ("kind", "nb1", "nb2", "eta", "rs", "zeta", "lam", "rc"))
    found = []
    for kind, a, b, eta, rs, zeta, lam, rc in zip(*columns):
        angular = str(kind) in ("G4", "G5", "W4")
        weighted = str(kind).startswith("W")
        found.append(SymmetryFunction(
            str(kind), float(rc), None if weighted else number[str(a)], None if weighted or not angular else number[str(b)], float(eta), float(rs),
            zeta=float(zeta) if angular else 1.0, lam=float(lam) if angular else 1.0, cutoff_fn=str(data["cutoff"]), inner=float(data["inner"]),
        ))  # fmt: skip
    return found


def aev_functions(data):
    p = json.loads(str(data["params"]))
    species = [atomic_numbers[str(s)] for s in data["species_order"]]
    radial = [SymmetryFunction("AEV-R", p["Rcr"], s, eta=p["EtaR"], rs=rs) for s in species for rs in p["ShfR"]]
    angular = [
        SymmetryFunction("AEV-A", p["Rca"], a, b, eta=p["EtaA"], rs=rs, zeta=p["Zeta"], theta=theta)
        for k, a in enumerate(species) for b in species[k:] for rs in p["ShfA"] for theta in p["ShfZ"]
    ]  # fmt: skip
    return radial + angular, species


def descriptors(atoms, functions, elements, weights):
    """Descriptors G (n_atoms, K) of the first element's set; for each of `weights` (n_atoms, K) the gradients of their weighted sum to positions and strain."""
    module = SymmetryFunctions(functions, elements)
    graph = graph_of(atoms, max(f.cutoff for f in functions))
    positions = graph.positions.clone().requires_grad_(True)
    strain = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
    deformation = torch.eye(3, dtype=torch.float64) + 0.5 * (strain + strain.T)
    G = module.of_element(module(with_geometry(graph, positions @ deformation, graph.cell @ deformation)), 0)
    gradients = [torch.autograd.grad(G, [positions, strain], torch.from_numpy(w), retain_graph=True) for w in weights]
    return G.detach().numpy(), [(r.numpy(), e.numpy()) for r, e in gradients]
