"""Labelled structures: files to eV and Å, frames to graphs."""
from potentials.data.dataset import Batch, Dataset, batches, build_dataset, split
from potentials.data.filters import FilterConfig
from potentials.data.labelled import DataError, LabelKeys, LabelledStructure
from potentials.data.lammps import LammpsConfig
from potentials.data.read import read_labelled
from potentials.data.sources import FileConfig, Frames
from potentials.data.statistics import Statistics, statistics
from potentials.data.units import Units

__all__ = [
    "Batch", "DataError", "Dataset", "FileConfig", "FilterConfig", "Frames", "LabelKeys", "LabelledStructure", "LammpsConfig", "Statistics", "Units",
    "batches", "build_dataset", "read_labelled", "split", "statistics",
]  # fmt: skip
