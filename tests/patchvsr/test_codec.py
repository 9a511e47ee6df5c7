"""The interface, the registry, which codec fits which base, and tiles as such."""
from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from patchvsr.base import define
from patchvsr.codec import Codec, CodecFlops, PixelCodec, WanCodec, codecs, fitting
from patchvsr.codec.tiles import Feather, Grid, fuse, stitch
from patchvsr.errors import UserError
from patchvsr.loading import load_codec
from patchvsr.variants import resolve

CPU = torch.device("cpu")


def test_importing_the_interface_loads_no_autoencoder() -> None:
    code = "import sys, patchvsr.codec; print(*[name for name in sys.modules if name.startswith('diffusers')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_every_codec_is_found_by_name() -> None:
    assert {"pixel", "wan", "taehv"} <= set(codecs)
    assert codecs.get("wan") is WanCodec and codecs.get("pixel") is PixelCodec


def test_a_base_uses_its_own_codec_unless_another_is_named() -> None:
    assert resolve("full").codec == ""
    assert isinstance(load_codec(resolve("full"), define("nano"), CPU, torch.float32), PixelCodec)
    assert fitting("", "wan", "wan2.1-1.3b") is WanCodec
    assert fitting("taehv", "wan", "wan2.1-1.3b") is codecs.get("taehv")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("full:codec=wan", "'wan' does not fit base 'nano': it makes 16 channels for 8x8 pixels and 4 frames"),
        ("full:base=wan2.1-1.3b,codec=pixel", "'pixel' does not fit base 'wan2.1-1.3b'.*leave codec out"),
        ("full:codec=taehw", "unknown codec 'taehw'; did you mean 'taehv'"),
        ("full:codec_weights=x", "codec 'pixel' of base 'nano' has no weights"),
        ("full:base=wan2.1-1.3b", "codec 'wan' of base 'wan2.1-1.3b' needs weights: give the folder of diffusers'"),
        ("full:base=wan2.1-1.3b,codec=taehv", "codec 'taehv' .* needs weights: give taew2_1.safetensors"),
        ("full:base=wan2.1-1.3b,codec_weights=/no/such", "/no/such holds no diffusers autoencoder"),
    ],
)
def test_a_codec_that_does_not_fit_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        spec = resolve(text)
        load_codec(spec, define(spec.base), CPU, torch.float32)


def test_a_loaded_codec_of_other_sizes_than_its_class_is_refused() -> None:
    class Odd(WanCodec):
        def __init__(self) -> None:
            Codec.__init__(self)
            self.channels = 48

    with pytest.raises(UserError, match="48 channels for 8x8 pixels.* works on 16 channels"):
        fitting("wan", "wan", "wan2.1-1.3b", Odd())


def test_the_pixel_codec_costs_nothing_and_has_no_network() -> None:
    codec = PixelCodec.load("", CPU, torch.float32)
    assert codec.flops(5, 64, 64) == CodecFlops(0, 0, ())
    assert codec.module is None and codec.sha256 == {}
    with pytest.raises(UserError, match="PixelCodec has no weights"):
        PixelCodec.load("file", CPU, torch.float32)


@pytest.mark.parametrize(("size", "what"), [((0, 8, 8), "1 frames|1 \\+"), ((1, 6, 8), "multiples of 4 pixels")])
def test_sizes_that_would_be_cut_are_refused(size: tuple[int, int, int], what: str) -> None:
    with pytest.raises(UserError, match=what):
        PixelCodec().flops(*size)


@given(st.integers(1, 400), st.integers(2, 70), st.data(), st.booleans())
def test_tiles_cover_the_axis_and_share_what_they_should(
    length: int, tile: int, data: st.DataObject, tight: bool
) -> None:
    overlap = data.draw(st.integers(0, tile - 1))
    grid, wide = Grid.over(length, length, tile, overlap, tight), Grid.over(length, length, tile, overlap)
    axis = grid.rows
    assert axis.main[0] == 0 and axis.main[-1] + axis.size == length and axis.size <= tile
    assert all(left + axis.size - right >= overlap for left, right in zip(axis.main, axis.main[1:], strict=False))
    assert len(grid) == len(wide) == max(1, -(-(length - overlap) // (tile - overlap))) ** 2
    assert axis.size <= wide.rows.size
    for cut, left, right in zip(axis.cuts, axis.main, axis.main[1:], strict=False):
        assert cut - right >= overlap // 2 and left + axis.size - cut >= overlap // 2


@given(st.integers(1, 200), st.integers(2, 60), st.data())
def test_feathers_sum_to_one_and_end_softly(length: int, tile: int, data: st.DataObject) -> None:
    axis = Grid.over(length, length, tile, data.draw(st.integers(1, tile - 1))).rows
    total = torch.zeros(length)
    for start, weight in Feather().windows(axis):
        total[start : start + axis.size] += weight
        # Two tiles share the overlap evenly, and a third can only take more away.
        assert start == 0 or weight[0] <= 0.5 + 1e-6
        assert start + axis.size == length or weight[-1] <= 0.5 + 1e-6
    torch.testing.assert_close(total, torch.ones(length))


def encode(part: Tensor) -> Tensor:
    return F.avg_pool2d(part, 4) ** 2


def decode(part: Tensor) -> Tensor:
    return F.interpolate(part, scale_factor=4) + 1


@pytest.mark.parametrize("join", [fuse, stitch])
@pytest.mark.parametrize("size", [(5, 31), (10, 10), (23, 12), (1, 1)])
def test_tiles_of_a_local_codec_make_the_whole(join, size: tuple[int, int]) -> None:
    frames = torch.rand(3, 2, size[0] * 4, size[1] * 4)
    grid = Grid.over(*size, 10, 3)
    latents = join(frames, encode, grid, 4, 1)
    torch.testing.assert_close(latents, encode(frames))
    torch.testing.assert_close(join(latents, decode, grid, 1, 4), decode(encode(frames)))
