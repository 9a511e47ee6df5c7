"""Attention as two matrix products, for CPUs that multiply bfloat16.

torch's fused attention takes more than twice as long there for tiles of nano's size (heads of 48 numbers); `make perf`
has both. Scores are rounded to bfloat16 before the softmax.
"""
from __future__ import annotations

import threading

import torch
from torch import Tensor

from patchvsr.devices import multiplies_bfloat16

_LARGEST = 1 << 23
"""Scores of one call at most (16 MiB in bfloat16); beyond that memory is what the fused attention saves."""


class _Scratch(threading.local):
    """Memory for scores that is kept: fresh pages would cost more than the arithmetic."""

    def __init__(self) -> None:
        self._flat: Tensor = torch.empty(0)

    def take(self, batch: int, rows: int, columns: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """Two `[batch, rows, columns]`, with any numbers in them."""
        size = batch * rows * columns
        if self._flat.numel() < 2 * size or self._flat.dtype != like.dtype:
            with torch.inference_mode(False):  # one made for inference could not be written to outside of it
                self._flat = torch.empty(2 * size, dtype=like.dtype)
        first, second = self._flat[: 2 * size].view(2, batch, rows, columns)
        return first, second


_scratch = _Scratch()


def suits_products(states: Tensor, keys: int, heads: int) -> bool:
    """Whether attention of `states` `[B, N, ...]` to so many keys is faster by products.

    It is for inference in bfloat16 on a CPU, and for tiles as small as nano's.
    """
    if states.dtype != torch.bfloat16 or states.device.type != "cpu" or torch.is_grad_enabled():
        return False
    if states.shape[0] * heads * states.shape[1] * keys > _LARGEST:
        return False
    return multiplies_bfloat16(states.device)


# An operator of its own: torch.compile would turn the products back into the fused attention.
@torch.library.custom_op("patchvsr::attend_by_products", mutates_args=())
def attend_by_products(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Softmax attention `[B, N, heads, head_dim]` of queries to keys and values `[B, L, heads, head_dim]`."""
    batch, rows, heads, width = query.shape
    q, k, v = (x.transpose(1, 2).reshape(batch * heads, -1, width) for x in (query * width**-0.5, key, value))
    scores, shares = _scratch.take(batch * heads, rows, k.shape[1], query)
    torch.bmm(q, k.transpose(1, 2), out=scores)
    torch.softmax(scores, -1, out=shares)
    return torch.bmm(shares, v).unflatten(0, (batch, heads)).transpose(1, 2).contiguous()


@attend_by_products.register_fake
def _(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return torch.empty_like(query, memory_format=torch.contiguous_format)
