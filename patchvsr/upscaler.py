"""The one interface that PatchVSR variants and baselines share."""
from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from patchvsr.errors import UserError, nearest
from patchvsr.registry import Registry

if TYPE_CHECKING:
    from patchvsr.parallel import Group

Progress = Callable[[float], None]
"""Called with the finished share of one clip's work, 0..1."""


class Frames(Protocol):
    """Frames `[T, 3, H, W]`, float32, RGB, 0..1, that can be read a few at a time: a tensor, or a video on disk."""

    @property
    def shape(self) -> Sequence[int]:
        """T, 3, H, W."""

    def __len__(self) -> int:
        """T."""

    def __getitem__(self, index: slice, /) -> Tensor:
        """The frames of a slice, `[t, 3, H, W]`. Reading forward is cheap; reading backward may decode again."""


@dataclass(frozen=True, slots=True)
class Clip:
    """A clip to upscale; `name` seeds its noise together with the run's seed."""

    name: str
    frames: Frames
    caption: str | None = None


@dataclass(frozen=True, slots=True)
class Cuts:
    """Lines of the output, in pixels, where one tile's prediction hands over to another's or stops.

    A cut at `p` lies between pixels `p - 1` and `p`. `rows` are horizontal lines (y), `columns` vertical ones (x).
    `frames` are the same in time: a cut at `t` lies between frames `t - 1` and `t`, where the share of two chunks of
    frames in the output changes.
    """

    rows: tuple[int, ...]
    columns: tuple[int, ...]
    frames: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Weights:
    """What an upscaler's numbers rest on: `status` is `trained`, `untrained` or `none` (needs no weights)."""

    status: str
    sha256: dict[str, str]


class Upscaler(ABC):
    """Turns a low-resolution clip into `round(H * scale) x round(W * scale)` frames, as many as went in."""

    name: str

    def accept(self, clip: Clip, scale: float) -> dict[str, Any]:
        """Look at a clip before anything runs, without reading more of it than its shape.

        Returns:
            JSON-ready: what decides the output of this very clip beyond `describe`, such as the hash of a file that
            belongs to it. Under `note`, a sentence that readers of the result should see.

        Raises:
            UserError: this upscaler cannot take this clip, or not to this scale.
        """
        return {}

    @abstractmethod
    def upscale(self, clip: Clip, scale: float, seed: int = 0, progress: Progress | None = None) -> Iterator[Tensor]:
        """Upscale a clip.

        Args:
            clip: the low-resolution frames.
            scale: any factor of at least 1.
            seed: seeds whatever is random; the same seed gives the same bytes on a CPU.
            progress: told the finished share of the work.

        Yields:
            Consecutive chunks `[t, 3, round(H * scale), round(W * scale)]`, float32, 0..1, on the CPU. A chunk is not
            written to once it is yielded: it may be read while the next is made.
        """

    def upscale_from(
        self, first: int, clip: Clip, scale: float, seed: int = 0, progress: Progress | None = None
    ) -> Iterator[Tensor]:
        """What `upscale` yields, from frame `first` on: the same bytes, however they are cut into chunks.

        Here all frames are made and the first ones thrown away; an upscaler that need not do that overrides this.
        """
        position = 0
        for chunk in self.upscale(clip, scale, seed, progress):
            if position + len(chunk) > first:
                yield chunk[max(first - position, 0) :]
            position += len(chunk)

    def share(self, group: Group, job: dict[str, Any]) -> None:
        """Share the work of each clip with the other processes of a group, all of which make the same calls.

        Args:
            group: the processes; one alone changes nothing.
            job: what all of them must have been asked for.

        Raises:
            UserError: this upscaler works in one process only, or the processes do not agree on the job.
        """
        if group.size > 1:
            raise UserError(f"'{self.name}' works in one process; start it without torchrun")

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """JSON-ready: everything that decides the output, except clip, scale and seed."""

    @property
    def weights(self) -> Weights:
        """The weights in use; the default is that none are needed."""
        return Weights("none", {})

    @property
    def measured(self) -> dict[str, float] | None:
        """What the last finished `upscale` measured of itself, by the names of `benchmarks`' cost metrics.

        None, the default, leaves measuring to the caller. An upscaler whose work is done in another process, or was
        done long ago, knows better (`{}` where nothing is known).
        """
        return None

    @property
    def log(self) -> str:
        """What the last `upscale` printed, where that happened in another program; empty otherwise."""
        return ""

    @property
    def note(self) -> str:
        """A sentence that readers of the last `upscale`'s result should see, where only its end could tell; or empty.

        What can be told before it belongs to `accept`.
        """
        return ""

    def cuts(self, height: int, width: int, frames: int) -> Cuts | None:
        """Tile cuts in an output of this size, all steps' plans together; None where the output is not tiled."""
        return None


UpscalerFactory = Callable[[dict[str, str], torch.device, torch.dtype], Upscaler]
"""Makes an upscaler from the overrides typed after its name, a device and a compute dtype."""

upscalers: Registry[UpscalerFactory] = Registry("upscalers")


def create(text: str, device: torch.device | str = "cpu", dtype: torch.dtype = torch.bfloat16) -> Upscaler:
    """The upscaler for a variant or baseline as typed, such as `bicubic` or `full:steps=4`.

    Raises:
        UserError: an unknown name or override, parts that do not go together, or weights that do not fit.
    """
    from patchvsr.notation import split_name
    from patchvsr.variants import resolve, variant_names

    name, overrides = split_name(text)
    device = torch.device(device)
    if name in upscalers:
        return upscalers.get(name)(overrides, device, dtype)
    if name in variant_names():
        from patchvsr.method import PatchVSR

        return PatchVSR.load(resolve(text), device, dtype)
    raise UserError(f"unknown variant or baseline '{name}'{nearest(name, [*variant_names(), *upscalers.names()])}")
