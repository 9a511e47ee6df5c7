"""RealBasicVSR (Chan et al., CVPR 2022): from checkpoints of MMEditing and MMagic, which trained it, to our names."""
from __future__ import annotations

import re
from pathlib import Path

import torch

from patchvsr.errors import UserError
from patchvsr.weights.files import State, load_safetensors
from patchvsr.weights.pickles import owned, read_checkpoint

GENERATORS = ("generator_ema.", "generator.")
"""Prefixes of the generator's tensors, the one to prefer first: the authors test with the moving average of weights.
Checkpoints also hold the discriminator, the perceptual loss and a counter, which inference has no use for."""

# What MMEngine, under MMagic, pickles of its logs beside the weights.
LOGS = (
    "mmengine.logging.history_buffer.HistoryBuffer",
    "builtins.getattr",
    "numpy.ndarray",
    "numpy.dtype",
    *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("_reconstruct", "scalar")),
)
_RENAMED = (
    (re.compile(r"^basicvsr\.(backward|forward)_resblocks\."), r"basicvsr.\1_trunk."),
    (re.compile(r"^basicvsr\.upsample([12])\.upsample_conv\."), r"basicvsr.upconv\1."),
)
# Each convolution is a module of its own there; here they alternate with activations.
_FLOW = re.compile(r"^(basicvsr\.spynet\.basic_module\.\d+\.basic_module\.)(\d+)\.conv\.")


def convert(path: Path) -> State:
    """The generator's tensors of a checkpoint, under the names of `RealBasicVSRNetwork`.

    Args:
        path: a file of `torch.save`, or a safetensors file if it is called so: a whole checkpoint, or the generator's
            state dict alone, under MMEditing's names or already under ours.

    Raises:
        UserError: the file is damaged, asks for more than tensors and MMEngine's logs, or holds no state dict.
    """
    found = load_safetensors(path) if path.suffix == ".safetensors" else read_checkpoint(path, LOGS)
    if isinstance(found, dict):
        found = found.get("state_dict", found)
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        raise UserError(f"{path.name} holds no state dict; not loaded")
    generator = _generator({name.removeprefix("module."): value for name, value in found.items()})
    if not generator or not all(isinstance(value, torch.Tensor) for value in generator.values()):
        raise UserError(f"{path.name} holds no state dict of a generator; not loaded")
    state = {_renamed(name): owned(value) for name, value in generator.items()}
    if len(state) != len(generator):
        raise UserError(f"{path.name} holds the same tensor under two names; not loaded")
    return state


def _generator(found: dict) -> dict:
    for prefix in GENERATORS:
        if chosen := {name.removeprefix(prefix): found[name] for name in found if name.startswith(prefix)}:
            return chosen
    return found


def _renamed(name: str) -> str:
    for pattern, ours in _RENAMED:
        name = pattern.sub(ours, name)
    return _FLOW.sub(lambda match: f"{match[1]}{2 * int(match[2])}.", name)
