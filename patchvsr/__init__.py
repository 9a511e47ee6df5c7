"""PatchVSR: patch-wise video super-resolution with a video diffusion prior (arXiv 2509.26025)."""
import logging

__version__ = "0.1.0"

# diffusers and peft import bitsandbytes where another package brought it, and it then warns about a CPU kernel for
# 4-bit weights, which nothing here uses.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
