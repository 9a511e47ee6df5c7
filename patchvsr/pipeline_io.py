"""What the pipeline takes as a video and gives back as frames."""
from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from patchvsr.errors import UserError
from patchvsr.upscaler import Frames

OUTPUT_TYPES = ("pt", "np", "pil")

KINDS = (
    "a tensor [T, 3, H, W], an array [T, H, W, 3] (each uint8, or floating point in 0..1), a list of PIL images, or "
    "a path"
)


class ArrayFrames:
    """Frames of a tensor `[T, 3, H, W]` as float32 in 0..1, converted a few at a time."""

    def __init__(self, data: Tensor) -> None:
        self._data = data
        self.shape = tuple(data.shape)

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, index: slice) -> Tensor:
        part = self._data[index].to("cpu")
        return part.float() / 255 if part.dtype == torch.uint8 else part.to(torch.float32)


def open_frames(video: Any) -> tuple[Frames, AbstractContextManager]:
    """Frames of whatever the pipeline takes, and what to close after them.

    Args:
        video: see `KINDS`.

    Raises:
        UserError: anything else, values out of range, or images that differ in size.
    """
    if isinstance(video, (str, Path)):
        from patchvsr.video import open_source

        source = open_source(video)
        return source, source
    if isinstance(video, Image.Image):
        video = [video]
    if isinstance(video, Tensor):
        data = video.detach()
        layout = "[T, 3, H, W]"
        fits = data.ndim == 4 and data.shape[1] == 3
    elif isinstance(video, np.ndarray):
        layout = "[T, H, W, 3]"
        fits = video.ndim == 4 and video.shape[3] == 3
        data = torch.from_numpy(video).permute(0, 3, 1, 2) if fits else torch.empty(0)
    elif isinstance(video, Sequence) and all(isinstance(image, Image.Image) for image in video):
        return ArrayFrames(_from_images(video)), nullcontext()
    else:
        raise UserError(f"video is a {type(video).__name__}; give {KINDS}")
    if not fits:
        raise UserError(f"video has the shape {tuple(video.shape)}; frames must be {layout}, three colours each")
    _check_values(data)
    return ArrayFrames(data), nullcontext()


def _check_values(data: Tensor) -> None:
    if 0 in data.shape:
        raise UserError(f"video of shape {tuple(data.shape)} is empty; give at least one frame of one pixel")
    if data.dtype == torch.uint8:
        return
    if not data.is_floating_point():
        raise UserError(f"video has the dtype {str(data.dtype).removeprefix('torch.')}; give uint8, or floats in 0..1")
    low, high = (float(bound) for bound in torch.aminmax(data))
    if not (low >= 0 and high <= 1):  # so that NaN fails too
        raise UserError(f"video has values from {low:g} to {high:g}; floats must lie in 0..1, and uint8 in 0..255")


def _from_images(images: Sequence[Image.Image]) -> Tensor:
    if not images:
        raise UserError("video is an empty list; give at least one image")
    sizes = {image.size for image in images}
    if len(sizes) > 1:
        (w1, h1), (w2, h2) = sorted(sizes)[:2]
        raise UserError(f"the images differ in size ({w1}x{h1} and {w2}x{h2}, for instance); make them alike")
    return torch.stack([torch.from_numpy(_rgb(image)) for image in images]).permute(0, 3, 1, 2)


def _rgb(image: Image.Image) -> np.ndarray:
    """`[H, W, 3]` uint8."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        raise UserError(f"an image of mode {image.mode} is not 8-bit; convert it to RGB, or give a path or an array")
    if image.has_transparency_data:
        alpha = image.convert("RGBA").getchannel("A").getextrema()
        if alpha != (255, 255):
            raise UserError("an image has transparency, which would be lost; flatten it first")
    return np.array(image.convert("RGB"))


def convert(frames: Tensor, output_type: str) -> Any:
    """Frames `[t, 3, H, W]` in 0..1 as asked for.

    Returns:
        `pt`: the tensor. `np`: a float32 array `[t, H, W, 3]`. `pil`: a list of images.
    """
    if output_type == "pt":
        return frames
    array = frames.permute(0, 2, 3, 1)
    if output_type == "np":
        return array.numpy()
    return [Image.fromarray(image) for image in (array * 255).round().to(torch.uint8).numpy()]


def join(chunks: list[Any], output_type: str) -> Any:
    """The chunks that `convert` made as one."""
    if output_type == "pt":
        return torch.cat(chunks)
    if output_type == "np":
        return np.concatenate(chunks)
    return [image for chunk in chunks for image in chunk]
