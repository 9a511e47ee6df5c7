"""Optional ways to make a model faster: attention backends, smaller numbers, compiled code, CUDA graphs.

Each is a field of a variant's spec and part of what its records say, for each changes the last bits of a result, and
`quantize` more than those. `python -m benchmarks.cost --measure throughput` says what they bring on a given machine.
"""
from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import torch
from diffusers.models.transformers.transformer_wan import WanTransformerBlock
from torch import nn

from patchvsr.errors import UserError, nearest
from patchvsr.model import PatchVSRModel
from patchvsr.nano import ResidualBlock

COMPILE = ("off", "blocks", "full", "graphs")
QUANTIZE = ("off", "int8", "fp8")


def accelerate(
    model: PatchVSRModel,
    device: torch.device,
    *,
    attention: str = "native",
    quantize: str = "off",
    compile: str = "off",
    backend: str = "inductor",
) -> None:
    """Change a model in place; call it once, with the weights in place and on their device.

    Args:
        model: ready for inference.
        device: where it computes.
        attention: a diffusers attention backend, such as `flash` or `_native_cudnn`; `native` is torch's own.
        quantize: `int8` or `fp8` products of the linear layers of transformer blocks (torchao, dynamic), or `off`.
        compile: `blocks` compiles the repeated blocks, which is quick to do; `full` the whole forward pass; `graphs`
            that, replayed as CUDA graphs where there is a GPU; or `off`.
        backend: of torch.compile.

    Raises:
        UserError: an option that does not exist, or that this machine cannot follow.
    """
    if attention != "native":
        _set_attention(model, attention)
    if quantize != "off":
        _quantize(model, device, quantize)
    if compile != "off":
        _compile(model, device, compile, backend)


def _set_attention(model: PatchVSRModel, name: str) -> None:
    parts: tuple[Any, ...] = (model.base.dit, model.adapter)
    try:
        for part in parts:
            part.set_attention_backend(name)
    except (ValueError, RuntimeError, ImportError) as error:
        raise UserError(f"attention={name} cannot be used here: {_first_line(error)}") from error


def _blocks(model: PatchVSRModel) -> Iterator[nn.Module]:
    return (part for part in model.modules() if isinstance(part, (WanTransformerBlock, ResidualBlock)))


def _quantize(model: PatchVSRModel, device: torch.device, kind: str) -> None:
    if kind not in QUANTIZE:
        raise UserError(f"unknown quantize '{kind}'{nearest(kind, QUANTIZE)}")
    if kind == "fp8" and (device.type != "cuda" or torch.cuda.get_device_capability(device) < (8, 9)):
        raise UserError("quantize=fp8 needs a GPU with fp8 products (compute capability 8.9 or more); use int8 or off")
    try:
        from torchao.quantization import (
            Float8DynamicActivationFloat8WeightConfig,
            Int8DynamicActivationInt8WeightConfig,
            quantize_,
        )
    except ImportError as error:
        raise UserError(f"quantize={kind} needs torchao: pip install 'patchvsr[quantize]'") from error
    config = Float8DynamicActivationFloat8WeightConfig() if kind == "fp8" else Int8DynamicActivationInt8WeightConfig()

    def large(module: nn.Module, name: str) -> bool:
        # Small layers lose more to rounding and to the scales' arithmetic than their products win.
        return isinstance(module, nn.Linear) and min(module.in_features, module.out_features) >= 512

    found = False
    for block in _blocks(model):
        found |= any(large(part, "") for part in block.modules())
        quantize_(block, config, filter_fn=large)
    if not found:
        raise UserError(f"quantize={kind}: no linear layer of this base is as wide as 512; leave it out")


def _compile(model: PatchVSRModel, device: torch.device, how: str, backend: str) -> None:
    if how not in COMPILE:
        raise UserError(f"unknown compile '{how}'{nearest(how, COMPILE)}")
    compilers = (os.environ.get("CXX") or "", "g++", "clang++", "c++")
    if device.type == "cpu" and backend == "inductor" and not any(shutil.which(name) for name in compilers if name):
        raise UserError(f"compile={how} on a CPU needs a C++ compiler (g++ or clang++); install one or use compile=off")
    if how == "blocks":
        for block in _blocks(model):
            block.compile(backend=backend)
        return

    def compiled(run: Callable[..., Any], mode: str | None = None) -> Any:
        return torch.compile(run, backend=backend, mode=mode if backend == "inductor" else None)

    adapter: Any = model.adapter
    for name in ("encode_patch", "encode_context", "context_keys"):
        setattr(adapter, name, compiled(getattr(adapter, name)))
    whole: Any = model
    whole.inject = compiled(model.inject)
    velocity = compiled(model.base.velocity, "reduce-overhead" if how == "graphs" else None)

    def replayed(*given: Any) -> Any:
        torch.compiler.cudagraph_mark_step_begin()
        return velocity(*given).clone()  # the next replay writes over it

    base: Any = model.base
    base.velocity = replayed if how == "graphs" else velocity


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
