"""Structures from files, with notes for the user, and the checks before the first force call."""
from mdapp.structure.checks import Finding, check_start, check_time_step
from mdapp.structure.read import read_structure

__all__ = ["Finding", "check_start", "check_time_step", "read_structure"]
