"""Files of weights: where the cache is, hashes, and safetensors that are checked when they are read."""
from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from patchvsr.errors import UserError

State = dict[str, Tensor]


def cache_dir() -> Path:
    """$PATCHVSR_CACHE, else $XDG_CACHE_HOME/patchvsr, else ~/.cache/patchvsr; it need not exist."""
    if own := os.environ.get("PATCHVSR_CACHE"):
        return Path(own).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base).expanduser() if base else Path.home() / ".cache") / "patchvsr"


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tensors_sha256(state: State) -> str:
    """SHA-256 over names, dtypes, shapes and values, whatever file they are kept in."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def load_safetensors(path: Path, sha256: str | None = None) -> State:
    """The tensors of a safetensors file, on the CPU.

    Args:
        path: the file.
        sha256: what the file's SHA-256 must be; None leaves it unchecked.

    Raises:
        UserError: the file is missing, damaged, or another one than it should be.
    """
    try:
        found = sha256_file(path) if sha256 is not None else None
        if found != sha256:
            raise UserError(
                f"weights file {path} has SHA-256 {found}, expected {sha256}: it is damaged or another file; "
                "replace it with the right one"
            )
        return load_file(path)
    except OSError as error:
        raise UserError(f"weights file {path} cannot be read: {error.strerror or error}") from error
    except SafetensorError as error:
        raise UserError(f"weights file {path} is no safetensors file or is damaged ({error}); replace it") from error


def keep(state: State, path: Path, about: dict[str, str]) -> None:
    """Write tensors as a safetensors file, with what is known of their source, and put it in its place in one step.

    Each process writes a file of its own and moves it into place whole, so two may do this at once. OSError passes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.stem}-", dir=path.parent) as made:
        written, ordinary = Path(made) / path.name, Path(made) / "ordinary"
        save_file(state, written, metadata={"source": json.dumps(about)})
        # safetensors lets nobody else read its files; a cache may be shared, as far as the user's umask says.
        ordinary.touch()
        written.chmod(ordinary.stat().st_mode)
        os.replace(written, path)


def provenance(path: Path) -> dict[str, str]:
    """What was written about the source of a cached file when it was stored; empty where nothing readable is.

    Reads the header alone, not the tensors.
    """
    try:
        with safe_open(path, "pt") as file:
            kept = json.loads((file.metadata() or {})["source"])
    except (OSError, SafetensorError, KeyError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}
