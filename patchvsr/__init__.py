"""PatchVSR: patch-wise video super-resolution with a video diffusion prior (arXiv 2509.26025)."""
from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from patchvsr.pipeline import PatchVSRPipeline as PatchVSRPipeline

__version__ = "0.1.0"

# diffusers and peft import bitsandbytes where another package brought it, and it then warns about a CPU kernel for
# 4-bit weights, which nothing here uses.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)


def __getattr__(name: str) -> Any:
    """`PatchVSRPipeline`, imported when it is asked for: torch and diffusers take seconds."""
    if name == "PatchVSRPipeline":
        from patchvsr.pipeline import PatchVSRPipeline

        return PatchVSRPipeline
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
