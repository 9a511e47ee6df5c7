"""Named, lazily imported components, open to third-party packages through entry points.

A registry maps a name to an object or to a `"module:object"` target that is imported when it is asked for, so
listing names imports nothing. Any installed package may add to it with an entry point in the group `patchvsr.<kind>`:

    [project.entry-points."patchvsr.modulation"]
    mine = "my_package.modulation:Mine"

A single file that is no package adds to it through `PATCHVSR_PLUGINS`, see `patchvsr.plugins`.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from patchvsr.errors import UserError, nearest
from patchvsr.plugins import load_plugins

T = TypeVar("T")


class Registry(Generic[T]):
    """Components of one kind by name.

    Args:
        kind: the word for one entry in messages and in the entry-point group (`patchvsr.<kind>`).
        targets: lazy entries, name to `"module:object"`.
    """

    def __init__(self, kind: str, targets: dict[str, str] | None = None) -> None:
        self.kind = kind
        self._entries: dict[str, T | str] = dict(targets or {})
        self._scanned = False

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator that adds an object under `name`; a second object of that name is an error."""

        def add(entry: T) -> T:
            present = self._entries.get(name)
            if present is not None and present is not entry and not isinstance(present, str):
                raise ValueError(f"{self.kind} '{name}' is registered twice")
            self._entries[name] = entry
            return entry

        return add

    def names(self) -> list[str]:
        """All names, sorted; imports none of them."""
        self._scan()
        return sorted(self._entries)

    def __contains__(self, name: object) -> bool:
        self._scan()
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def get(self, name: str) -> T:
        """The entry, imported if need be.

        Raises:
            UserError: the name is unknown (the message gives the nearest names) or its module cannot be imported.
        """
        self._scan()
        if name not in self._entries:
            raise UserError(f"unknown {self.kind} '{name}'{nearest(name, self._entries)}")
        entry = self._entries[name]
        if isinstance(entry, str):
            module, _, attribute = entry.partition(":")
            try:
                entry = getattr(import_module(module), attribute)
            except (ImportError, AttributeError) as error:
                raise UserError(f"{self.kind} '{name}' ({self._entries[name]}) cannot be loaded: {error}") from error
            self._entries[name] = entry
        return entry

    def _scan(self) -> None:
        load_plugins()
        if self._scanned:
            return
        self._scanned = True
        for point in entry_points(group=f"patchvsr.{self.kind}"):
            self._entries.setdefault(point.name, point.value)
