"""SPyNet (Ranjan and Black, "Optical Flow Estimation using a Spatial Pyramid Network", CVPR 2017), and warping by flow.

The network is the one that BasicVSR trained along with itself; its parameters are part of that network's weights.
"""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEVELS = 6
MULTIPLE = 2 ** (LEVELS - 1)
"""Frames are estimated at sides that are whole multiples of this, so that every level halves exactly."""


def warp(frames: Tensor, flow: Tensor, padding: str) -> Tensor:
    """Fetch every pixel from where its flow points to, bilinearly.

    Args:
        frames: `[B, C, H, W]`.
        flow: `[B, 2, H, W]`, in pixels, x before y: pixel p of the result is `frames` at p + flow.
        padding: what lies outside: `zeros`, or `border` for the nearest pixel inside.

    Returns:
        `[B, C, H, W]`.
    """
    height, width = frames.shape[-2:]
    columns = torch.arange(width, device=flow.device, dtype=flow.dtype)
    rows = torch.arange(height, device=flow.device, dtype=flow.dtype)[:, None]
    # grid_sample counts from -1 at the centre of the first pixel to 1 at that of the last (align_corners).
    x = (columns + flow[:, 0]) * (2 / max(width - 1, 1)) - 1
    y = (rows + flow[:, 1]) * (2 / max(height - 1, 1)) - 1
    grid = torch.stack([x, y], dim=-1)
    return F.grid_sample(frames, grid, mode="bilinear", padding_mode=padding, align_corners=True)


class Level(nn.Module):
    """Five 7x7 convolutions that correct the flow at one level of the pyramid."""

    def __init__(self) -> None:
        super().__init__()
        channels = (8, 32, 64, 32, 16, 2)
        layers: list[nn.Module] = []
        for inside, outside in zip(channels, channels[1:], strict=False):
            layers += [nn.Conv2d(inside, outside, 7, padding=3), nn.ReLU()]
        self.basic_module = nn.Sequential(*layers[:-1])

    def forward(self, reference: Tensor, warped: Tensor, flow: Tensor) -> Tensor:
        """The correction `[B, 2, H, W]` from two normalised frames `[B, 3, H, W]` and the flow so far."""
        correction: Tensor = self.basic_module(torch.cat([reference, warped, flow], dim=1))
        return correction


class SPyNet(nn.Module):
    """Optical flow from coarse to fine over six levels; parameters are named as in BasicSR's state dicts."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.basic_module = nn.ModuleList(Level() for _ in range(LEVELS))
        # ImageNet's, RGB.
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).reshape(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).reshape(1, 3, 1, 1))

    def forward(self, reference: Tensor, other: Tensor) -> Tensor:
        """Flow from `reference` to `other`, so that `warp(other, flow, ...)` looks like `reference`.

        Args:
            reference, other: `[B, 3, H, W]`, RGB, 0..1, any size.

        Returns:
            `[B, 2, H, W]`, x before y, in pixels of that size.
        """
        height, width = reference.shape[-2:]
        size = [-(-side // MULTIPLE) * MULTIPLE for side in (height, width)]
        references, others = (self._pyramid(_resized(frames, size)) for frames in (reference, other))
        coarse = references[0]
        flow = coarse.new_zeros(coarse.shape[0], 2, *coarse.shape[-2:])
        for level, module in enumerate(self.basic_module):
            if level:
                flow = 2 * F.interpolate(flow, scale_factor=2, mode="bilinear", align_corners=True)
            flow = flow + module(references[level], warp(others[level], flow, "border"), flow)
        shrink = flow.new_tensor([width / size[1], height / size[0]]).reshape(1, 2, 1, 1)
        return _resized(flow, [height, width]) * shrink

    def _pyramid(self, frames: Tensor) -> list[Tensor]:
        """Normalised frames, each half the size of the next; the smallest first."""
        levels = [(frames - self.mean) / self.std]
        for _ in range(LEVELS - 1):
            levels.append(F.avg_pool2d(levels[-1], 2))
        return levels[::-1]


def _resized(frames: Tensor, size: list[int]) -> Tensor:
    return F.interpolate(frames, size=size, mode="bilinear", align_corners=False)
