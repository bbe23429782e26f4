"""`mdapp run`: a structure and a potential in, a trajectory with a verdict out.

Everything is read and checked before the folder comes into being, and the folder goes again if the first step was never reached.
"""
from __future__ import annotations

import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mdapp.config import RunConfig
from mdapp.errors import Interrupted, UserError
from mdapp.jobs._log import Teller
from mdapp.jobs._report import header, versions
from mdapp.jobs._session import RunResult, Session, go
from mdapp.jobs._start import Start, first_moment, prepare
from mdapp.jobs._stopping import Stopping
from mdapp.screen import Screen, silent
from mdapp.toml import to_toml, toml_value
from mdapp.trajectory import RunFolder, RunLock, create_run_folder, planned_run_folder, write_input
from mdapp.trajectory.files import write_text

if TYPE_CHECKING:
    from mdapp.dynamics._stepper import ASEStepper


def run(config: RunConfig, screen: Screen | None = None) -> RunResult:
    """Run a trajectory.

    Parameters
    ----------
    config : what is asked for.
    screen : where to show header, live line and verdict; nowhere when not given.

    Returns
    -------
    The folder, the verdict (sound, suspect, stopped), the exit code (0 finished, 3 interrupted, 4 stopped by a guard) and the summary.

    Raises
    ------
    UserError : the run is impossible as asked for; nothing was written. Or, as `Interrupted`, it could not be carried on.
    """
    screen = screen or silent()
    if config.replicas > 1:
        from mdapp.jobs.replicas import run_replicas

        return run_replicas(config, screen, deadline(config.wall_time, time.monotonic()))
    with Stopping(None, deadline(config.wall_time, time.monotonic())) as stopping:
        planned_run_folder(config.structure, config.ensemble, config.temperature, config.output)  # refuses before any work is done
        with stopping.at_once():  # compiling the potential may take a minute
            start = prepare(config, screen, stopping)
            stepper, watches = first_moment(start)
        refuse_to_begin(stopping)
        folder = create_run_folder(config.structure, config.ensemble, config.temperature, config.output)
        stopping.stop_file = folder.stop
        with RunLock(folder.path):  # whoever does not get it takes nothing away
            try:
                return begin(start, stepper, watches, folder, screen, stopping)
            except UserError:
                if not folder.summary.exists() and not _has_steps(folder):
                    folder.discard()
                raise


def begin(start: Start, stepper: ASEStepper, watches: list[Any], folder: RunFolder, screen: Screen, stopping: Stopping) -> RunResult:
    """The first session, in a folder that is there and locked."""
    run_id = uuid.uuid4().hex
    write_input(folder.input, start.original)
    write_topology(folder, start)
    write_text(folder.config, record(start, run_id))  # from here on the folder can be resumed
    teller = Teller(screen, folder.log)
    rows = header(start, folder.path)
    screen.header("mdapp run", rows)
    teller.rows("mdapp run", rows)
    teller.note(start.relaxation) if start.relaxation else None
    for warning in start.warnings:
        teller.warn(warning)
    return go(Session(start, folder, stepper, watches, run_id, stopping, teller))


def record(start: Start, run_id: str) -> str:
    """run.toml: every resolved setting, and where the run came from."""
    provenance = {
        "run_id": run_id, "structure": str(Path(start.config.structure).resolve()), "structure_sha256": start.structure_hash,
        "potential": start.potential.source,
        "potential_sha256": start.potential.fingerprint, "potential_dtype": start.potential.dtype, "folder": str(Path.cwd()),
    }  # fmt: skip
    lines = ["[provenance]", *(f"{key} = {toml_value(value)}" for key, value in provenance.items())]
    lines += ["", "[provenance.versions]", *(f"{name} = {toml_value(version)}" for name, version in versions().items())]
    return to_toml(start.config, "run") + "\n" + "\n".join(lines) + "\n"


def write_topology(folder: RunFolder, start: Start) -> None:
    """topology.pdb, in the residue order of trajectory.h5."""
    from mdapp.topology import write_pdb

    write_pdb(folder.topology, start.original.positions, start.topology, start.original.cell.array if start.original.pbc.all() else None)


def deadline(wall_time_s: float | None, begun: float) -> float | None:
    """When to stop so that the last state is on the disk in time: 2 % early, between 0.2 and 10 s."""
    if wall_time_s is None:
        return None
    return begun + max(0.0, wall_time_s - min(10.0, max(0.2, 0.02 * wall_time_s)))


def refuse_to_begin(stopping: Stopping, what_is_left: str = "nothing was written") -> None:
    """A signal that came while files were read: end before anything is written."""
    if stopping():
        raise Interrupted(f"Interrupted by {stopping.reason} before the first step; {what_is_left}.")


def _has_steps(folder: RunFolder) -> bool:
    """Whether a step was made and kept: more than the first line of the thermo table."""
    try:
        return len(folder.thermo.read_bytes().splitlines()) > 2
    except OSError:
        return False
