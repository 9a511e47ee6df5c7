"""Degradations that make the low-resolution input, the resizing they rest on, and 8-bit quantisation.

`bicubic` (BI), `bilinear`, `bd` (blur and every n-th pixel) and `realworld` (random, second-order, with real video
compression) come with the package. An installed package adds others through the entry-point group
`patchvsr.degradation`, each an instance of `Degradation`.
"""

from __future__ import annotations

from patchvsr.degradation.interface import Degradation, FrameDegradation, low_size
from patchvsr.degradation.pixels import quantise, to_float
from patchvsr.degradation.resize import resize_bicubic, resize_bilinear
from patchvsr.registry import Registry

degradations: Registry[Degradation] = Registry(
    "degradation",
    {
        "bicubic": "patchvsr.degradation.resize:bicubic",
        "bilinear": "patchvsr.degradation.resize:bilinear",
        "bd": "patchvsr.degradation.bd:bd",
        "realworld": "patchvsr.degradation.realworld:realworld",
    },
)

__all__ = [
    "Degradation",
    "FrameDegradation",
    "degradations",
    "low_size",
    "quantise",
    "resize_bicubic",
    "resize_bilinear",
    "to_float",
]
