"""Reading and writing 12 frames of 640x360: H.264 both ways at the encoder's defaults, and PNG folders."""
from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from patchvsr.degradation import quantise
from patchvsr.video import open_source, write_png_folder
from patchvsr.video.colour import Colour
from patchvsr.video.encoders import choose
from patchvsr.video.segments import SegmentWriter

FRAMES, HEIGHT, WIDTH = 12, 360, 640
BT709 = Colour(matrix=1, primaries=1, transfer=1, full_range=False, depth=8)


@pytest.fixture(scope="module")
def clip() -> Tensor:
    """`[T, 3, H, W]`, 0..1: a picture that moves 2 pixels a frame, under fine grain that does not."""
    generator = torch.Generator().manual_seed(0)
    picture = F.interpolate(torch.rand(1, 3, 24, 48, generator=generator), (HEIGHT, WIDTH + 64), mode="bicubic")[0]
    grain = torch.randn(3, HEIGHT, WIDTH, generator=generator) * 0.01
    return torch.stack([picture[..., 2 * i : 2 * i + WIDTH] + grain for i in range(FRAMES)]).clamp(0, 1)


def encode(clip: Tensor, path: Path) -> Path:
    encoding = choose(path, 8, Fraction(25), codec="h264")
    writer = SegmentWriter(path, encoding, BT709, (WIDTH, HEIGHT), Fraction(1), len(clip))
    for frame in clip:
        writer.write(frame)
    writer.finish()
    return path


def read(path: Path) -> Tensor:
    with open_source(path) as source:
        return source[:]


@pytest.mark.benchmark(group="video")
@pytest.mark.reference("matmul")
def test_encode_h264(benchmark: Any, clip: Tensor, tmp_path: Path) -> None:
    assert benchmark(encode, clip, tmp_path / "clip.mkv").stat().st_size > 0


@pytest.mark.benchmark(group="video")
@pytest.mark.reference("memory")
def test_decode_h264(benchmark: Any, clip: Tensor, tmp_path: Path) -> None:
    assert benchmark(read, encode(clip, tmp_path / "clip.mkv")).shape == clip.shape


@pytest.mark.benchmark(group="video")
@pytest.mark.reference("python")
def test_write_png(benchmark: Any, clip: Tensor, tmp_path: Path) -> None:
    frames = quantise(clip)
    assert benchmark(write_png_folder, frames, tmp_path / "frames")


@pytest.mark.benchmark(group="video")
@pytest.mark.reference("python")
def test_read_png(benchmark: Any, clip: Tensor, tmp_path: Path) -> None:
    write_png_folder(quantise(clip), tmp_path / "frames")
    assert benchmark(read, tmp_path / "frames").shape == clip.shape
