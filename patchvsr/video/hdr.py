"""Static HDR metadata: what the display that a video was made on could show, and how bright the video gets.

Structures as FFmpeg lays them out in memory (`AVMasteringDisplayMetadata`, `AVContentLightMetadata`); their meaning is
that of SMPTE ST 2086 and CTA-861.3.
"""
from __future__ import annotations

import struct
from fractions import Fraction

from patchvsr.errors import UserError


def x265_options(side_data: dict[str, bytes]) -> str:
    """Options in x265's notation that write the same metadata; empty if there is none.

    Args:
        side_data: raw, by FFmpeg's names, as `Source.side_data`.

    Raises:
        UserError: the metadata is damaged.
    """
    options = []
    try:
        if (data := side_data.get("MASTERING_DISPLAY_METADATA")) is not None:
            options.append(f"master-display={_mastering(data)}")
        if (data := side_data.get("CONTENT_LIGHT_LEVEL")) is not None:
            options.append("max-cll={},{}".format(*struct.unpack_from("=2I", data)))
    except (struct.error, ZeroDivisionError) as error:
        raise UserError("the video's HDR metadata is damaged; convert it, or leave it out with another tool") from error
    return ":".join(options)


def _mastering(data: bytes) -> str:
    """Primaries and white point in units of 0.00002, luminances in 0.0001 cd/m2, as ST 2086 codes them."""
    numbers = struct.unpack_from("=22i", data)
    values = [Fraction(numbers[i], numbers[i + 1]) for i in range(0, 20, 2)]
    has_primaries, has_luminance = numbers[20:]
    red, green, blue, white = (tuple(round(v * 50000) for v in values[i : i + 2]) for i in range(0, 8, 2))
    lowest, highest = (round(v * 10000) for v in values[8:])
    if not has_primaries:
        red = green = blue = white = (0, 0)
    if not has_luminance:
        lowest = highest = 0
    points = "".join(f"{name}({x},{y})" for name, (x, y) in zip("GBR", (green, blue, red), strict=True))
    return f"{points}WP({white[0]},{white[1]})L({highest},{lowest})"
