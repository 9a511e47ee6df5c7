"""Convolutional stages of VGG16 over a frame of any size, in strips: exact, with bounded memory."""
from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn

HALO = 112
"""Rows of the picture beside a strip that its features may see: 105 for VGG16's relu5_3, rounded up to a 16th."""
STRIDE = 16
"""Of the last stage; strips start at multiples of it, so that every pooling window falls as in the whole frame."""
BUDGET = 256 * 2**20
"""Bytes that one picture's largest feature map (64 channels of float32) may take."""


def strip_rows(width: int) -> int:
    """Rows of a strip without its halo."""
    rows = BUDGET // (width * 64 * 4) - 2 * HALO
    return max(rows // STRIDE, 4) * STRIDE


def over_strips(stages: Sequence[nn.Module], pictures: Tensor, take: Callable[[int, Tensor], None]) -> None:
    """Run the stages over strips of `pictures`, and hand every feature to `take` exactly once.

    Features equal those of the whole picture: a strip is read with as many more rows as its features see, and what
    they make is cut away. Each stage but the first halves the picture.

    Args:
        stages: the network, in order.
        pictures: `[N, C, H, W]`.
        take: called with the index of a stage and its features `[N, C', h, w]` of one strip.
    """
    height = pictures.shape[-2]
    rows = strip_rows(pictures.shape[-1])
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        first, last = max(top - HALO, 0), min(bottom + HALO, height)
        maps = pictures[..., first:last, :]
        for index, stage in enumerate(stages):
            maps = stage(maps)
            start = (top - first) >> index
            end = maps.shape[-2] if bottom == height else start + ((bottom - top) >> index)
            take(index, maps[..., start:end, :])
