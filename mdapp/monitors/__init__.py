"""Guards, one file each: a Frame in, a Verdict out."""
from mdapp.monitors._base import Verdict, Watch
from mdapp.monitors._registry import monitors

__all__ = ["monitors", "Verdict", "Watch"]
