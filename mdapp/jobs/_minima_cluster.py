"""A search's hops on the workers of a cluster: what a worker is told, and how it makes itself ready."""
from __future__ import annotations

import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

from mdapp.cluster import Cluster
from mdapp.config import MinimaConfig, pairs
from mdapp.jobs._log import Teller
from mdapp.jobs._minima_start import Setting, moves_of
from mdapp.minima.driver import fitting_moves
from mdapp.minima.engine import Engine
from mdapp.minima.molecule import Molecule
from mdapp.minima.workers import Workers


def workers_of(setting: Setting, teller: Teller) -> Workers:
    """The workers that `--cluster` asks for, each with the search's potential.

    Raises
    ------
    UserError : the cluster cannot be reached or started.
    """
    c = setting.config
    cluster = Cluster(c.cluster or "local", c.workers, pairs(c.cluster_option, "cluster_option"))
    n_workers = max(c.workers or 0, len(cluster), 1)
    words = tuple(setting.potential.source if Path(setting.potential.source).is_file() and len(c.potential) == 1 else word for word in c.potential)
    config = replace(c, cluster=None, workers=None, cluster_option=(), threads=c.threads or 1, potential=words)
    batch = max(1, -(-(c.walkers or 1) // (2 * n_workers)))  # one at work and one in line for each
    return Workers(cluster, engine_on_worker, (uuid.uuid4().hex, (config, setting.molecule)), batch, teller.warn)


def engine_on_worker(data: tuple[MinimaConfig, Molecule]) -> Engine:
    """Called on a worker, once: loads the potential there."""
    from mdapp.jobs._compute import device_for, set_threads
    from mdapp.jobs._long_range import settle_long_range
    from mdapp.jobs._potential import load

    config, molecule = data
    set_threads(config.threads, len(molecule), config.compile)
    potential = load(config.potential, device_for(config.device), config.dtype, config.long_range_cutoff, False, config.electrostatics, config.radial_table,
                     config.cuda_graphs)
    settle_long_range(molecule.atoms(molecule.reference), config.long_range_cutoff, potential, config.electrostatics)
    nothing: Any = None
    return Setting(config, nothing, molecule, potential, fitting_moves(molecule, moves_of(config.move)), "", ()).engine()
