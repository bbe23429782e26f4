"""Results of a calculator of which some are worked out when they are first asked for: guards look at every tenth step only."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any


class LazyResults(dict):
    """A dict some of whose values are still functions without arguments; whoever reads one, or goes through all, gets values."""

    def __init__(self, known: Mapping[str, Any], later: Mapping[str, Callable[[], Any]]):
        super().__init__(known)
        self._later = dict(later)

    def __getitem__(self, name: str) -> Any:
        if name in self._later:
            self[name] = self._later[name]()
        return super().__getitem__(name)

    def __setitem__(self, name: str, value: Any) -> None:
        self._later.pop(name, None)
        super().__setitem__(name, value)

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or name in self._later

    def get(self, name: str, default: Any = None) -> Any:
        return self[name] if name in self else default

    def pending(self) -> tuple[str, ...]:
        """Names of what has not been worked out."""
        return tuple(self._later)

    def _settled(self) -> dict[str, Any]:
        for name in self.pending():
            self[name]
        return {name: dict.__getitem__(self, name) for name in dict.__iter__(self)}

    def __iter__(self) -> Iterator[str]:
        return iter(self._settled())

    def __len__(self) -> int:
        return super().__len__() + len(self._later)

    def keys(self):
        return self._settled().keys()

    def values(self):
        return self._settled().values()

    def items(self):
        return self._settled().items()

    def copy(self) -> dict[str, Any]:
        return self._settled()

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (self._settled(),)
