"""A clip of a suite: where its frames come from, and under which protocol."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from benchmarks.frames import Frames
from patchvsr.errors import UserError


@dataclass(frozen=True, kw_only=True)
class SuiteClip:
    """One clip to upscale, with its ground truth where there is one. Frames are read only when asked for.

    Attributes:
        suite, name: of the clip; names are unique in a suite.
        scale: upscaling factor; `round(h * scale) x round(w * scale)` is the ground truth's size.
        frames: number of frames that `lq` and `gt` give.
        caption: what the clip shows, for upscalers that take one.
        degradation: identity of the degradation that made `lq` from `gt`; None for frames that came as they are.
        licence: of the source.
        identify: makes `source`.
        open_lq, open_gt: give the frames, which are read when they are iterated; `open_gt` is None without ground
            truth.
    """

    suite: str
    name: str
    scale: float
    frames: int
    caption: str | None = None
    degradation: str | None = None
    licence: str | None = None
    identify: Callable[[], str]
    open_lq: Callable[[], Frames]
    open_gt: Callable[[], Frames] | None = None

    @cached_property
    def source(self) -> str:
        """Identity of the source data, with its SHA-256; equal sources hold equal frames."""
        return self.identify()

    @property
    def has_gt(self) -> bool:
        """Whether there is ground truth."""
        return self.open_gt is not None

    def lq(self) -> Frames:
        """The low-resolution frames, uint8 `[T, 3, h, w]`; made first, and kept, where a degradation defines them.

        Raises:
            UserError: they cannot be read or made; also while they are iterated.
        """
        return self.open_lq()

    def gt(self) -> Frames | None:
        """The ground truth, uint8 `[T, 3, H, W]`, or None. Errors as in `lq`."""
        return None if self.open_gt is None else self.open_gt()


def fits(low: tuple[int, int], high: tuple[int, int], scale: float) -> bool:
    """Whether frames of size `low` (height, width) upscaled by `scale` have size `high`."""
    return (round(low[0] * scale), round(low[1] * scale)) == high


def checked_scale(clip: str, low: tuple[int, int], high: tuple[int, int], scale: float | None) -> float:
    """The scale between two sizes (height, width): the one given, or else inferred.

    Raises:
        UserError: the sizes do not fit the scale, or no single scale gives one from the other.
    """
    ratios = [high[1] / low[1], high[0] / low[0]]
    least = max((large - 0.5) / small for large, small in zip(high, low, strict=True))
    most = min((large + 0.5) / small for large, small in zip(high, low, strict=True))
    candidates = [scale] if scale is not None else [float(round(ratios[0])), *ratios, (least + most) / 2]
    for candidate in candidates:
        if candidate >= 1 and fits(low, high, candidate):
            return candidate
    what = "one scale" if scale is None else f"scale {scale:g}"
    raise UserError(
        f"clip '{clip}': LQ of {low[1]}x{low[0]} and GT of {high[1]}x{high[0]} do not fit {what}; "
        "give the LQ and GT folders and the --scale that belong together"
    )


def checked_frames(clip: str, where: str, available: int, wanted: int | None) -> int:
    """The number of frames to use: those wanted, or else all.

    Raises:
        UserError: fewer than wanted are there, or none is wanted.
    """
    if wanted is None:
        return available
    if wanted < 1:
        raise UserError(f"{wanted} frames cannot be asked for; give --frames of at least 1")
    if wanted > available:
        raise UserError(f"clip '{clip}' has {available} frames ({where}) and {wanted} are asked for; lower --frames")
    return wanted
