"""PatchVSR: patch-wise video super-resolution with a video diffusion prior (arXiv 2509.26025)."""
__version__ = "0.1.0"
