"""Pickled weights, read without running anything that a pickle may ask for."""
from __future__ import annotations

import io
import pickle
import re
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from patchvsr.errors import UserError
from patchvsr.weights.files import State


def read_arrays(data: bytes) -> Any:
    """Unpickle dicts, lists and numbers that hold numpy arrays, and nothing else.

    Raises:
        UserError: the pickle is damaged or asks for anything but numpy's array constructors.
    """
    try:
        return _ArrayUnpickler(io.BytesIO(data)).load()
    except UserError:
        raise
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise UserError(f"the pickled weights are damaged: {type(error).__name__}: {error}") from error


class _ArrayUnpickler(pickle.Unpickler):
    _RECONSTRUCT = np.zeros(0).__reduce__()[0]
    # numpy 2 moved the first one; the old name is what old files hold.
    _ALLOWED = {
        ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
        ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._ALLOWED:
            raise UserError(f"the pickled weights ask for {module}.{name}, which weights have no need of; not loaded")
        return self._ALLOWED[module, name]


class Bystander:
    """Stands where a checkpoint holds an object that weights have no need of; whatever it is given is dropped."""

    def __new__(cls, *_: Any) -> Bystander:
        return super().__new__(cls)

    def __setstate__(self, state: Any) -> None:
        pass


# torch knows one list of allowed names for the whole process.
_ALLOWING = threading.Lock()
_ASKED = re.compile(r"(?:Unsupported global: GLOBAL|unsupported GLOBAL) (\S+)")
_BROKEN = re.compile(r"WeightsUnpickler error:\s+(.+)")


def read_checkpoint(path: Path, bystanders: Iterable[str] = ()) -> Any:
    """What `torch.save` wrote, by `torch.load` with `weights_only`: dicts, lists, texts, numbers and tensors.

    Args:
        path: the file.
        bystanders: full names of further classes and functions that it may ask for, as training programs leave their
            logs in checkpoints. None is imported or called: a `Bystander` stands in the place of each.

    Raises:
        UserError: the file cannot be read, is damaged, or asks for anything else.
    """
    allowed: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [(Bystander, name) for name in bystanders]
    try:
        with _ALLOWING, torch.serialization.safe_globals(allowed):
            return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UserError(f"{path.name} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise UserError(f"{path.name} is damaged or holds more than tensors ({_reason(error)}); not loaded") from error


def read_state_dict(path: Path, key: str | None = None) -> State:
    """The tensors of a state dict that `torch.save` wrote.

    Args:
        path: the file.
        key: the entry that holds the state dict, where the file holds more.

    Raises:
        UserError: the file is damaged, asks for anything but tensors, or holds no such state dict.
    """
    found = read_checkpoint(path)
    state = found.get(key) if key is not None and isinstance(found, dict) else found
    if not isinstance(state, dict) or not state or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise UserError(f"{path.name} holds no state dict{f' under {key!r}' if key else ''}; not loaded")
    # Weights of parallel training carry a prefix.
    return {name.removeprefix("module."): owned(value) for name, value in state.items()}


def owned(tensor: torch.Tensor) -> torch.Tensor:
    """A contiguous copy, as safetensors keeps no tensors that share memory."""
    return tensor.detach().clone().contiguous()


def _reason(error: Exception) -> str:
    """What was wrong, without torch's advice to load the file all the same."""
    text = str(error)
    if asked := _ASKED.search(text):
        return f"it asks for {asked[1]}"
    broken = _BROKEN.search(text)
    lines = [broken[1]] if broken else text.strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__
