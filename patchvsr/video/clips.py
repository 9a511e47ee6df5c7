"""Clips on disk as a whole, each a video file or a folder of numbered images: which one a name means, whether its
numbering has gaps, its hash, and whether its frames passed through a lossy encoder."""

from __future__ import annotations

import hashlib
import re
from itertools import islice, pairwise
from pathlib import Path

from patchvsr.errors import UserError
from patchvsr.video.colour import UNSPECIFIED
from patchvsr.video.container import VIDEO_SUFFIXES, main_video, opened
from patchvsr.video.images import image_files
from patchvsr.weights.files import sha256_file

_LOSSLESS = frozenset({"ffv1", "huffyuv", "ffvhuff", "utvideo", "rawvideo", "png", "qtrle", "magicyuv"})
_LOSSLESS_IMAGES = frozenset({".png", ".bmp", ".tif", ".tiff"})


def clips_named(path: Path) -> list[Path]:
    """What a clip's path without a suffix can mean: the folder of that name, and the videos with a suffix added."""
    files = (path.with_name(path.name + suffix) for suffix in sorted(VIDEO_SUFFIXES))
    return [path] * path.is_dir() + [file for file in files if file.is_file()]


def find_clip(path: Path) -> Path | None:
    """The clip that `path` names: a folder of images or, with a suffix added, a video; None if there is none."""
    return next(iter(clips_named(path)), None)


def content_sha256(path: Path) -> str:
    """SHA-256 of a video file, or over the names and bytes of a folder's images."""
    if path.is_file():
        return sha256_file(path)
    digest = hashlib.sha256()
    for file in image_files(path):
        digest.update(f"{file.name} {sha256_file(file)}\n".encode())
    return digest.hexdigest()


def frame_numbers(folder: Path) -> list[int]:
    """The numbers in the names of a folder's images, in their order.

    The number is the one part of the name that changes from image to image; a single image has number 0.

    Raises:
        UserError: the names differ in more than one number, so that some images are no frames of this clip.
    """
    names = [re.split(r"(\d+)", file.stem) for file in image_files(folder)]
    if len(names) < 2:
        return [0] * len(names)
    alike = len({len(parts) for parts in names}) == 1
    changing = [i for i, parts in enumerate(zip(*names, strict=False)) if len(set(parts)) > 1]
    if not alike or len(changing) != 1 or changing[0] % 2 == 0:
        raise UserError(
            f"the images in {folder} are not named as frames of one clip, with one number that counts; leave only the "
            "frames there, named such as 00000000.png"
        )
    return [int(parts[changing[0]]) for parts in names]


def gaps(numbers: list[int]) -> list[int]:
    """The numbers that miss between the first and the last of frame numbers in order; at most the first ten."""
    return list(islice((absent for low, high in pairwise(numbers) for absent in range(low + 1, high)), 10))


def lossy(path: Path) -> str | None:
    """What may have altered a clip's frames when they were written: codec and pixel format (and that it
    does not say how its colours are coded), or the image format.

    None where the format is lossless. A lossless mode of an encoder that has both cannot be told from the outside.

    Raises:
        UserError: the video cannot be opened.
    """
    if path.is_dir():
        kinds = {file.suffix.lower() for file in image_files(path)} - _LOSSLESS_IMAGES
        return f"{'/'.join(sorted(kind[1:] for kind in kinds))} images" if kinds else None
    with opened(path) as container:
        context = main_video(container).codec_context
        if context.name in _LOSSLESS:
            return None
        # YUV whose matrix the file does not state is read by convention, which need not be what its writer used.
        unstated = context.colorspace == UNSPECIFIED and str(context.pix_fmt).startswith("yuv")
        return f"{context.name} video in {context.pix_fmt}{' that states no colour matrix' if unstated else ''}"
