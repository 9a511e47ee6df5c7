"""`python -m benchmarks.holdout --data PACK [--clips DIR] --out GT`: ground truth of clips that were not trained on.

Writes the validation split of a training pack, and the middle frames of further videos, as folders of PNG that
`python -m benchmarks.run --gt GT --degradation bicubic` takes. Names are `SOURCE__NAME`, so that
`python -m benchmarks.compare` counts a source once; captions go into `captions.csv` beside them.
"""
from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterator
from pathlib import Path

from torch import Tensor

from benchmarks.suites.folders import read_captions
from patchvsr.errors import UserError
from patchvsr.training.sources import Footage
from patchvsr.video import VIDEO_SUFFIXES, write_png_folder

UNIT = 12
"""Frames are cut to multiples of it, so that x2, x3 and x4 fit."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.holdout", description=__doc__)
    parser.add_argument("--data", type=Path, help="training pack with a MANIFEST.csv that names splits")
    parser.add_argument("--split", default="val", help="of the pack; train is for choices that must not be made on "
                        "what is reported (default: val)")  # fmt: skip
    parser.add_argument("--count", type=int, help="so many files of the split, evenly spaced (default: all)")
    parser.add_argument("--clips", type=Path, help="folder of videos, searched through, that are no training data")
    parser.add_argument("--out", type=Path, required=True, help="where the clips go")
    parser.add_argument("--frames", type=int, default=5, help="frames of a video, from its middle (default: 5)")
    parser.add_argument("--largest", type=int, default=720, help="frames are cut to their middle of this height and "
                        "16/9 of it in width (default: 720)")  # fmt: skip
    return parser


def of_split(data: Path, split: str) -> Iterator[tuple[str, Path, str]]:
    """Name, file and caption of one of the pack's splits.

    Raises:
        UserError: no manifest with the columns file and split, or nothing in the split.
    """
    manifest = data / "MANIFEST.csv"
    if not manifest.is_file():
        raise UserError(f"{data} holds no MANIFEST.csv; give a training pack whose manifest names splits")
    with manifest.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row.get("split") == split]
    if not rows:
        raise UserError(f"{manifest} lists no file of split '{split}'")
    for row in rows:
        path = data / row["file"]
        yield f"{row.get('source_id') or path.stem}__{path.stem}", path, row.get("caption") or ""


def cut(footage: Footage, frames: int, largest: int) -> Tensor:
    """The middle `frames` frames, cut to their middle, uint8 `[T, 3, H, W]`."""
    count = min(frames, len(footage))
    clip = footage.read((len(footage) - count) // 2, count)
    for axis, limit in ((-2, largest), (-1, largest * 16 // 9)):
        size = min(clip.shape[axis], limit) // UNIT * UNIT
        clip = clip.narrow(axis, (clip.shape[axis] - size) // 2, size)
    return clip


def main(argv: list[str] | None = None) -> int:
    """Write the clips; exit code 2 for bad input."""
    args = parser().parse_args(argv)
    try:
        clips = list(of_split(args.data, args.split)) if args.data else []
        clips = clips[:: max(len(clips) // args.count, 1)][: args.count] if args.count else clips
        if args.clips:
            videos = sorted(p for p in args.clips.rglob("*") if p.suffix.lower() in VIDEO_SUFFIXES)
            captions = read_captions(args.clips / "captions.csv")
            clips += [(f"{path.stem}__{path.stem}", path, captions.get(path.stem, "")) for path in videos]
        if not clips:
            raise UserError("nothing to write; give --data, or --clips with a folder of videos")
        for name, path, _ in clips:
            write_png_folder(cut(Footage(path), args.frames, args.largest), args.out / name)
        with (args.out / "captions.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("clip", "caption"), *((name, caption) for name, _, caption in clips)])
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"wrote {len(clips)} clips to {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
