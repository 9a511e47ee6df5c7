"""The networks of Real-ESRGAN (Wang et al., "Real-ESRGAN: Training Real-World Blind Super-Resolution ...", 2021), x4.

RRDBNet is ESRGAN's generator (Wang et al., 2018): dense blocks in residuals in residuals, at the input's size, then two
nearest-neighbour enlargements. SRVGGNetCompact is a plain chain of convolutions whose result is shuffled upon the
nearest-neighbour enlargement. Parameters are named as in BasicSR's state dicts. Outputs are not clipped.
"""
from __future__ import annotations

from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines.networks import conv, filled
from patchvsr.weights import State

CHANNELS = 64
GROWTH = 32
BLOCKS = 23
CONVOLUTIONS = 16
SCALE = 4


class Released(nn.Module):
    """A network `[B, 3, H, W]` to `[B, 3, 4 H, 4 W]`, RGB, 0..1, whose released weights have its default size."""

    title: str

    @classmethod
    def load(cls, state: State, source: str) -> Self:
        """The network with the tensors of a state dict; see `baselines.networks.filled`.

        Raises:
            UserError: a tensor is missing, left over or of another shape.
        """
        with torch.device("meta"):
            network = cls()
        return filled(network, state, source, network.title)


def _activated(feature: Tensor) -> Tensor:
    return F.leaky_relu(feature, 0.2, inplace=True)


class DenseBlock(nn.Module):
    """Five convolutions, each upon the block's input and all results before it; a fifth of the last one is added."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = conv(CHANNELS, GROWTH)
        self.conv2 = conv(CHANNELS + GROWTH, GROWTH)
        self.conv3 = conv(CHANNELS + 2 * GROWTH, GROWTH)
        self.conv4 = conv(CHANNELS + 3 * GROWTH, GROWTH)
        self.conv5 = conv(CHANNELS + 4 * GROWTH, CHANNELS)

    def forward(self, feature: Tensor) -> Tensor:
        """`[B, 64, H, W]` to the same."""
        dense = feature
        for convolution in (self.conv1, self.conv2, self.conv3, self.conv4):
            dense = torch.cat([dense, _activated(convolution(dense))], dim=1)
        return torch.add(feature, self.conv5(dense), alpha=0.2)


class RRDB(nn.Module):
    """Three dense blocks, a fifth of whose result is added to their input."""

    def __init__(self) -> None:
        super().__init__()
        self.rdb1, self.rdb2, self.rdb3 = DenseBlock(), DenseBlock(), DenseBlock()

    def forward(self, feature: Tensor) -> Tensor:
        """`[B, 64, H, W]` to the same."""
        return torch.add(feature, self.rdb3(self.rdb2(self.rdb1(feature))), alpha=0.2)


class RRDBNet(Released):
    """ESRGAN's generator as Real-ESRGAN has it.

    Args:
        blocks: residual-in-residual dense blocks; `x4plus` has 23.
    """

    def __init__(self, blocks: int = BLOCKS) -> None:
        super().__init__()
        self.title = f"RRDBNet, {CHANNELS} channels, {blocks} blocks"
        self.conv_first = conv(3, CHANNELS)
        self.body = nn.Sequential(*(RRDB() for _ in range(blocks)))
        self.conv_body = conv(CHANNELS, CHANNELS)
        self.conv_up1 = conv(CHANNELS, CHANNELS)
        self.conv_up2 = conv(CHANNELS, CHANNELS)
        self.conv_hr = conv(CHANNELS, CHANNELS)
        self.conv_last = conv(CHANNELS, 3)

    def forward(self, frame: Tensor) -> Tensor:
        """See `Released`."""
        feature = self.conv_first(frame)
        feature = feature + self.conv_body(self.body(feature))
        for convolution in (self.conv_up1, self.conv_up2):
            feature = _activated(convolution(F.interpolate(feature, scale_factor=2, mode="nearest")))
        feature = _activated(self.conv_hr(feature))
        enlarged: Tensor = self.conv_last(feature)
        return enlarged


class SRVGGNetCompact(Released):
    """A chain of 3x3 convolutions, each but the last followed by a PReLU with one slope per channel.

    Args:
        convolutions: between the first and the last; `animevideov3` has 16. An output depends on input pixels up to
            `convolutions + 2` away.
    """

    def __init__(self, convolutions: int = CONVOLUTIONS) -> None:
        super().__init__()
        self.title = f"SRVGGNetCompact, {CHANNELS} channels, {convolutions} convolutions"
        self.body = nn.Sequential(conv(3, CHANNELS), nn.PReLU(CHANNELS))
        for _ in range(convolutions):
            self.body.extend([conv(CHANNELS, CHANNELS), nn.PReLU(CHANNELS)])
        self.body.append(conv(CHANNELS, 3 * SCALE**2))

    def forward(self, frame: Tensor) -> Tensor:
        """See `Released`."""
        enlarged = F.interpolate(frame, scale_factor=SCALE, mode="nearest")
        return enlarged + F.pixel_shuffle(self.body(frame), SCALE)
