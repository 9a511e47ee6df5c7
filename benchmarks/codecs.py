"""What codecs cost, and whether the tiles of Wan's show: needs no weights and no data.

FLOPs are counted at the published sizes on torch's meta device. Tone steps are those of a small Wan autoencoder with
random weights on a random picture, at the cuts of its tiles, tiled and undivided: 1 is a line like any other, and the
undivided picture says what chance gives.
"""
from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.metrics.seam import lines_along, tone_step
from patchvsr.codec import WanCodec, codecs
from patchvsr.errors import UserError
from patchvsr.sizes import Size, parse_size


def costs(frames: int, size: Size) -> Iterator[tuple[str, float, float]]:
    """Name, and TFLOP to encode and to decode, of every codec."""
    width, height = size
    for name in codecs.names():
        codec = codecs.get(name).on_meta()
        count = codec.flops(codec.padded_frames(frames), height, width)
        yield name, count.encode / 1e12, count.decode / 1e12


def seams(seed: int, tile: int, overlap: int) -> tuple[float, float, float]:
    """Of one random autoencoder: tone step tiled, undivided, and the decoder's error relative to the signal (RMS)."""
    from diffusers import AutoencoderKLWan

    height, width = 256, 960
    torch.manual_seed(seed)
    vae = AutoencoderKLWan(base_dim=16, dim_mult=[1, 2, 2, 2], num_res_blocks=1).eval()
    coarse = F.interpolate(torch.randn(1, 3, height // 32, width // 32), scale_factor=32, mode="bicubic")
    picture = (0.5 + 0.2 * coarse + 0.05 * torch.randn(1, 3, height, width)).clamp(0, 1)
    whole, tiled = WanCodec(vae, tile=2048), WanCodec(vae, tile=tile, overlap=overlap)
    latents = whole.encode(picture)
    expected, found = whole.decode(latents), tiled.decode(latents)
    cuts = tiled.cuts(height, width).columns
    error = (found - expected).pow(2).mean().sqrt() / expected.std()
    return _step(found, cuts), _step(expected, cuts), float(error)


def _step(frames: Tensor, cuts: tuple[int, ...]) -> float:
    lines = lines_along(cuts, frames.shape[-1], 4)
    assert lines is not None
    values = tone_step(frames[0], lines.positions).double()
    return float((values @ lines.cuts) / (values @ lines.references))


def main(argv: list[str] | None = None) -> int:
    """Run the command; 0 when done, 2 with one sentence for bad input."""
    made = argparse.ArgumentParser(prog="python -m benchmarks.codecs", description=__doc__)
    made.add_argument("--size", default="512x512", help="of the frames (default: 512x512)")
    made.add_argument("--frames", type=int, default=17, help="of the clip (default: 17)")
    made.add_argument("--overlaps", default="0,64,128", help="of Wan's tiles in pixels (default: 0,64,128)")
    args = made.parse_args(argv)
    try:
        print("codec   TFLOP to encode   to decode")
        for name, encode, decode in costs(args.frames, parse_size(args.size)):
            print(f"{name:<7} {encode:>15.3f} {decode:>11.3f}")
        print("\noverlap  seed  tone step, tiled  undivided  error of decoding")
        for overlap in (int(part) for part in args.overlaps.split(",")):
            for seed in range(3):
                tile = 512 if overlap else 480  # so that the cuts of both lie at about the same places
                tiled, whole, error = seams(seed, tile, overlap)
                print(f"{overlap:>7} {seed:>5} {tiled:>17.3f} {whole:>10.3f} {error:>18.4f}")
    except UserError as error:
        print(f"codecs: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
