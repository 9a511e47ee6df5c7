"""`python -m benchmarks.degrade CLIP --out DIR`: sharp frames and their degraded ones as DIR/GT/NAME and DIR/LQ/NAME.

What comes out is what `python -m benchmarks.run --lq DIR/LQ --gt DIR/GT` takes. Frames are cut at the right and the
bottom to whole multiples of the scale; the sizes are printed.
"""
from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from patchvsr.errors import UserError


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(prog="python -m benchmarks.degrade", description=__doc__.splitlines()[0])
    made.add_argument("clip", type=Path, help="a video, or a folder of frames")
    made.add_argument("--out", type=Path, required=True, help="folder for GT/NAME and LQ/NAME")
    made.add_argument("--scale", type=int, default=4, help="whole number, 2 or more (default: 4)")
    made.add_argument("--degradation", default="bicubic", help="bicubic or bilinear (default: bicubic)")
    made.add_argument("--start", type=int, default=0, help="first frame (default: 0)")
    made.add_argument("--frames", type=int, help="how many (default: all)")
    return made


def degrade(clip: Path, out: Path, scale: int, degradation: str, start: int, frames: int | None) -> str:
    """Write both folders and say what they hold.

    Raises:
        UserError: an unreadable clip, an unknown degradation, a scale that does not fit, or folders that exist.
    """
    from patchvsr.degradation import degradations, quantise, to_float
    from patchvsr.video import read_frames, write_png_folder

    method = degradations.get(degradation)
    targets = [out / kind / clip.stem for kind in ("GT", "LQ")]
    for target in targets:
        if target.exists():
            raise UserError(f"{target} exists; remove it or give --out another folder")
    sharp = read_frames(clip, start, frames)
    height, width = (size - size % scale for size in sharp.shape[-2:]) if scale >= 2 else (0, 0)
    if not height or not width:
        raise UserError(f"--scale {scale} does not fit frames of {sharp.shape[-1]}x{sharp.shape[-2]}; use 2 or more")
    sharp = sharp[..., :height, :width].contiguous()
    low = quantise(method(to_float(sharp), scale))
    for target, content in zip(targets, (sharp, low), strict=True):
        write_png_folder(content, target)
    return f"{len(sharp)} frames: {targets[0]} {width}x{height}, {targets[1]} {low.shape[-1]}x{low.shape[-2]}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; 2 with one sentence on stderr for bad input."""
    args = parser().parse_args(argv)
    try:
        print(degrade(args.clip, args.out, args.scale, args.degradation, args.start, args.frames))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
