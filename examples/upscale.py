"""Upscale a video with the pipeline, a few frames at a time: `python examples/upscale.py in.mp4 frames --scale 4`."""
from __future__ import annotations

import argparse
from pathlib import Path

from patchvsr import PatchVSRPipeline


def main() -> None:
    """Write the upscaled frames as PNG images."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("video", help="a video, an image, or a folder of images")
    parser.add_argument("out", type=Path, help="folder for the frames")
    parser.add_argument("--scale", type=float, default=4.0)
    parser.add_argument("--variant", default="fast")
    options = parser.parse_args()

    pipe = PatchVSRPipeline.from_variant(options.variant)
    options.out.mkdir(parents=True, exist_ok=True)
    count = 0
    for chunk in pipe.stream(options.video, options.scale, output_type="pil"):
        for frame in chunk:
            frame.save(options.out / f"{count:06d}.png")
            count += 1
    print(f"{count} frames of {frame.width}x{frame.height} in {options.out}")


if __name__ == "__main__":
    main()
