"""From an original file to the state dict that is kept: one function per format, under each network's own names."""
from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from patchvsr.errors import UserError
from patchvsr.weights.files import State
from patchvsr.weights.pickles import read_arrays, read_state_dict
from patchvsr.weights.torchscript import read_torchscript

ALEXNET = ((1, 0), (2, 3), (3, 6), (4, 8), (5, 10))
VGG16 = (
    (1, 0), (1, 2), (2, 5), (2, 7), (3, 10), (3, 12), (3, 14),
    (4, 17), (4, 19), (4, 21), (5, 24), (5, 26), (5, 28),
)  # fmt: skip


def state_dict(key: str | None = None) -> Callable[[Path], State]:
    """Converter of a state dict that `torch.save` wrote, under `key` if the file holds more; names are kept."""
    return lambda path: read_state_dict(path, key)


def lpips(net: str, layers: tuple[tuple[int, int], ...]) -> Callable[[Path], State]:
    """Converter from the JAX parameters (`net` and five linear heads) to the full state dict of `lpips.LPIPS`.

    Args:
        net: the backbone's key in the JAX parameters.
        layers: for each convolution in order, the slice of the network that holds it and its index in torchvision's
            `features`.
    """

    def kernel(array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array.transpose(3, 2, 0, 1)))  # HWIO to OIHW

    def convert(path: Path) -> State:
        parameters = read_arrays(path.read_bytes())
        # Constants of the published network, not trained.
        state = {
            "scaling_layer.shift": torch.tensor([-0.030, -0.088, -0.188]).reshape(1, 3, 1, 1),
            "scaling_layer.scale": torch.tensor([0.458, 0.448, 0.450]).reshape(1, 3, 1, 1),
        }
        for index, (part, feature) in enumerate(layers):
            convolution = parameters[net][f"Conv_{index}"]
            state[f"net.slice{part}.{feature}.weight"] = kernel(convolution["kernel"])
            state[f"net.slice{part}.{feature}.bias"] = torch.from_numpy(np.array(convolution["bias"]))
        for index in range(5):
            head = kernel(parameters[f"NetLinLayer_{index}"]["Conv_0"]["kernel"])
            # The network registers each head under two names.
            state[f"lin{index}.model.1.weight"] = head
            state[f"lins.{index}.model.1.weight"] = head.clone()
        return state

    return convert


def arrays(path: Path) -> State:
    """The arrays of an .npz file, names, shapes and dtypes kept.

    Raises:
        UserError: the file is damaged or holds anything but plain arrays.
    """
    try:
        with np.load(path, allow_pickle=False) as found:
            return {name: torch.from_numpy(np.ascontiguousarray(found[name])) for name in found}
    except (OSError, ValueError, TypeError, zipfile.BadZipFile) as error:
        raise UserError(f"{path.name} is damaged or holds more than arrays ({error}); not loaded") from error


def clip(path: Path) -> State:
    """The state dict of OpenAI's CLIP from its TorchScript archive, as `build_model` of that code takes it.

    Left out are the three sizes and the text mask, which that function works out from the shapes of the rest.

    Raises:
        UserError: the file is no such archive or is damaged.
    """
    worked_out = ("input_resolution", "context_length", "vocab_size", "attn_mask")
    return {name: value for name, value in read_torchscript(path).items() if name.rpartition(".")[2] not in worked_out}
