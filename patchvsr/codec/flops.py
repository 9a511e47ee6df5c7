"""FLOPs of a network, counted on torch's meta device: no weights, no memory, no arithmetic."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry

T = TypeVar("T")
_MOVES = frozenset(
    {"_to_copy", "_unsafe_index", "_unsafe_view", "arange", "cat", "clone", "constant_pad_nd", "copy_", "empty",
     "empty_like", "empty_strided", "fill_", "full", "lift_fresh", "new_empty", "new_zeros", "ones_like", "stack",
     "zero_", "zeros", "zeros_like"}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class CodecFlops:
    """Cost of one clip.

    Attributes:
        encode, decode: FLOPs, 2 per multiply-add, of convolutions, matrix products and attention.
        uncounted: operators that calculate and are not in these numbers (norms, activations, interpolation).
    """

    encode: int
    decode: int
    uncounted: tuple[str, ...]


class _Uncounted(TorchDispatchMode):
    """Collects the operators that calculate and that torch's counter has no formula for."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Note the operator and run it."""
        name = func.overloadpacket.__name__
        if func.overloadpacket not in flop_registry and not func.is_view and name not in _MOVES:
            self.names.add(f"aten.{name}")
        return func(*args, **(kwargs or {}))


def count_calls(run: Callable[[], T]) -> tuple[T, int, frozenset[str]]:
    """What `run`, which works on meta tensors, gives; its FLOPs; and the operators that are not in them."""
    # The collector is entered first, so it sees what the counter has decomposed.
    with torch.no_grad(), _Uncounted() as seen, FlopCounterMode(display=False) as counter:
        value = run()
    return value, int(counter.get_total_flops()), frozenset(seen.names)


def count(run: Callable[[Tensor], object], shape: tuple[int, ...], dtype: torch.dtype) -> tuple[int, frozenset[str]]:
    """FLOPs of `run` on one meta tensor of this shape, and the operators that are not in them."""
    _, flops, uncounted = count_calls(lambda: run(torch.empty(shape, dtype=dtype, device="meta")))
    return flops, uncounted


class FlopCount:
    """Counts an encoder and a decoder at the shapes of their tiles, each shape once.

    Args:
        encode, decode: of a copy of the network on the meta device.
        dtype: of that copy.
    """

    def __init__(
        self, encode: Callable[[Tensor], object], decode: Callable[[Tensor], object], dtype: torch.dtype
    ) -> None:
        self.encode, self.decode, self.dtype = encode, decode, dtype
        self._known: dict[tuple[tuple[int, ...], ...], CodecFlops] = {}

    def tile(self, frames: tuple[int, ...], latents: tuple[int, ...]) -> CodecFlops:
        """Cost of one tile with these shapes."""
        key = (frames, latents)
        if key not in self._known:
            encode, left_out = count(self.encode, frames, self.dtype)
            decode, also = count(self.decode, latents, self.dtype)
            self._known[key] = CodecFlops(encode, decode, tuple(sorted(left_out | also)))
        return self._known[key]

    def tiles(self, number: int, frames: tuple[int, ...], latents: tuple[int, ...]) -> CodecFlops:
        """Cost of `number` tiles with these shapes."""
        one = self.tile(frames, latents)
        return CodecFlops(one.encode * number, one.decode * number, one.uncounted)
