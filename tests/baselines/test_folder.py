"""`folder:PATH`: outputs of other methods are read as they are, and only where they can be the clip's."""
from __future__ import annotations

from pathlib import Path

import av
import pytest
import torch
from PIL import Image
from torch import Tensor

from baselines.exchange import write_video
from patchvsr.degradation import quantise
from patchvsr.errors import UserError
from patchvsr.request import Request
from patchvsr.upscale import upscale
from patchvsr.upscaler import Clip, Upscaler, create
from patchvsr.video import read_frames, write_png_folder

LOW = torch.rand(4, 3, 10, 14, generator=torch.Generator().manual_seed(0))
HIGH = torch.randint(0, 256, (4, 3, 20, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
CLIP = Clip("walk", LOW)


def read(upscaler: Upscaler, first: int = 0) -> Tensor:
    return quantise(torch.cat(list(upscaler.upscale_from(first, CLIP, 2))))


def made(root: Path, *more: str) -> Upscaler:
    return create(",".join([f"folder:{root}", *more]))


def test_frames_come_back_bit_for_bit(tmp_path: Path) -> None:
    write_png_folder(HIGH, tmp_path / "walk")
    upscaler = made(tmp_path)
    told = upscaler.accept(CLIP, 2)
    assert told["output"] == "walk" and len(told["sha256"]) == 64 and "note" not in told
    assert torch.equal(read(upscaler), HIGH)
    assert torch.equal(read(upscaler, 3), HIGH[3:])
    assert not list(upscaler.upscale_from(4, CLIP, 2))
    assert upscaler.measured == {} and upscaler.weights.status == "none"


def test_another_output_has_another_hash(tmp_path: Path) -> None:
    write_png_folder(HIGH, tmp_path / "walk")
    before = made(tmp_path).accept(CLIP, 2)["sha256"]
    write_png_folder(255 - HIGH, tmp_path / "walk")
    assert made(tmp_path).accept(CLIP, 2)["sha256"] != before


def test_videos_are_read_and_lossy_ones_are_told(tmp_path: Path) -> None:
    write_video(HIGH.float() / 255, tmp_path / "walk_x2.mp4", 25)
    upscaler = made(tmp_path, "pattern={clip}_x2")
    assert "h264 video in gbrp" in upscaler.accept(CLIP, 2)["note"]
    assert torch.equal(read(upscaler), HIGH)
    assert torch.equal(read(made(tmp_path, "pattern={clip}_x2.mp4"), 2), HIGH[2:])


def test_the_command_line_tells_too(tmp_path: Path) -> None:
    write_png_folder(quantise(LOW), tmp_path / "walk")
    (tmp_path / "made").mkdir()
    write_video(HIGH.float() / 255, tmp_path / "made" / "walk.mp4", 25)
    told: list[str] = []
    request = Request(source=tmp_path / "walk", out=tmp_path / "out", scale=2, variant=f"folder:{tmp_path / 'made'}")
    upscale(request, lambda started: told.extend(started.notes), lambda done: None)
    assert any("scored from h264 video" in note for note in told)
    assert torch.equal(read_frames(tmp_path / "out"), HIGH)


def test_a_colour_matrix_that_is_not_stated_is_told(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "walk.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 28, 20, "yuv420p"
        for frame in HIGH:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame.permute(1, 2, 0).numpy().copy(), "rgb24")))
        container.mux(stream.encode())
    assert "h264 video in yuv420p that states no colour matrix:" in made(tmp_path).accept(CLIP, 2)["note"]


def test_lossless_videos_are_not_called_lossy(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "walk.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 28, 20, "bgr0"
        for frame in HIGH:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame.permute(1, 2, 0).numpy().copy(), "rgb24")))
        container.mux(stream.encode())
    assert "note" not in made(tmp_path).accept(CLIP, 2)
    assert torch.equal(read(made(tmp_path)), HIGH)


def test_jpeg_frames_are_called_lossy(tmp_path: Path) -> None:
    (tmp_path / "walk").mkdir()
    for index, frame in enumerate(HIGH):
        Image.fromarray(frame.permute(1, 2, 0).numpy()).save(tmp_path / "walk" / f"{index}.jpg")
    assert "jpg images" in made(tmp_path).accept(CLIP, 2)["note"]


def test_a_frame_number_that_misses_is_refused(tmp_path: Path) -> None:
    write_png_folder(HIGH, tmp_path / "walk")
    (tmp_path / "walk" / "00000002.png").rename(tmp_path / "walk" / "00000007.png")
    with pytest.raises(UserError, match="numbering .* leaves out 2, 4, 5, 6"):
        made(tmp_path).accept(CLIP, 2)


def test_numbering_may_start_anywhere_and_end_with_a_word(tmp_path: Path) -> None:
    write_png_folder(HIGH, tmp_path / "walk")
    for index in reversed(range(4)):
        (tmp_path / "walk" / f"{index:08d}.png").rename(tmp_path / "walk" / f"x4_{index + 9}_out.png")
    assert torch.equal(read(made(tmp_path)), HIGH)
    made(tmp_path).accept(CLIP, 2)


def test_an_image_that_is_no_frame_is_refused(tmp_path: Path) -> None:
    write_png_folder(HIGH, tmp_path / "walk")
    (tmp_path / "walk" / "00000003.png").rename(tmp_path / "walk" / "montage.png")
    with pytest.raises(UserError, match="not named as frames of one clip"):
        made(tmp_path).accept(CLIP, 2)


def test_wrong_sizes_and_counts_are_refused(tmp_path: Path) -> None:
    write_png_folder(HIGH[..., :26], tmp_path / "walk")
    with pytest.raises(UserError, match="walk is 26x20, and clip 'walk' of 14x10 at scale 2 comes out at 28x20"):
        made(tmp_path).accept(CLIP, 2)
    write_png_folder(HIGH[:3], tmp_path / "walk")
    with pytest.raises(UserError, match="has 3 frames and clip 'walk' has 4"):
        made(tmp_path).accept(CLIP, 2)


def test_no_output_or_two_are_refused(tmp_path: Path) -> None:
    write_png_folder(HIGH, tmp_path / "walks")
    with pytest.raises(UserError, match="no output for clip 'walk'.*did you mean 'walks'"):
        made(tmp_path).accept(CLIP, 2)
    write_png_folder(HIGH, tmp_path / "walk")
    write_video(HIGH.float() / 255, tmp_path / "walk.mp4", 25)
    with pytest.raises(UserError, match="several outputs for clip 'walk': .*walk, .*walk.mp4"):
        made(tmp_path).accept(CLIP, 2)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("folder", "needs the folder"),
        ("folder:nowhere", "nowhere of baseline 'folder' does not exist"),
        ("folder:README.md", "README.md of baseline 'folder' is a file"),
        ("folder:tests,pattern=x.mp4", "would give every clip the same output"),
        ("folder:tests,name=x", "no option 'name'"),
    ],
)
def test_wrong_options_are_refused(text: str, sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parent.parent.parent)
    with pytest.raises(UserError, match=sentence):
        create(text)
