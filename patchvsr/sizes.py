"""Output sizes: from a scale to a size and back, with one rule for rounding."""
from __future__ import annotations

import math
import re

from patchvsr.errors import UserError

Size = tuple[int, int]
"""Width and height in pixels."""


def scaled(source: Size, scale: float) -> Size:
    """The size of an output: `round(width * scale)`, `round(height * scale)`."""
    return round(source[0] * scale), round(source[1] * scale)


def parse_size(text: str) -> Size:
    """`3840x2160` as (3840, 2160).

    Raises:
        UserError: any other text.
    """
    match = re.fullmatch(r"(\d{1,6})[xX×](\d{1,6})", text.strip())
    if match is None or 0 in (size := (int(match[1]), int(match[2]))):
        raise UserError(f"size '{text}' is not WIDTHxHEIGHT in pixels, such as 3840x2160")
    return size


def scale_for(source: Size, target: Size) -> float | None:
    """A scale that makes exactly `target` of `source`; None where their shapes differ by more than rounding.

    The simplest one is taken: that of a side where it fits both, else the middle of those that do.
    """
    low = max((wanted - 0.5) / given for given, wanted in zip(source, target, strict=True))
    high = min((wanted + 0.5) / given for given, wanted in zip(source, target, strict=True))
    sides = [wanted / given for given, wanted in zip(source, target, strict=True)]
    for scale in (*sorted(sides, key=lambda s: abs(s - round(s))), (low + high) / 2):
        if scaled(source, scale) == target:
            return scale
    return None


def resolve_scale(source: Size, scale: float | None, size: Size | None) -> float:
    """The scale that a user asked for, as a factor or as a size of the output.

    Raises:
        UserError: a scale below 1 or no number, or a size of another shape.
    """
    if size is None:
        factor = 4.0 if scale is None else scale
        if not math.isfinite(factor) or factor < 1:
            raise UserError(f"scale {factor:g} is not a factor of at least 1; PatchVSR only enlarges")
        return factor
    found = scale_for(source, size)
    given = f"{source[0]}x{source[1]}"
    if found is None:
        turned = scale_for(source, (size[1], size[0])) is not None
        fits = f"{size[1]}x{size[0]}" if turned else _nearest_fit(source, size)
        raise UserError(f"size {size[0]}x{size[1]} has another shape than the input's {given}; {fits} keeps it")
    if found < 1:
        raise UserError(f"size {size[0]}x{size[1]} is smaller than the input's {given}; PatchVSR only enlarges")
    return found


def _nearest_fit(source: Size, size: Size) -> str:
    width, height = source
    options = [(size[0], round(size[0] * height / width)), (round(size[1] * width / height), size[1])]
    larger = [option for option in options if option[0] >= width and option[1] >= height] or [source]
    best = min(larger, key=lambda option: abs(option[0] * option[1] - size[0] * size[1]))
    return f"{best[0]}x{best[1]}"
