"""Reading videos and image folders, and writing lossless folders."""

from __future__ import annotations

import hashlib
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from patchvsr.errors import UserError
from patchvsr.video import FrameWriter, frames_sha256, image_files, iter_frames, probe, read_frames, write_png_folder

KR_KB = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}


def clip(frames: int = 3, height: int = 12, width: int = 20, seed: int = 0) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.integers(0, 256, (frames, 3, height, width), dtype=np.uint8))


def encode(
    path: Path,
    frames: int = 4,
    size: tuple[int, int] = (64, 48),
    yuv: tuple[int, int, int] = (120, 90, 170),
    matrix: int = 0,
    color_range: int = 0,
    ramp: bool = False,
) -> Path:
    """A lossless 4:4:4 H.264 video of flat colour; with `ramp`, frame i has luma 40 + 10 i."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"qp": "0"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv444p"
        for index in range(frames):
            frame = av.VideoFrame(*size, "yuv444p")
            values = (40 + 10 * index, 128, 128) if ramp else yuv
            for plane, value in zip(frame.planes, values, strict=True):
                plane.update(bytes([value]) * plane.buffer_size)
            for target in (frame, stream.codec_context):
                if matrix:
                    target.colorspace = matrix
                if color_range:
                    target.color_range = color_range
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def rgb(yuv: tuple[int, int, int], matrix: int, full: bool) -> np.ndarray:
    """RGB 0..255 of Y'CbCr from the matrix's definition."""
    kr, kb = KR_KB[matrix]
    y = yuv[0] / 255 if full else (yuv[0] - 16) / 219
    cb, cr = ((value - 128) / (255 if full else 224) for value in yuv[1:])
    red, blue = y + 2 * (1 - kr) * cr, y + 2 * (1 - kb) * cb
    return np.array([red, (y - kr * red - kb * blue) / (1 - kr - kb), blue]) * 255


@pytest.mark.parametrize("matrix", [1, 5, 6, 9])
@pytest.mark.parametrize("full", [False, True])
def test_colours_follow_the_matrix_and_range_of_the_file(tmp_path: Path, matrix: int, full: bool) -> None:
    path = encode(tmp_path / "a.mp4", matrix=matrix, color_range=2 if full else 1)
    got = read_frames(path)[0, :, 20, 20].numpy()
    assert np.abs(got - rgb((120, 90, 170), matrix, full)).max() <= 0.8


@pytest.mark.parametrize(("size", "matrix"), [((64, 48), 6), ((1280, 720), 1)])
def test_unstated_matrix_is_601_below_720_lines_and_709_above(
    tmp_path: Path, size: tuple[int, int], matrix: int
) -> None:
    got = read_frames(encode(tmp_path / "a.mp4", frames=1, size=size))[0, :, 20, 20].numpy()
    assert np.abs(got - rgb((120, 90, 170), matrix, False)).max() <= 0.8


def test_frames_come_in_order_from_the_start_asked_for(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp4", frames=8, ramp=True)
    every = read_frames(path)
    assert every.shape == (8, 3, 48, 64) and every.dtype == torch.uint8
    luma = every[:, 1, 5, 5].float() * 219 / 255 + 16
    assert torch.allclose(luma, 40 + 10 * torch.arange(8.0), atol=0.6)
    assert torch.equal(read_frames(path, 3, 2), every[3:5])
    assert torch.equal(read_frames(path, 6), every[6:])
    assert (probe(path).frames, probe(path).height, probe(path).width) == (8, 48, 64)


@pytest.mark.parametrize(("degrees", "corner"), [(0, (0, 0)), (90, (1, 0)), (180, (1, 1)), (270, (0, 1))])
def test_rotation_flag_is_honoured(tmp_path: Path, degrees: int, corner: tuple[int, int]) -> None:
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"qp": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv444p"
        stream.set_display_rotation(degrees)  # counterclockwise
        picture = np.zeros((48, 64, 3), np.uint8)
        picture[:24, :32] = 255  # top left
        container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    frame = read_frames(path)[0]
    assert frame.shape == ((3, 64, 48) if degrees % 180 else (3, 48, 64))
    assert (probe(path).height, probe(path).width) == frame.shape[1:]
    bright = frame[0].float().reshape(2, frame.shape[1] // 2, 2, frame.shape[2] // 2).mean((1, 3)) > 128
    assert bright.nonzero().tolist() == [list(corner)]


def test_fewer_frames_than_asked_is_an_error(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp4", frames=4)
    for start, frames in ((0, 5), (3, 2), (4, None), (9, 1)):
        with pytest.raises(UserError, match="holds 4 frames"):
            read_frames(path, start, frames)
    for start, frames in ((-1, None), (0, 0)):
        with pytest.raises(UserError, match="at least one"):
            read_frames(path, start, frames)


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_truncated_video_is_an_error(tmp_path: Path, suffix: str) -> None:
    source = tmp_path / f"a.{suffix}"
    with av.open(str(source), "w", options={"movflags": "faststart"} if suffix == "mp4" else {}) as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for frame in clip(50, 48, 64):
            picture = np.ascontiguousarray(frame.permute(1, 2, 0).numpy())
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    assert probe(source).frames == len(read_frames(source)) == 50
    data = source.read_bytes()
    cut = tmp_path / f"cut.{suffix}"
    for share in (0.5, 0.95) if suffix == "mp4" else (0.3, 0.6):  # mkv states its length only to a few frames
        cut.write_bytes(data[: int(share * len(data))])
        for read in (read_frames, probe):
            with pytest.raises(UserError, match="truncated"):
                read(cut)


def test_what_is_no_video_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        read_frames(tmp_path / "missing.mp4")
    noise = tmp_path / "noise.mp4"
    noise.write_bytes(bytes(range(256)) * 40)
    for read in (read_frames, probe):
        with pytest.raises(UserError, match="noise.mp4 cannot be read"):
            read(noise)


def test_image_folder_is_read_in_natural_order(tmp_path: Path) -> None:
    frames = clip(3)
    for name, frame in zip(("frame2.png", "frame10.png", "Frame11.png"), frames, strict=True):
        Image.fromarray(frame.permute(1, 2, 0).numpy()).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("not an image")
    assert [file.name for file in image_files(tmp_path)] == ["frame2.png", "frame10.png", "Frame11.png"]
    assert torch.equal(read_frames(tmp_path), frames)
    assert torch.equal(read_frames(tmp_path, 1, 1), frames[1:2])
    assert (probe(tmp_path).frames, probe(tmp_path).height, probe(tmp_path).width) == (3, 12, 20)


def test_images_of_other_sizes_are_an_error_that_names_both(tmp_path: Path) -> None:
    Image.new("RGB", (20, 12)).save(tmp_path / "0.png")
    Image.new("RGB", (21, 12)).save(tmp_path / "1.png")
    for read in (read_frames, probe):
        with pytest.raises(UserError, match="20x12, 21x12"):
            read(tmp_path)


def test_broken_deep_or_missing_images_are_errors(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no png, jpg or webp"):
        read_frames(tmp_path)
    path = tmp_path / "0.png"
    Image.fromarray(clip(1, 40, 40)[0].permute(1, 2, 0).numpy()).save(path)
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(UserError, match="0.png cannot be read"):
        read_frames(tmp_path)
    Image.fromarray(np.zeros((8, 8), np.uint16)).save(path)
    with pytest.raises(UserError, match="8 bit"):
        read_frames(tmp_path)


def test_written_folder_is_lossless_and_its_hash_is_that_of_the_frames(tmp_path: Path) -> None:
    frames = clip(5)
    digest = write_png_folder(frames, tmp_path / "deep" / "out")
    assert sorted(p.name for p in (tmp_path / "deep" / "out").iterdir()) == [f"{i:08d}.png" for i in range(5)]
    assert torch.equal(read_frames(tmp_path / "deep" / "out"), frames)
    raw = b"".join(frame.permute(1, 2, 0).contiguous().numpy().tobytes() for frame in frames)
    assert digest == frames_sha256(frames) == hashlib.sha256(b"rgb24 20x12\n" + raw).hexdigest()
    assert frames_sha256(frames.reshape(5, 3, 20, 12)) != digest


def test_writer_takes_chunks_of_any_length(tmp_path: Path) -> None:
    frames = clip(7)
    with FrameWriter(tmp_path / "out") as writer:
        for chunk in (frames[:3], frames[3:4], frames[4:]):
            writer.write(chunk)
        assert not (tmp_path / "out").exists()
    assert writer.frames == 7 and writer.sha256 == frames_sha256(frames)
    assert torch.equal(read_frames(tmp_path / "out"), frames)


def test_writer_leaves_nothing_when_it_fails_and_keeps_what_was_there(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), FrameWriter(tmp_path / "out") as writer:
        writer.write(clip())
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UserError, match="no frame"), FrameWriter(tmp_path / "out"):
        pass
    assert list(tmp_path.iterdir()) == []
    write_png_folder(clip(4), tmp_path / "out")
    with pytest.raises(ValueError, match="follows"), FrameWriter(tmp_path / "out") as writer:
        writer.write(clip(1))
        writer.write(clip(1, 13, 20))
    assert len(read_frames(tmp_path / "out")) == 4
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_writer_replaces_an_older_folder_whole(tmp_path: Path) -> None:
    write_png_folder(clip(6), tmp_path / "out")
    write_png_folder(clip(2, seed=1), tmp_path / "out")
    assert torch.equal(read_frames(tmp_path / "out"), clip(2, seed=1))
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_writer_refuses_floats(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="uint8"), FrameWriter(tmp_path / "out") as writer:
        writer.write(clip().float())


def test_frames_are_decoded_as_they_are_asked_for(tmp_path: Path) -> None:
    write_png_folder(clip(3), tmp_path / "out")
    (tmp_path / "out" / "00000002.png").write_bytes(b"broken")
    frames = iter_frames(tmp_path / "out")
    assert next(frames).shape == next(frames).shape == (3, 12, 20)
    with pytest.raises(UserError, match="00000002.png"):
        next(frames)
