"""Devices and dtypes as a user types them."""
from __future__ import annotations

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


def dtype_of(text: str) -> torch.dtype:
    """`auto` is bfloat16 on every device, so that the same command means the same everywhere.

    Raises:
        UserError: the name is unknown.
    """
    name = "bfloat16" if text == "auto" else text
    if name not in DTYPES:
        raise UserError(f"unknown dtype '{text}'{nearest(text, ['auto', *DTYPES])}")
    return DTYPES[name]


def dtype_name(dtype: torch.dtype) -> str:
    """`torch.bfloat16` as `bfloat16`."""
    return str(dtype).removeprefix("torch.")
