"""Errors of the user, and the exit code that each ends the program with."""
from __future__ import annotations

import unicodedata

EXIT_FINISHED = 0
EXIT_INTERNAL = 1
EXIT_USAGE = 2
EXIT_STOPPED = 3
EXIT_GUARD = 4
EXIT_INPUT = 5
EXIT_NOT_CONVERGED = 6


class UserError(Exception):
    """Something that the user can put right. The message is one or two sentences: what, what came, what is allowed, what to do."""

    exit_code = EXIT_USAGE


class OutputError(UserError):
    """The output folder cannot be used: it holds a run, is locked, or cannot be written."""

    exit_code = EXIT_USAGE


class StructureError(UserError):
    """A structure that cannot be read or simulated."""

    exit_code = EXIT_INPUT


class RunFolderError(UserError):
    """A run folder that is damaged or incomplete."""

    exit_code = EXIT_INPUT


class PotentialError(UserError):
    """A potential that cannot be loaded, or that does not fit the structure."""

    exit_code = EXIT_INPUT


class Interrupted(UserError):
    """A job that was ended from outside: by a signal before anything was kept, or by a full disk or a folder that has gone. What was written is whole."""

    exit_code = EXIT_STOPPED


def harmless(text: str) -> str:
    """Fit for a terminal: names and contents of files may hold control characters, which could move the cursor, colour what follows or hide it.

    They are shown as in Python ('\\x1b'); ends of lines and tabs stay.
    """
    if text.isprintable():
        return text
    return "".join(c.encode("unicode_escape").decode() if unicodedata.category(c) in ("Cc", "Cf", "Cs") and c not in "\n\t" else c for c in text)
