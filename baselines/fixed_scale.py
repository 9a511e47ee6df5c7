"""Networks that upscale by one factor and no other."""
from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

from torch import Tensor

from baselines.options import Options
from patchvsr.degradation import resize_bicubic
from patchvsr.errors import UserError
from patchvsr.upscaler import Clip, Progress, Upscaler

RESIZES = ("bicubic",)


class FixedScale(Upscaler):
    """A network for one factor. Another one is refused, or made by resizing the network's result when that is asked.

    Args:
        resize: `bicubic` resizes the result to other scales (MATLAB's kernel, antialiased when it shrinks); an empty
            string refuses them.
    """

    factor = 4

    def __init__(self, resize: str = "") -> None:
        self.resize = resize

    @property
    def scaling(self) -> str:
        """The scales that it takes, for `describe`."""
        return f"{self.factor}, then resized ({self.resize})" if self.resize else str(self.factor)

    def accept(self, clip: Clip, scale: float) -> dict[str, Any]:
        """Nothing of a single clip decides more than `describe` says.

        Raises:
            UserError: the scale is another one, and nothing was said about resizing.
        """
        if scale != self.factor and not self.resize:
            raise UserError(
                f"baseline '{self.name}' upscales by {self.factor} only, not by {scale:g}; use scale {self.factor}, "
                f"or '{self.name}:resize=bicubic' to have its result resized"
            )
        return {}

    def upscale(self, clip: Clip, scale: float, seed: int = 0, progress: Progress | None = None) -> Iterator[Tensor]:
        """One frame `[1, 3, round(H * scale), round(W * scale)]` at a time; `seed` matters to what draws noise only.

        Raises:
            UserError: see `accept`.
        """
        return self.upscale_from(0, clip, scale, seed, progress)

    def upscale_from(
        self, first: int, clip: Clip, scale: float, seed: int = 0, progress: Progress | None = None
    ) -> Iterator[Tensor]:
        """As `upscale`, from frame `first` on.

        Raises:
            UserError: see `accept`.
        """
        self.accept(clip, scale)
        return self._resized(self.outputs(first, clip, progress, seed), clip, scale)

    @abstractmethod
    def outputs(self, first: int, clip: Clip, progress: Progress | None, seed: int) -> Iterator[Tensor]:
        """The network's own frames from `first` on, `[1, 3, factor * H, factor * W]`, float32, 0..1, on the CPU."""

    def _resized(self, frames: Iterator[Tensor], clip: Clip, scale: float) -> Iterator[Tensor]:
        height, width = clip.frames.shape[-2:]
        size = (round(height * scale), round(width * scale))
        for frame in frames:
            same = tuple(frame.shape[-2:]) == size
            # Interpolation kernels overshoot at edges; what cannot be shown is clipped.
            yield frame if same else resize_bicubic(frame, *size).clamp(0.0, 1.0)


def resize_option(options: Options) -> str:
    """The option `resize` of a baseline's overrides.

    Raises:
        UserError: it cannot resize like that.
    """
    return options.choice("resize", RESIZES, "")
