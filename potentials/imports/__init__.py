"""Foreign weights: one file a format, each a function from a source file to a potential with its card."""
from potentials.registry import Registry

imports = Registry("import format", "potentials.imports", "potentials.imports")
