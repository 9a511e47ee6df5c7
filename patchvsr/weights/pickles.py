"""Pickled weights, read without running anything that a pickle may ask for."""
from __future__ import annotations

import io
import pickle
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


def read_state_dict(path: Path, key: str | None = None) -> State:
    """The tensors of a state dict that `torch.save` wrote, by `torch.load` with `weights_only`.

    Args:
        path: the file.
        key: the entry that holds the state dict, where the file holds more.

    Raises:
        UserError: the file is damaged, asks for anything but tensors, or holds no such state dict.
    """
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UserError(f"{path.name} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # a damaged pickle can raise nearly anything
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(f"{path.name} is damaged or holds more than tensors ({reason[0]}); not loaded") from error
    state = found.get(key) if key is not None and isinstance(found, dict) else found
    if not isinstance(state, dict) or not state or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise UserError(f"{path.name} holds no state dict{f' under {key!r}' if key else ''}; not loaded")
    # Weights of parallel training carry a prefix. Copies, as safetensors keeps no tensors that share memory.
    return {name.removeprefix("module."): value.detach().clone().contiguous() for name, value in state.items()}
