"""`patchvsr upscale`: its options, its progress, and what it says at the end."""
from __future__ import annotations

import argparse
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from patchvsr.errors import UserError

if TYPE_CHECKING:
    from patchvsr.request import Request
    from patchvsr.upscale import Done, Started

EXAMPLES = """examples:
  patchvsr upscale in.mp4 out.mp4                            four times the size, sound and frame times kept
  patchvsr upscale in.mov out.mp4 --size 3840x2160 --resume  a long clip: interrupted, the same command goes on
  patchvsr upscale in.mp4 out.mkv --codec ffv1               lossless
  patchvsr upscale in.mp4 frames --frames 100:124            a folder of PNG images
  patchvsr upscale frames out.mp4 --fps 24 --scale 2         from a folder of images
  patchvsr upscale in.mp4 out.mp4 --variant bicubic          any variant or baseline
"""


def add_to(commands: Any) -> None:
    """Add the subcommand."""
    made = commands.add_parser(
        "upscale",
        help="upscale a video, a folder of images or an image",
        description="Upscale a video, a folder of images or an image. The output appears when it is complete.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("source", metavar="IN", type=Path, help="a video, an image, or a folder of images")
    made.add_argument(
        "out", metavar="OUT", type=Path, help=".mp4 .mov .mkv .webm, .png, or without suffix: a folder of PNG images"
    )
    size = made.add_mutually_exclusive_group()
    size.add_argument("--scale", type=float, help="factor of at least 1 (default: 4)")
    size.add_argument("--size", help="WIDTHxHEIGHT of the output as displayed, of the input's shape: 3840x2160")
    made.add_argument("--variant", default="full", help="a variant or baseline, with overrides (default: full)")
    made.add_argument("--frames", metavar="A:B", help="only frames A to before B, counted from 0; both may be left out")
    made.add_argument("--caption", help="what the video shows, for variants that use a caption")
    made.add_argument("--seed", type=int, default=0, help="of the noise (default: 0)")
    made.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    made.add_argument("--dtype", default="auto", help="auto (the fastest), bfloat16, float16, float32 (default: auto)")
    coding = made.add_argument_group("encoding")
    coding.add_argument("--codec", help="h264, hevc, vp9, av1, prores or ffv1 (default: by suffix and depth)")
    coding.add_argument("--crf", type=int, help="quality, low is better (default: by codec; h264: 17)")
    coding.add_argument("--preset", help="the encoder's speed preset, such as slow or 8 (default: by codec)")
    coding.add_argument("--depth", type=int, choices=[8, 10, 12, 16], help="bits per channel (default: as the input)")
    coding.add_argument("--fps", help="frames per second of a video made of images, such as 24 or 30000/1001")
    coding.add_argument("--no-audio", action="store_true", help="leave the sound behind")
    coding.add_argument("--no-subtitles", action="store_true", help="leave subtitles behind")
    made.add_argument("--resume", action="store_true", help="go on from an interrupted run, and allow going on later")
    made.add_argument("--overwrite", action="store_true", help="replace OUT if it is there")
    made.add_argument("--quiet", action="store_true", help="say nothing but errors")


def run(args: argparse.Namespace) -> int:
    """Upscale; 0 when done, 130 when interrupted.

    Raises:
        UserError: bad input.
    """
    # Imported late, so that a typing error is answered at once.
    from patchvsr.request import check_paths

    request = request_of(args)
    check_paths(request)
    from patchvsr.parallel import speaks
    from patchvsr.upscale import Interrupted, upscale

    shown = Shown(args.out, args.quiet or not speaks())
    try:
        with _stopped_politely():
            done = upscale(request, shown.start, shown.tell)
    except (Interrupted, KeyboardInterrupt) as stop:
        shown.close()
        kept = "nothing was written"
        if args.resume and isinstance(stop, Interrupted):
            kept = f"{stop.kept} of {stop.frames} frames are kept; the same command goes on from there"
        print(f"patchvsr: interrupted; {kept}", file=sys.stderr)
        return 130
    finally:
        shown.close()
    shown.finish(done)
    return 0


def request_of(args: argparse.Namespace) -> Request:
    """The request that the arguments make.

    Raises:
        UserError: an argument that cannot be read.
    """
    from patchvsr.request import Request
    from patchvsr.sizes import parse_size

    return Request(
        source=args.source,
        out=args.out,
        scale=args.scale,
        size=parse_size(args.size) if args.size else None,
        variant=args.variant,
        frames=parse_frames(args.frames),
        caption=args.caption,
        seed=args.seed,
        device=args.device,
        dtype=args.dtype,
        codec=args.codec,
        crf=args.crf,
        preset=args.preset,
        depth=args.depth,
        fps=parse_fps(args.fps),
        audio=not args.no_audio,
        subtitles=not args.no_subtitles,
        resume=args.resume,
        overwrite=args.overwrite,
    )


def parse_frames(text: str | None) -> tuple[int | None, int | None]:
    """`10:20`, `10:`, `:20` or a single `10` as the first frame and the one past the last.

    Raises:
        UserError: any other text, or an empty part.
    """
    if text is None:
        return None, None
    match = re.fullmatch(r"(\d*)(:?)(\d*)", text.strip())
    if match is None or not (match[1] or match[3]):
        raise UserError(f"frames '{text}' is not A:B with frames counted from 0, such as 0:48, 100: or :24")
    first = int(match[1]) if match[1] else None
    if not match[2]:
        assert first is not None
        return first, first + 1
    last = int(match[3]) if match[3] else None
    if last is not None and last <= (first or 0):
        raise UserError(f"frames '{text}' is empty: {last} is not after {first or 0}")
    return first, last


def parse_fps(text: str | None) -> Fraction | None:
    """Frames per second as a number or a fraction.

    Raises:
        UserError: no number between 1/1000 and 1000.
    """
    if text is None:
        return None
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if not Fraction(1, 1000) <= rate <= 1000:
        raise UserError(f"--fps {text} is not a number of frames per second, such as 24 or 30000/1001")
    return rate.limit_denominator(1001)


class Shown:
    """What the user sees: a line on what is done, a bar with the time that is left, a line at the end."""

    def __init__(self, out: Path, quiet: bool) -> None:
        self.out, self.quiet = out, quiet
        self._bar: Any = None

    def start(self, started: Started) -> None:
        """Say what will be made, and what the user should know before waiting for it."""
        if self.quiet:
            return
        for note in started.notes:
            print(f"note: {note}", file=sys.stderr)
        size = f"{started.width}x{started.height} (x{started.scale:.4g})"
        before = f", {started.first} of them made before" if started.first else ""
        print(f"{self.out}: {size}, {started.frames} frames{before}", file=sys.stderr)
        from tqdm import tqdm

        # A log gets a line now and then; a terminal is redrawn.
        seconds = 0.5 if sys.stderr.isatty() else 30
        form = "{percentage:3.0f}% |{bar:24}| {n:.1f}/{total_fmt} frames, {elapsed} gone, {remaining} left{postfix}"
        self._bar = tqdm(
            total=started.frames, initial=started.first, mininterval=seconds, bar_format=form, file=sys.stderr
        )

    def tell(self, frames: float) -> None:
        """Move the bar."""
        if self._bar is not None and frames > self._bar.n:
            self._bar.update(frames - self._bar.n)

    def close(self) -> None:
        """End the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def finish(self, done: Done) -> None:
        """Say what was made and where the time went."""
        if self.quiet:
            return
        for note in done.notes:
            print(f"note: {note}", file=sys.stderr)
        # Writing beside upscaling took no time of its own.
        parts = {"reading": done.reading, "upscaling": done.upscaling, "writing": done.waiting + done.joining}
        total = max(sum(parts.values()), 1e-9)
        shares = ", ".join(f"{name} {seconds / total:.1%}" for name, seconds in parts.items())
        print(f"{self.out}: {done.frames} frames in {_duration(total)} ({shares})", file=sys.stderr)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


@contextmanager
def _stopped_politely() -> Iterator[None]:
    """A terminated job tidies up as an interrupted one does; what `nohup` had ignored stays ignored."""

    def stop(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    heard = [n for n in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) is not signal.SIG_IGN]
    before = {number: signal.signal(number, stop) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
