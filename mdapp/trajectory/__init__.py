"""The run folder: frames, thermo table, events, checkpoints, lock; and frames of other programs."""
from mdapp.trajectory.checkpoint import LoadedCheckpoint, load_checkpoint, save_checkpoint
from mdapp.trajectory.events import EventLog, read_events, save_event_frames
from mdapp.trajectory.folder import RunFolder, create_run_folder, holds_run, open_run_folder, planned_run_folder
from mdapp.trajectory.lock import RunLock
from mdapp.trajectory.read import Series, load_mdtraj, load_series, read_frames, read_topology, sample_frames
from mdapp.trajectory.snapshots import atoms_of, write_frames, write_input
from mdapp.trajectory.thermo import ThermoWriter
from mdapp.trajectory.write import TrajectoryWriter, recover

__all__ = [
    "EventLog", "LoadedCheckpoint", "RunFolder", "RunLock", "Series", "ThermoWriter", "TrajectoryWriter",
    "atoms_of", "create_run_folder", "holds_run", "load_checkpoint", "load_mdtraj", "load_series", "open_run_folder", "planned_run_folder",
    "read_events", "read_frames", "read_topology", "recover", "sample_frames", "save_checkpoint", "save_event_frames", "write_frames", "write_input",
]  # fmt: skip
