"""Starting an arm from another arm's weights, where both have a part."""
from __future__ import annotations

from pathlib import Path

import torch

from patchvsr.errors import UserError
from patchvsr.model import PatchVSRModel
from patchvsr.weights import load_safetensors


def start_from(model: PatchVSRModel, path: Path) -> tuple[list[str], list[str]]:
    """Copy what the file and the model have in common into the model.

    A conditioning encoding of an arm that knows where a tile lies has more input columns; the others come first, and
    the new ones start at zero.

    Returns:
        Names of the model's tensors that the file lacks, and of the file's that the model has no place for.

    Raises:
        UserError: no such file, a damaged one, tensors of other sizes, or nothing in common.
    """
    if not path.is_file():
        raise UserError(f"start={path} does not exist; give the safetensors file of a trained arm")
    given, own = load_safetensors(path, None), model.trained_state()
    common = [name for name in own if name in given and name != "fixed_prompt"]
    if not common:
        raise UserError(f"start={path} has no tensor in common with this arm; give the file of an arm of this base")
    with torch.no_grad():
        for name in common:
            value, target = given[name], own[name]
            if value.shape == target.shape:
                target.copy_(value)
            elif value.ndim == 2 and value.shape[0] == target.shape[0] and value.shape[1] < target.shape[1]:
                target.zero_()
                target[:, : value.shape[1]] = value
            else:
                raise UserError(
                    f"start={path} does not fit this arm: '{name}' is {tuple(value.shape)}, expected "
                    f"{tuple(target.shape)}; give the file of an arm of this base"
                )
    return sorted(own.keys() - given.keys()), sorted(given.keys() - own.keys())
