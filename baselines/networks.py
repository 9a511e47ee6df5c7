"""What the networks of baselines share: filling them with released weights, and running a step of them."""
from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

from patchvsr.errors import UserError
from patchvsr.weights import State

Network = TypeVar("Network", bound=nn.Module)


def conv(inside: int, outside: int, kernel: int = 3) -> nn.Conv2d:
    """A convolution that keeps the size, of so many channels to so many."""
    return nn.Conv2d(inside, outside, kernel, padding=kernel // 2)


def filled(network: Network, state: State, source: str, described: str) -> Network:
    """A network with the tensors of a state dict, for inference; every tensor must have its place.

    Args:
        network: on torch's device `meta`, so that nothing is drawn for parameters that are replaced.
        state: the tensors, which the network takes over as they are.
        source: what they are called in an error.
        described: what the network is called in an error.

    Raises:
        UserError: a tensor is missing, left over or of another shape.
    """
    try:
        network.load_state_dict(state, strict=True, assign=True)
    except RuntimeError as error:
        # Left lenient, a network of another depth runs without complaint and loses 1.6 dB.
        details = " ".join(str(error).split())
        raise UserError(f"weights '{source}' do not fit {described}: {details}") from error
    return network.eval().requires_grad_(False)


@torch.no_grad()
def computed(step: Callable[..., Tensor], *tensors: Tensor | None) -> Tensor:
    """One step of a network without gradients; on an NVIDIA GPU in full float32, and by the same kernels every time."""
    # A generator must not hold these settings while its consumer runs, so each step sets them and puts them back.
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
        return step(*tensors)
