"""Codecs: frames to latents and back, behind one interface."""
from __future__ import annotations

from patchvsr.codec.flops import CodecFlops
from patchvsr.codec.interface import Codec, PixelCodec, codecs, fitting
from patchvsr.codec.wan import WanCodec

__all__ = ["Codec", "CodecFlops", "PixelCodec", "WanCodec", "codecs", "fitting"]
