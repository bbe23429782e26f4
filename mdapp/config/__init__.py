"""What was asked: one frozen dataclass a verb, filled from the command line, a TOML file or Python.

A field's name is the option's name with underscores; its metadata hold the help text and the unit that a bare number carries (see
`mdapp.quantities`). A value may be given with its unit as text and is a plain number in that unit from then on. Every record checks itself.
Nothing here imports torch, ase or numpy: help and refusals must be quick.
"""
from mdapp.config.analyse import AnalyseConfig
from mdapp.config.data import DataReportConfig, EvaluateConfig
from mdapp.config.label import LabelConfig
from mdapp.config.minima import LibraryConfig, MinimaConfig
from mdapp.config.relax import RelaxConfig
from mdapp.config.run import CheckConfig, ResumeConfig, RunConfig
from mdapp.config.words import DEVICE, Dtype, check_guard_word, check_move_word, ensemble_names, far_cutoff, pairs, plugin_names

__all__ = [
    "DEVICE", "AnalyseConfig", "CheckConfig", "DataReportConfig", "Dtype", "EvaluateConfig", "LabelConfig", "LibraryConfig", "MinimaConfig", "RelaxConfig",
    "ResumeConfig", "RunConfig", "check_guard_word", "check_move_word", "ensemble_names", "far_cutoff", "pairs", "plugin_names",
]  # fmt: skip
