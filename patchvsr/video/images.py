"""Reading images: files of a folder in natural order, at 8 bit as Pillow gives them or at their full depth."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image, ImageOps

from patchvsr.errors import UserError
from patchvsr.video.colour import UNSPECIFIED, Colour, has_transparency, to_rgb

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp"})
MORE_SUFFIXES = IMAGE_SUFFIXES | {".tif", ".tiff", ".bmp"}
"""What an upscaler takes as well; benchmarks keep to those above."""
_ORIENTATION = 0x0112
_UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)


def image_files(folder: Path, suffixes: frozenset[str] = IMAGE_SUFFIXES) -> list[Path]:
    """The images of a folder in natural order (`2.png` before `10.png`); hidden ones are left out."""
    files = [p for p in folder.iterdir() if p.suffix.lower() in suffixes and not p.name.startswith(".")]
    return sorted(files, key=lambda p: [int(t) if t.isdigit() else t.lower() for t in re.split(r"(\d+)", p.name)])


def images_in(folder: Path, suffixes: frozenset[str] = IMAGE_SUFFIXES) -> list[Path]:
    """As `image_files`, at least one.

    Raises:
        UserError: there is none, or the folder cannot be listed.
    """
    try:
        files = image_files(folder, suffixes)
    except OSError as error:
        raise UserError(f"folder {folder} cannot be read: {error.strerror}") from error
    if not files:
        kinds = "png, jpg or webp" if suffixes == IMAGE_SUFFIXES else "png, jpg, webp, tiff or bmp"
        raise UserError(f"{folder} holds no {kinds} image")
    return files


def image_size(file: Path) -> tuple[int, int]:
    """Width and height as displayed, from the header."""
    try:
        with Image.open(file) as image:
            # Where a PNG states no orientation before its pixels, Pillow would decode all of them to look behind.
            stated = image.format != "PNG" or "exif" in image.info
            turned = stated and image.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8)
            return (image.height, image.width) if turned else (image.width, image.height)
    except _UNREADABLE as error:
        raise _unreadable(file, error) from error


def common_size(folder: Path, files: list[Path]) -> tuple[int, int]:
    """The width and height that all images have.

    Raises:
        UserError: they differ, or one cannot be read.
    """
    sizes = {image_size(file) for file in files}
    if len(sizes) > 1:
        raise UserError(f"the images in {folder} have different sizes ({listed(sizes)}); a clip needs one size")
    return sizes.pop()


def listed(sizes: set[tuple[int, int]]) -> str:
    """`20x12, 21x12`."""
    return ", ".join(f"{width}x{height}" for width, height in sorted(sizes))


def images(folder: Path) -> Iterator[Any]:
    """One function per image, so that skipped ones are not decoded."""
    for file in images_in(folder):
        yield lambda file=file: read_image(file)


def read_image(file: Path) -> np.ndarray:
    """An image as uint8 RGB `[H, W, 3]`, turned as its EXIF orientation says; alpha is dropped.

    Raises:
        UserError: it cannot be read or has more than 8 bit per channel.
    """
    try:
        with Image.open(file) as image:
            if image.mode.startswith(("I", "F")):
                raise UserError(f"image {file} has more than 8 bit per channel; convert it to 8 bit")
            return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except (OSError, SyntaxError) as error:
        raise UserError(f"image {file} cannot be read: {error}") from error


def read_image_deep(file: Path) -> np.ndarray:
    """An image as RGB `[H, W, 3]` at its own depth: uint8, or uint16 where 65535 is white; turned as EXIF says.

    Raises:
        UserError: it cannot be read, shows through, holds several pictures or has numbers that are no 16-bit integers.
    """
    try:
        with Image.open(file) as image:
            if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
                raise UserError(f"image {file} holds several pictures; save them as separate files or as a video")
            depth = _depth(file, image)
            if depth > 16 or image.mode.startswith("F"):
                raise UserError(f"image {file} has {depth} bit per channel; convert it to 8 or 16 bit integers")
            if depth > 8:
                return _turned(_decode(file, image.format or ""), image.getexif().get(_ORIENTATION, 1))
            if image.has_transparency_data and (np.asarray(image.convert("RGBA"))[..., 3] < 255).any():
                raise _transparent(file)
            return np.array(ImageOps.exif_transpose(image).convert("RGB"))
    except UserError:
        raise
    except (*_UNREADABLE, av.FFmpegError) as error:
        raise _unreadable(file, error) from error


def image_colour(pixels: np.ndarray) -> Colour:
    """The colour of an image that states none."""
    return Colour(0, UNSPECIFIED, UNSPECIFIED, True, 8 * pixels.itemsize)


def _depth(file: Path, image: Image.Image) -> int:
    """Bits per channel in the file; Pillow's mode does not tell, since it reduces 16-bit RGB to 8."""
    if image.format == "PNG":
        with open(file, "rb") as stream:
            return stream.read(25)[24]  # of the IHDR chunk, which comes first
    bits = image.tag_v2.get(258, 1) if image.format == "TIFF" else 8  # type: ignore[attr-defined]
    return max(bits) if isinstance(bits, tuple) else int(bits)


def _decode(file: Path, kind: str) -> np.ndarray:
    context = av.CodecContext.create({"PNG": "png", "TIFF": "tiff"}[kind], "r")
    packet = av.Packet(file.read_bytes())
    frames = [*context.decode(packet), *context.decode(None)]  # type: ignore[attr-defined]
    if not frames:
        raise OSError("it holds no picture")
    if has_transparency(frames[0]):
        raise _transparent(file)
    frames[0].color_range = 2  # TIFF grey comes without a range
    return to_rgb(frames[0], 16)


def _turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Undo an EXIF orientation of 1 to 8."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 0, 2)
    down, across = orientation in (3, 4, 7, 8), orientation in (2, 3, 6, 7)
    return pixels[:: -1 if down else 1, :: -1 if across else 1]


def _transparent(file: Path) -> UserError:
    return UserError(f"image {file} has transparency, which would be lost; flatten it first")


def _unreadable(file: Path, error: BaseException) -> UserError:
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return UserError(f"image {file} cannot be read: {reason}")


def save_png(rgb: np.ndarray, path: Path) -> None:
    """Write `[H, W, 3]`, uint8 or uint16, as a PNG file; Pillow knows no RGB of 16 bits, FFmpeg does."""
    if rgb.dtype == np.uint8:
        Image.fromarray(np.ascontiguousarray(rgb)).save(path, format="png", compress_level=1)
        return
    context = av.CodecContext.create("png", "w")
    context.width, context.height, context.pix_fmt = rgb.shape[1], rgb.shape[0], "rgb48be"
    context.time_base = Fraction(1, 1)
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb48be")
    with open(path, "wb") as file:
        for picture in (frame, None):
            for packet in context.encode(picture):
                file.write(bytes(packet))
