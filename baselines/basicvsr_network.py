"""The network of BasicVSR (Chan et al., "BasicVSR: The Search for Essential Components ...", CVPR 2021), x4.

A feature runs through the clip in each direction: at every frame it is fetched along the optical flow from the
neighbour before and refined together with the frame. Both meet at each frame and are upsampled to a residual upon the
bilinear enlargement. This module holds the steps; `baselines.basicvsr_recurrence` walks a clip with them.
"""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines.networks import conv, filled
from baselines.spynet import SPyNet, warp
from patchvsr.weights import State

CHANNELS = 64
BLOCKS = 30
SCALE = 4


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions upon the identity, without normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = conv(CHANNELS, CHANNELS)
        self.conv2 = conv(CHANNELS, CHANNELS)

    def forward(self, feature: Tensor) -> Tensor:
        """`[B, 64, H, W]` to the same."""
        change: Tensor = self.conv2(F.relu(self.conv1(feature)))
        return feature + change


class Trunk(nn.Module):
    """A frame, with the feature that comes with it where there is one, to the feature of this frame.

    Args:
        blocks: residual blocks.
        inside: channels of all that goes in.
    """

    def __init__(self, blocks: int, inside: int = 3 + CHANNELS) -> None:
        super().__init__()
        residual = nn.Sequential(*(ResidualBlock() for _ in range(blocks)))
        self.main = nn.Sequential(conv(inside, CHANNELS), nn.LeakyReLU(0.1), residual)

    def forward(self, *inputs: Tensor) -> Tensor:
        """`[B, 3, H, W]`, and `[B, 64, H, W]` if there is a feature, to `[B, 64, H, W]`."""
        refined: Tensor = self.main(torch.cat(inputs, dim=1))
        return refined


class BasicVSRNetwork(nn.Module):
    """The steps of BasicVSR on frames `[B, 3, H, W]`, RGB, 0..1; parameters are named as in BasicSR's state dicts.

    Args:
        blocks: residual blocks per direction. The released weights have 30.
    """

    def __init__(self, blocks: int = BLOCKS) -> None:
        super().__init__()
        self.blocks = blocks
        self.spynet = SPyNet()
        self.backward_trunk = Trunk(blocks)
        self.forward_trunk = Trunk(blocks)
        self.fusion = conv(2 * CHANNELS, CHANNELS, 1)
        self.upconv1 = conv(CHANNELS, 4 * CHANNELS)
        self.upconv2 = conv(CHANNELS, 4 * CHANNELS)
        self.conv_hr = conv(CHANNELS, CHANNELS)
        self.conv_last = conv(CHANNELS, 3)

    @classmethod
    def load(cls, state: State, source: str) -> BasicVSRNetwork:
        """The network with the tensors of a state dict; see `baselines.networks.filled`.

        Raises:
            UserError: a tensor is missing, left over or of another shape.
        """
        with torch.device("meta"):
            network = cls()
        return filled(network, state, source, f"BasicVSR with {BLOCKS} blocks per direction")

    def backward_step(self, frame: Tensor, following: Tensor | None, feature: Tensor | None) -> Tensor:
        """The backward feature `[B, 64, H, W]` of a frame, from the frame after it and that frame's feature.

        `following` and `feature` are None for the last frame.
        """
        return self._step(self.backward_trunk, frame, following, feature)

    def forward_step(self, frame: Tensor, previous: Tensor | None, feature: Tensor | None) -> Tensor:
        """The forward feature `[B, 64, H, W]` of a frame, from the frame before it and that frame's feature.

        `previous` and `feature` are None for the first frame.
        """
        return self._step(self.forward_trunk, frame, previous, feature)

    def reconstruct(self, frame: Tensor, backward: Tensor, forward: Tensor) -> Tensor:
        """The frame at four times its size, `[B, 3, 4 H, 4 W]`, not clipped, from both its features."""
        feature = self._activated(self.fusion(torch.cat([backward, forward], dim=1)))
        for convolution in (self.upconv1, self.upconv2):
            feature = self._activated(F.pixel_shuffle(convolution(feature), 2))
        feature = self._activated(self.conv_hr(feature))
        enlarged = F.interpolate(frame, scale_factor=SCALE, mode="bilinear", align_corners=False)
        residual: Tensor = self.conv_last(feature)
        return enlarged + residual

    def _step(self, trunk: Trunk, frame: Tensor, neighbour: Tensor | None, feature: Tensor | None) -> Tensor:
        if neighbour is None or feature is None:
            carried = frame.new_zeros(frame.shape[0], CHANNELS, *frame.shape[-2:])
        else:
            carried = warp(feature, self.spynet(frame, neighbour), "zeros")
        refined: Tensor = trunk(frame, carried)
        return refined

    @staticmethod
    def _activated(feature: Tensor) -> Tensor:
        return F.leaky_relu(feature, 0.1)
