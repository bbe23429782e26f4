"""Names to classes: plug-ins found in a folder of the house or among the entry points of installed packages.

A plug-in's name is its file's name (`nvt-langevin` in `nvt_langevin.py`). Nothing is imported until its name is asked
for, so a broken plug-in harms only those who use it.
"""
from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any


class UnknownName(ValueError):
    """A name that no plug-in has."""


class Registry:
    """A family of plug-ins.

    Parameters
    ----------
    kind : what a member is called in messages, e.g. "architecture".
    package : the package of the house whose files hold members, e.g. "potentials.architectures".
    group : entry-point group of other packages' members; `package` when not given.
    """

    def __init__(self, kind: str, package: str, group: str | None = None):
        self.kind = kind
        self.package = package
        self.group = group or package
        self._members: dict[str, Any] = {}

    def register(self, name: str) -> Callable[[Any], Any]:
        """Class decorator: the class is known by `name` from here on."""

        def remember(member: Any) -> Any:
            known = self._members.get(name)
            if known is not None and (known.__module__, known.__qualname__) != (member.__module__, member.__qualname__):
                raise ValueError(f"Two {self.kind}s are named '{name}': {known.__module__} and {member.__module__}.")
            member.name = name
            self._members[name] = member
            return member

        return remember

    def get(self, name: str) -> Any:
        """The member of that name, imported now if it was not yet.

        Raises
        ------
        UnknownName : no such name; the message lists the known ones.
        """
        strangers = [e for e in entry_points(group=self.group) if e.name == name]
        owners = [f"{e.value} ({e.dist.name if e.dist else 'unknown package'})" for e in strangers]
        if name in self._house_files():
            owners.insert(0, f"{self.package}.{_module_name(name)}")
            if len(owners) > 1:
                raise ValueError(f"Two {self.kind}s are named '{name}': {' and '.join(owners)}. Uninstall one of them.")
            importlib.import_module(f"{self.package}.{_module_name(name)}")
        elif len(strangers) > 1:
            raise ValueError(f"Two {self.kind}s are named '{name}': {' and '.join(owners)}. Uninstall one of them.")
        elif strangers and name not in self._members:
            member = strangers[0].load()
            self._members.setdefault(name, member)
        if name not in self._members:
            raise UnknownName(self._unknown(name))
        return self._members[name]

    def names(self) -> list[str]:
        """All names: the house's files that register one, what was registered by hand, and entry points, unopened."""
        for name in self._house_files():
            importlib.import_module(f"{self.package}.{_module_name(name)}")
        return sorted({*self._members, *(e.name for e in entry_points(group=self.group))})

    def _house_files(self) -> set[str]:
        spec = find_spec(self.package)
        folders = list(spec.submodule_search_locations or []) if spec else []
        files = (f for folder in folders for f in Path(folder).glob("*.py"))
        return {f.stem.replace("_", "-") for f in files if not f.stem.startswith("_")}

    def _unknown(self, name: str) -> str:
        names = self.names()
        near = difflib.get_close_matches(str(name), names, n=1)
        guess = f" Did you mean '{near[0]}'?" if near else ""
        return f"No {self.kind} '{name}'.{guess} Installed: {', '.join(names)}."


def _module_name(name: str) -> str:
    return name.replace("-", "_")
