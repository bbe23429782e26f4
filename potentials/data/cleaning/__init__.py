"""Cleaning that tells: frames are read once, entered in a table, and suspected by name."""
from potentials.data.cleaning.finding import Finding
from potentials.data.cleaning.inspect import Inspection, inspect, write_rejected
from potentials.data.cleaning.settings import CleaningSettings
from potentials.data.cleaning.table import Collector, FrameTable, collect

__all__ = ["CleaningSettings", "Collector", "Finding", "FrameTable", "Inspection", "collect", "inspect", "write_rejected"]
