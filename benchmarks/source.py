"""Hashes of code: what an upscaler's output depends on beside its settings, weights and input."""
from __future__ import annotations

import hashlib
import sys
from functools import cache
from pathlib import Path

import patchvsr
from patchvsr.plugins import plugin_files
from patchvsr.upscaler import Upscaler

_ASIDE = ("training", "video", "weights", "cli", "pipeline", "card", "request", "upscale.py", "checkpoints")
"""Beginnings of paths in `patchvsr` that no output of a run depends on: other ways in and out, and weights, which have
hashes of their own.
"""


def code_of(upscaler: Upscaler) -> str:
    """SHA-256 over the source files that an upscaler's output depends on: the method's, its own folder's, and those of
    `PATCHVSR_PLUGINS`.
    """
    module = sys.modules[type(upscaler).__module__]
    file = None if module.__file__ is None else Path(module.__file__)
    core = Path(patchvsr.__file__).parent
    plugins = plugin_files()
    parts = [_digest(core), *(hashlib.sha256(path.read_bytes()).hexdigest() for path in plugins)]
    if file is not None and file not in plugins and core not in file.parents:
        parts.append(_digest(file.parent))
    return hashlib.sha256("".join(parts).encode()).hexdigest()


@cache
def _digest(folder: Path) -> str:
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.suffix in (".py", ".yaml") and not (folder.name == "patchvsr" and name.startswith(_ASIDE)):
            found.update(f"{name}\0".encode())
            found.update(hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()
