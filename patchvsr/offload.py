"""Weights that wait elsewhere: diffusers' CPU offload for code that calls a model's parts instead of the model.

accelerate brings weights to the device in a hook around a module's `forward`. Our forward passes call submodules of a
transformer directly, so the hook of the whole module has to be run by hand.
"""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import nn


@contextmanager
def loaded(*modules: nn.Module) -> Iterator[None]:
    """Run accelerate's hooks of `modules` (each once) around a block that uses their parts and own parameters."""
    with ExitStack() as after:
        for module in dict.fromkeys(modules):
            hook = getattr(module, "_hf_hook", None)
            if hook is not None:
                hook.pre_forward(module)
                after.callback(hook.post_forward, module, None)
        yield


def compute_device(module: nn.Module) -> torch.device:
    """Where a module computes: what its hooks say, else where its weights are (the CPU if it has none).

    Offloaded weights lie on the CPU or on the meta device until they are needed, so their own device says nothing.
    """
    for part in module.modules():
        hook = getattr(part, "_hf_hook", None)
        for one in getattr(hook, "hooks", (hook,)):
            device = getattr(one, "execution_device", None)
            if device is not None:
                return torch.device(device)
    tensor = next(module.parameters(), None)
    return torch.device("cpu") if tensor is None else tensor.device
