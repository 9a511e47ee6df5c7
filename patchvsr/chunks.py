"""Long clips in chunks of frames: bounded memory, blended overlaps, as many frames out as in."""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise

import torch
from torch import Tensor


def chunk_spans(frames: int, size: int, overlap: int) -> list[tuple[int, int]]:
    """First and one-past-last frame of each chunk; consecutive chunks share at least `overlap` frames.

    All chunks have `size` frames (the last one is moved back to end with the clip), except in a shorter clip.
    """
    if frames <= size:
        return [(0, frames)]
    starts = list(range(0, frames - size, size - overlap)) + [frames - size]
    return [(start, start + size) for start in starts]


def blend_chunks(spans: list[tuple[int, int]], chunks: Iterable[Tensor]) -> Iterator[Tensor]:
    """Cross-fade chunks where they overlap.

    Args:
        spans: from `chunk_spans`.
        chunks: `[t, 3, H, W]` for each span, in order.

    Yields:
        Every frame of the clip once, in order. Never holds more than one chunk and one overlap.
    """
    tail: Tensor | None = None
    for index, ((start, _), chunk) in enumerate(zip(spans, chunks, strict=True)):
        if tail is not None and len(tail):
            ramp = torch.arange(1, len(tail) + 1, dtype=chunk.dtype) / (len(tail) + 1)
            chunk[: len(tail)] = torch.lerp(tail, chunk[: len(tail)], ramp.view(-1, 1, 1, 1))
        if index + 1 == len(spans):
            yield chunk
            return
        keep = spans[index + 1][0] - start
        tail = chunk[keep:].clone()
        yield chunk[:keep]


def chunk_cuts(spans: list[tuple[int, int]]) -> tuple[int, ...]:
    """Frames at which the share of two chunks changes: each cross-fade's first frame, and the one after its last."""
    return tuple(sorted({cut for (_, stop), (start, _) in pairwise(spans) for cut in (start, stop)}))
