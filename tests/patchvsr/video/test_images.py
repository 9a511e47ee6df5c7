"""Images as sources: folders and single files, all depths and modes."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from patchvsr.errors import UserError
from patchvsr.video import open_source, read_frames


def noise(*shape: int, deep: bool = False) -> np.ndarray:
    kind = np.uint16 if deep else np.uint8
    return np.random.default_rng(0).integers(0, np.iinfo(kind).max + 1, shape).astype(kind)


def save_deep(path: Path, pixels: np.ndarray, pix_fmt: str, codec: str) -> Path:
    """A 16-bit PNG or TIFF."""
    height, width = pixels.shape[:2]
    context = av.CodecContext.create(codec, "w")
    context.width, context.height, context.pix_fmt, context.time_base = width, height, pix_fmt, 1
    frame = av.VideoFrame(width, height, pix_fmt)
    rows = np.zeros((height, frame.planes[0].line_size), np.uint8)
    raw = np.ascontiguousarray(pixels.astype(">u2" if pix_fmt.endswith("be") else "<u2")).view(np.uint8)
    rows[:, : raw.size // height] = raw.reshape(height, -1)
    frame.planes[0].update(rows.tobytes())
    path.write_bytes(b"".join(bytes(packet) for packet in [*context.encode(frame), *context.encode(None)]))
    return path


def only(path: Path) -> np.ndarray:
    with open_source(path) as source:
        assert (source.kind, source.total, len(source), source.timing, source.rate) == ("image", 1, 1, None, None)
        frame = source[:]
        assert frame.shape == source.shape
    return frame[0].permute(1, 2, 0).numpy()


@pytest.mark.parametrize("suffix", ["png", "webp", "tif", "tiff", "bmp"])
def test_lossless_images_come_as_they_are(tmp_path: Path, suffix: str) -> None:
    pixels = noise(7, 5, 3)
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(pixels).save(path, **({"lossless": True} if suffix == "webp" else {}))
    assert np.array_equal(only(path), pixels.astype(np.float32) / np.float32(255))


def test_a_single_pixel_and_jpeg(tmp_path: Path) -> None:
    Image.new("RGB", (1, 1), (10, 20, 30)).save(tmp_path / "a.png")
    assert only(tmp_path / "a.png").shape == (1, 1, 3)
    Image.new("RGB", (9, 5), (10, 20, 30)).save(tmp_path / "a.JPG", quality=100)
    assert np.abs(only(tmp_path / "a.JPG") * 255 - (10, 20, 30)).max() < 3


@pytest.mark.parametrize(("name", "codec"), [("a.png", "png"), ("a.tif", "tiff")])
def test_sixteen_bits_are_kept(tmp_path: Path, name: str, codec: str) -> None:
    order = "be" if codec == "png" else "le"
    colours = noise(6, 9, 3, deep=True)
    path = save_deep(tmp_path / name, colours, f"rgb48{order}", codec)
    assert np.array_equal(np.rint(only(path) * 65535), colours)
    with open_source(path) as source:
        assert source.colour.depth == 16 and source.colour.matrix == 0
    grey = noise(6, 9, deep=True)
    got = only(save_deep(tmp_path / f"grey-{name}", grey, f"gray16{order}", codec))
    assert np.array_equal(np.rint(got * 65535), np.stack([grey] * 3, -1))


def test_sixteen_bit_alpha_must_be_opaque(tmp_path: Path) -> None:
    pixels = noise(6, 9, 4, deep=True)
    pixels[..., 3] = 65535
    got = only(save_deep(tmp_path / "a.png", pixels, "rgba64be", "png"))
    assert np.array_equal(np.rint(got * 65535), pixels[..., :3])
    pixels[2, 2, 3] = 300
    with pytest.raises(UserError, match="transparency"):
        open_source(save_deep(tmp_path / "b.png", pixels, "rgba64be", "png"))


@pytest.mark.parametrize("mode", ["L", "P", "1", "RGBA", "LA", "CMYK"])
def test_other_modes_become_rgb(tmp_path: Path, mode: str) -> None:
    plain = Image.fromarray(noise(8, 8, 3)).convert("RGB")
    image = plain.convert(mode)
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    image.save(path)
    assert np.array_equal(np.rint(only(path) * 255), np.asarray(image.convert("RGB")))


def test_transparency_is_refused(tmp_path: Path) -> None:
    image = Image.new("RGBA", (4, 4), (9, 9, 9, 255))
    image.putpixel((1, 2), (9, 9, 9, 254))
    image.save(tmp_path / "a.png")
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 9, 9, 9])
    palette.putpixel((0, 0), 0)
    palette.save(tmp_path / "b.png", transparency=0)
    for name in ("a.png", "b.png"):
        with pytest.raises(UserError, match=f"{name} has transparency, which would be lost; flatten it first"):
            open_source(tmp_path / name)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_honoured_at_both_depths(tmp_path: Path, orientation: int) -> None:
    pixels = noise(4, 6, 3)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    wanted = read_frames_of(tmp_path / "a.png")
    assert np.array_equal(np.rint(only(tmp_path / "a.png") * 255), wanted)
    deep = save_deep(tmp_path / "b.png", pixels.astype(np.uint16) * 257, "rgb48be", "png")
    chunk = next(part for part in chunks((tmp_path / "a.png").read_bytes()) if part[4:8] == b"eXIf")
    data = deep.read_bytes()
    deep.write_bytes(data[:33] + chunk + data[33:])  # behind IHDR
    assert np.array_equal(np.rint(only(deep) * 255), wanted)


def chunks(png: bytes) -> list[bytes]:
    found, at = [], 8
    while at < len(png):
        end = at + 12 + int.from_bytes(png[at : at + 4], "big")
        found.append(png[at:end])
        at = end
    return found


def read_frames_of(file: Path) -> np.ndarray:
    """As benchmarks read it."""
    folder = file.with_suffix("")
    folder.mkdir()
    (folder / file.name).write_bytes(file.read_bytes())
    return read_frames(folder)[0].permute(1, 2, 0).numpy()


def test_a_folder_is_a_clip_in_natural_order(tmp_path: Path) -> None:
    frames = [noise(5, 7, 3) // (i + 1) for i in range(3)]
    for name, frame in zip(("f2.png", "f10.tif", "F11.bmp"), frames, strict=True):
        Image.fromarray(frame).save(tmp_path / name)
    save_deep(tmp_path / "f12.png", frames[0].astype(np.uint16) * 257, "rgb48be", "png")
    (tmp_path / ".hidden.png").write_bytes(b"")
    with open_source(tmp_path) as source:
        assert (source.kind, source.shape, source.timing) == ("images", (4, 3, 5, 7), None)
        every = source[:].permute(0, 2, 3, 1).numpy()
        assert np.array_equal(np.rint(every * 255), [*frames, frames[0]])
        assert np.array_equal(source[1:2].permute(0, 2, 3, 1).numpy(), every[1:2])
    with open_source(tmp_path, (1, 3)) as part:
        assert (part.start, part.total, len(part)) == (1, 4, 2)
        assert np.array_equal(part[:].permute(0, 2, 3, 1).numpy(), every[1:3])
    with pytest.raises(UserError, match="4 frames"):
        open_source(tmp_path, (2, 5))


def test_images_that_cannot_make_a_clip_are_errors(tmp_path: Path) -> None:
    Image.new("RGB", (20, 12)).save(tmp_path / "0.png")
    Image.new("RGB", (21, 12)).save(tmp_path / "1.png")
    with pytest.raises(UserError, match="20x12, 21x12"):
        open_source(tmp_path)
    with open_source(tmp_path, (0, 1)) as source:  # the other is not asked for
        assert source.shape == (1, 3, 12, 20)
    Image.fromarray(noise(40, 40, 3)).save(tmp_path / "1.png")
    cut = tmp_path / "cut.png"
    cut.write_bytes((tmp_path / "1.png").read_bytes()[:900])
    with pytest.raises(UserError, match="cut.png cannot be read"):
        open_source(cut)
    cut.write_bytes(b"")
    with pytest.raises(UserError, match="cut.png cannot be read"):
        open_source(cut)
    cut.write_bytes(b"neither this nor that")
    with pytest.raises(UserError, match="cut.png cannot be read"):
        open_source(cut)


@pytest.mark.parametrize("mode", ["F", "I"])
def test_numbers_that_are_no_sixteen_bit_integers_are_refused(tmp_path: Path, mode: str) -> None:
    Image.new(mode, (8, 8)).save(tmp_path / "a.tif")
    with pytest.raises(UserError, match="32 bit"):
        open_source(tmp_path / "a.tif")


def test_several_pictures_in_one_file_are_refused(tmp_path: Path) -> None:
    pictures = [Image.new("RGB", (8, 8), (i, 0, 0)) for i in range(2)]
    pictures[0].save(tmp_path / "a.tif", save_all=True, append_images=pictures[1:])
    with pytest.raises(UserError, match="several pictures"):
        open_source(tmp_path / "a.tif")
