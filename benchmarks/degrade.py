"""`python -m benchmarks.degrade CLIP --out DIR`: sharp frames and their degraded ones as DIR/GT/NAME and DIR/LQ/NAME.

What comes out is what `python -m benchmarks.run --lq DIR/LQ --gt DIR/GT` takes. Frames are cut at the right and the
bottom to whole multiples of the scale; the sizes are printed. One pass reads, degrades and writes, so that memory does
not grow with the length of the clip. What is random follows from the name of the clip.
"""
from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from patchvsr.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(prog="python -m benchmarks.degrade", description=__doc__.splitlines()[0])
    made.add_argument("clip", type=Path, help="a video, or a folder of frames")
    made.add_argument("--out", type=Path, required=True, help="folder for GT/NAME and LQ/NAME")
    made.add_argument("--scale", type=int, default=4, help="whole number, 2 or more (default: 4)")
    made.add_argument(
        "--degradation",
        default="bicubic",
        help="bicubic, bilinear, bd (blur, then every n-th pixel), realworld (random, from the clip's name) or one of "
        "an installed package's (default: bicubic)",
    )
    made.add_argument("--start", type=int, default=0, help="first frame (default: 0)")
    made.add_argument("--frames", type=int, help="how many (default: all)")
    return made


def degrade(clip: Path, out: Path, scale: int, degradation: str, start: int, frames: int | None) -> str:
    """Write both folders, frame by frame, and say what they hold.

    Raises:
        UserError: an unreadable clip, an unknown degradation, a scale that does not fit, or folders that exist.
    """
    from patchvsr.degradation import degradations
    from patchvsr.video import FrameWriter, iter_frames

    method = degradations.get(degradation)
    targets = [out / kind / clip.stem for kind in ("GT", "LQ")]
    for target in targets:
        if target.exists():
            raise UserError(f"{target} exists; remove it or give --out another folder")
    source = iter_frames(clip, start, frames)
    first = next(source)
    height, width = (size - size % scale for size in first.shape[-2:]) if scale >= 2 else (0, 0)
    if not height or not width:
        raise UserError(f"--scale {scale} does not fit frames of {first.shape[-1]}x{first.shape[-2]}; use 2 or more")
    low_height, low_width = method.low_size(height, width, scale)
    with _nothing_left(out, *(target.parent for target in targets)):
        with FrameWriter(targets[0]) as sharp, FrameWriter(targets[1]) as low:

            def cut() -> Iterator[Tensor]:
                for frame in chain((first,), source):
                    frame = frame[..., :height, :width].contiguous()
                    sharp.write(frame[None])
                    yield frame

            for frame in method.stream(cut(), scale, clip.stem):
                low.write(frame[None])
    return (
        f"{low.frames} frames: {targets[0]} {width}x{height}, {targets[1]} {low_width}x{low_height}, made by "
        f"{method.identity}"
    )


@contextmanager
def _nothing_left(*folders: Path) -> Iterator[None]:
    """Remove the folders again, if what made them fails and leaves them empty; outer ones first."""
    new = [folder for folder in folders if not folder.exists()]
    try:
        yield
    except BaseException:
        for folder in reversed(new):
            with suppress(OSError):  # not there, or no longer empty
                folder.rmdir()
        raise


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
