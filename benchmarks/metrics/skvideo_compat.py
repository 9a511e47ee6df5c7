"""scikit-video's measures under numpy 2, which took away names that version 1.1.11 still uses."""
from __future__ import annotations

import functools
import sys
import types
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import numpy as np

_ALIASES: dict[str, Any] = {"float": float, "int": int, "bool": bool, "object": object, "complex": complex, "str": str,
                            "product": np.prod}  # fmt: skip


@functools.cache
def measures() -> Any:
    """The module `skvideo.measure`, for use inside `old_names()`."""
    with old_names():
        return import_module("skvideo.measure")


@contextmanager
def old_names() -> Iterator[None]:
    """Within the block numpy has the names that it dropped, and `scipy.misc` can be imported.

    They go again afterwards: other packages ask numpy for these names to tell its version. scikit-video looks them up
    when it computes, so its functions are called within such a block.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy warns when it is asked for some of these
        absent = {name: value for name, value in _ALIASES.items() if not hasattr(np, name)}
    for name, value in absent.items():
        setattr(np, name, value)
    # Imported by measures that this package does not call; newer scipy has no such module.
    empty = types.ModuleType("scipy.misc")
    placed = sys.modules.setdefault("scipy.misc", empty) is empty
    try:
        yield
    finally:
        if placed:
            del sys.modules["scipy.misc"]
        for name in absent:
            delattr(np, name)
