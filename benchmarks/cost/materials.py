"""What is measured when there are no weights and no data: random weights at real sizes, and a made-up clip."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

from patchvsr.acceleration import accelerate
from patchvsr.base import Base, cast, define
from patchvsr.codec import Codec, codecs
from patchvsr.errors import UserError
from patchvsr.loading import Parts, load_codec, load_parts
from patchvsr.method import PatchVSR
from patchvsr.model import PatchVSRModel, use_channels_last
from patchvsr.sizes import Size
from patchvsr.upscaler import Weights
from patchvsr.variants import VariantSpec, filled
from patchvsr.video import FrameWriter


def ready(spec: VariantSpec, device: torch.device, dtype: torch.dtype) -> PatchVSR:
    """The variant with its weights where it has any (packaged, or named by the spec), else with random ones.

    Random weights cost what trained ones do; `weights.status` says `untrained`.

    Raises:
        UserError: as `load_parts`.
    """
    if define(spec.base).kind == "nano" or spec.base_weights:
        return PatchVSR(spec, load_parts(spec, device, dtype), device)
    codec = _codec(spec, device, dtype)
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    try:
        # Made where and as it is needed: a large base in float32 on the CPU first would take minutes.
        torch.set_default_dtype(dtype)
        with torch.device(device):
            base = Base.build(define(spec.base))
            config = spec.adapter_config()
            model = PatchVSRModel.fresh(base, type(config)(**(config.to_dict() | {"lora_rank": 0})))
    finally:
        torch.set_default_dtype(before)
    definition = define(spec.base)
    model.fixed_prompt = torch.randn(1, definition.prompt_tokens, base.shape.text_dim).to(device, dtype)
    cast(model, dtype)
    use_channels_last(model)
    model = model.to(device).eval().requires_grad_(False)
    accelerate(model, device, attention=spec.attention, quantize=spec.quantize, compile=spec.compile)
    return PatchVSR(spec, Parts(codec, model, None, Weights("untrained", {}), dtype), device)


def _codec(spec: VariantSpec, device: torch.device, dtype: torch.dtype) -> Codec:
    kind: Any = codecs.get(filled(spec).codec)
    if spec.codec_weights or not kind.needs:
        return load_codec(spec, define(spec.base), device, dtype)
    network = type(kind.on_meta().module)
    return kind(network().to(device, dtype).eval().requires_grad_(False))


def make_clip(path: Path, frames: int, size: Size, scale: float) -> Size:
    """A moving random picture as PNG images, of the size whose output is `size`.

    Raises:
        UserError: no whole input size gives that output at that scale.
    """
    low = round(size[0] / scale), round(size[1] / scale)
    if (round(low[0] * scale), round(low[1] * scale)) != size or 0 in low:
        raise UserError(
            f"no clip becomes {size[0]}x{size[1]} at scale {scale:g}; give a --frame whose sides {scale:g} divides, or "
            "another --scale"
        )
    coarse = torch.rand(1, 3, low[1] // 8 + 2, low[0] // 8 + 2, generator=torch.Generator().manual_seed(0))
    picture = F.interpolate(coarse, (low[1] + frames, low[0] + frames), mode="bicubic").clamp(0, 1)
    with FrameWriter(path) as writer:
        for index in range(frames):
            frame = picture[..., index : index + low[1], index : index + low[0]]
            writer.write((frame * 255).round().to(torch.uint8))
    return low
