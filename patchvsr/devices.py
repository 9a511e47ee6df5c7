"""Devices and dtypes as a user types them."""
from __future__ import annotations

from functools import cache

import torch

from patchvsr.errors import UserError, nearest

DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}


def device_of(text: str) -> torch.device:
    """`auto` (CUDA where there is a GPU), or any name that torch knows.

    Raises:
        UserError: the name is unknown or there is no such device.
    """
    if text == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(text)
    except RuntimeError as error:
        raise UserError(f"unknown device '{text}'; use auto, cpu or cuda") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UserError(f"device '{text}' is not available: torch sees no CUDA GPU here; use --device cpu")
    return device


def dtype_of(text: str, device: torch.device) -> torch.dtype:
    """`auto` is bfloat16 where the hardware multiplies it, else float32; records say which it was.

    A CPU without such instructions emulates bfloat16, which was measured to take twice as long as float32.

    Raises:
        UserError: the name is unknown.
    """
    if text == "auto":
        return torch.bfloat16 if multiplies_bfloat16(device) else torch.float32
    if text not in DTYPES:
        raise UserError(f"unknown dtype '{text}'{nearest(text, ['auto', *DTYPES])}")
    return DTYPES[text]


@cache
def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether the hardware has instructions for products of bfloat16."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return True
    found = torch.cpu.get_capabilities()
    return any(found.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16"))


def dtype_name(dtype: torch.dtype) -> str:
    """`torch.bfloat16` as `bfloat16`."""
    return str(dtype).removeprefix("torch.")


_FILL = 32768
"""Rows of a matrix product from which a large GPU is busy; more at once only take memory."""


def fitting_batch(tokens: int, width: int, itemsize: int, device: torch.device) -> int:
    """Tiles of one forward pass: as many as fill an accelerator, and no more than its free memory holds.

    Args:
        tokens: of one tile.
        width: of the transformer.
        itemsize: bytes of a number.
        device: whose free memory counts, if it says.
    """
    wanted = max(1, -(-_FILL // max(tokens, 1)))
    if device.type != "cuda":
        return wanted
    free, _ = torch.cuda.mem_get_info(device)
    free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    # A Wan block holds about 24 activations of the width beside each other (the feed-forward's hidden ones are 6 wide).
    return max(1, min(wanted, free // 2 // (24 * tokens * width * itemsize)))
