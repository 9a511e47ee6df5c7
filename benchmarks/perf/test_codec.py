"""Encoding and decoding with each kind of codec; those with a network have random weights and small frames."""
from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from patchvsr.codec import Codec, PixelCodec, WanCodec
from patchvsr.codec.taehv import AutoencoderTinyHV
from patchvsr.codec.tiny import TinyWanCodec


def taehv() -> Codec:
    """The published architecture at half its widths."""
    return TinyWanCodec(AutoencoderTinyHV(encoder_width=32, decoder_widths=(128, 64, 32, 32)).eval())


def wan() -> Codec:
    """Wan's architecture at a twelfth of its width."""
    from diffusers import AutoencoderKLWan

    return WanCodec(AutoencoderKLWan(base_dim=8, dim_mult=[1, 1, 1, 1], num_res_blocks=1).eval())


CODECS = [
    pytest.param(PixelCodec, (1, 3, 1080, 1920), marks=pytest.mark.reference("memory"), id="pixel"),
    pytest.param(taehv, (5, 3, 96, 96), marks=pytest.mark.reference("matmul"), id="taehv"),
    pytest.param(wan, (5, 3, 64, 64), marks=pytest.mark.reference("matmul"), id="wan"),
]


def made(make: Any, shape: tuple[int, ...]) -> tuple[Codec, Tensor]:
    torch.manual_seed(0)
    return make(), torch.rand(shape)


@pytest.mark.benchmark(group="codecs")
@pytest.mark.parametrize(("make", "shape"), CODECS)
def test_encode(benchmark: Any, make: Any, shape: tuple[int, ...]) -> None:
    codec, frames = made(make, shape)
    assert benchmark(codec.encode, frames).shape[0] == codec.channels


@pytest.mark.benchmark(group="codecs")
@pytest.mark.parametrize(("make", "shape"), CODECS)
def test_decode(benchmark: Any, make: Any, shape: tuple[int, ...]) -> None:
    codec, frames = made(make, shape)
    assert benchmark(codec.decode, codec.encode(frames)).shape == shape
