"""A video file that loses nothing, for other programs to read."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
from torch import Tensor


def write_lossless_video(frames: Iterable[Tensor], path: Path, fps: float) -> None:
    """Write uint8 frames `[3, H, W]` of one size as H.264 in RGB (x264, qp 0).

    Everything built on ffmpeg (OpenCV, decord, imageio, torchvision) decodes it to the same 8-bit values.
    """
    with av.open(f"file:{path}", "w") as container:
        stream = container.add_stream("libx264rgb", rate=Fraction(fps).limit_denominator(1001))
        stream.pix_fmt, stream.options = "rgb24", {"qp": "0", "preset": "veryfast"}
        for index, frame in enumerate(frames):
            if index == 0:
                stream.height, stream.width = frame.shape[1:]
            picture = av.VideoFrame.from_ndarray(frame.permute(1, 2, 0).contiguous().numpy(), "rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
