"""The suites' YAML files, and their data: found in every layout, refused unless it is the protocol's."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import av
import pytest
import torch
from torch import Tensor

from benchmarks.frames import whole
from benchmarks.metrics import metrics
from benchmarks.plan import Request, _metrics
from benchmarks.suites import SuiteClip, load_suite
from benchmarks.suites.dataset import OWN
from benchmarks.suites.definition import Definition, load_definition, read_definition
from patchvsr.degradation import degradations
from patchvsr.errors import UserError
from patchvsr.video import write_png_folder
from tests.benchmarks.replicas import (
    DATASETS,
    FRAMES,
    HEIGHT,
    WIDTH,
    as_yaml,
    build,
    known,
    lowered,
    names,
    picture,
    place,
    read_gt,
    replica,
    shrunk,
    snapshot,
    truth,
    yaml_suites,
)

pytestmark = pytest.mark.usefixtures("cache")

LAYOUTS = [(name, index) for name in DATASETS for index in range(len(known(name).layouts))]
OFFICIAL = {
    "reds4": "REDS/train_sharp/011 REDS/train_sharp_bicubic/X4/011",
    "reds30": "REDS/val_sharp/017 REDS/val_sharp_bicubic/X4/017",
    "vid4": "Vid4/GT/calendar Vid4/BIx4/calendar",
    "vid4_bd": "Vid4/GT/walk Vid4/BDx4/walk",
    "udm10": "UDM10/GT/archpeople UDM10/BDx4/archpeople",
    "spmcs": "SPMCS/GT/007 SPMCS/LQ/007",
    "youhq40": "YouHQ40/GT/007 YouHQ40/LQ/007",
    "videolq": "VideoLQ/049",
}
OTHERS = {
    ("reds4", 2): "train/train_sharp/020 train/train_sharp_bicubic/X4/020",
    ("udm10", 1): "UDM10/band/truth UDM10/band/blur4",
    ("spmcs", 1): "SPMCS/003/truth",
}


def load(suite: Definition, root: Path, frames: int | None = None, scale: float | None = None) -> list[SuiteClip]:
    return load_definition(suite, root, frames, scale)


def refused(suite: Definition, root: Path) -> str:
    with pytest.raises(UserError) as caught:
        load(suite, root)
    return str(caught.value)


def write_video(frames: Tensor, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264rgb", rate=25)
        stream.width, stream.height, stream.pix_fmt = frames.shape[3], frames.shape[2], "rgb24"
        stream.options = {"crf": "0"}
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame.permute(1, 2, 0).numpy().copy(), "rgb24")))
        container.mux(stream.encode(None))


@pytest.mark.parametrize("name", yaml_suites())
def test_every_suite_names_only_what_there_is(name: str) -> None:
    suite = known(name)
    assert suite.suite == name and suite.description and suite.scale == 4.0
    assert suite.degradation is None or suite.degradation in degradations
    assert all(metric in metrics for metric in suite.metrics) and set(suite.metric_frames) <= set(suite.metrics)
    assert len({entry.name for entry in suite.clips}) == len(suite.clips)
    if not suite.embedded:
        assert suite.paper and suite.get and suite.licence and suite.metrics and suite.layouts
        assert suite.degradation is not None if suite.gt else suite.degradation is None
    assert list(_metrics(Request(variants=[], suite=name)))[: len(suite.metrics)] == list(suite.metrics)


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("reds4", dict.fromkeys(("000", "011", "015", "020"), (100, 1280, 720))),
        ("reds30", {f"{index:03d}": (100, 1280, 720) for index in range(30)}),
        ("videolq", {f"{index:03d}": (100, None, None) for index in range(50)}),
        *((vid4, {"calendar": (41, 720, 576), "city": (34, 704, 576), "foliage": (49, 720, 480),
                  "walk": (47, 720, 480)}) for vid4 in ("vid4", "vid4_bd")),
        ("udm10", dict.fromkeys("archpeople archwall auditorium band caffe camera clap lake photography "
                                "polyflow".split(), (32, 1272, 720))),
    ],
)  # fmt: skip
def test_the_suites_have_the_clips_of_their_papers(name: str, sizes: dict[str, tuple[int, int, int]]) -> None:
    assert {entry.name: (entry.frames, entry.width, entry.height) for entry in known(name).clips} == sizes


def test_suites_whose_clips_are_not_named_state_how_many_there_are() -> None:
    assert (known("spmcs").count, known("spmcs").each) == (30, {"frames": 31, "width": 960, "height": 540})
    assert (known("youhq40").count, known("youhq40").each) == (40, {"width": 1920, "height": 1080})


def test_the_protocols_of_the_suites() -> None:
    made_by = {name: known(name).degradation for name in DATASETS}
    assert made_by == {
        "reds4": "bicubic", "reds30": "bicubic", "vid4": "bicubic", "vid4_bd": "bd", "udm10": "bd",
        "spmcs": "realworld", "youhq40": "realworld", "videolq": None,
    }  # fmt: skip
    for name in DATASETS:
        luma = {"psnr_y", "ssim_y"} <= set(known(name).metrics)
        assert luma == (name in ("vid4", "vid4_bd", "udm10"))
    assert [name for name in DATASETS if not known(name).gt] == ["videolq"]


def test_videolq_scores_three_frames_of_a_clip_without_reference_and_all_in_time() -> None:
    suite = known("videolq")
    scored = "niqe brisque musiq clipiqa maniqa aesthetics".split()
    assert suite.metric_frames == dict.fromkeys(scored, (0, 50, 99))
    made = _metrics(Request(variants=[], suite="videolq"))
    for name, metric in made.items():
        assert ("frames 0 50 99" in metric.identity()) == (name in scored)
        assert not metric.needs_target


@pytest.mark.parametrize(("name", "index"), LAYOUTS)
@pytest.mark.parametrize("lq", [True, False])
def test_a_suite_is_found_in_each_of_its_layouts(tmp_path: Path, name: str, index: int, lq: bool) -> None:
    suite = shrunk(known(name))
    layout = suite.layouts[index]
    lq = lq or not suite.gt
    build(suite, tmp_path, layout, lq=lq)
    official = OFFICIAL[name] if index == 0 else OTHERS.get((name, index), "")
    assert all((tmp_path / path).is_dir() == (lq or not side) for side, path in enumerate(official.split()))
    clips = load(suite, tmp_path)
    assert [clip.name for clip in clips] == names(suite)
    as_it_came = lq and layout.lq is not None
    identity = None if as_it_came or suite.degradation is None else degradations.get(suite.degradation).identity
    for number, clip in enumerate(clips):
        assert (clip.suite, clip.scale, clip.frames, clip.has_gt) == (name, 4.0, FRAMES, suite.gt)
        assert clip.degradation == identity and clip.licence == suite.licence and clip.caption is None
        if suite.gt and (number < 2 or as_it_came):
            assert torch.equal(read_gt(clip), truth(suite, number))
            low = lowered(truth(suite, number), 4, "bicubic" if as_it_came else str(suite.degradation), clip.name)
            assert torch.equal(whole(clip.lq()), low)


@pytest.mark.parametrize("name", DATASETS)
def test_the_layout_of_our_own_comes_before_the_official_ones(tmp_path: Path, name: str) -> None:
    suite = replica(name, tmp_path)
    official = load(suite, tmp_path)[0].source
    for index, clip in enumerate(names(suite)):
        high = picture(FRAMES, HEIGHT, WIDTH, seed=100 + index)
        write_png_folder(high if suite.gt else lowered(high), place(suite, tmp_path, str(OWN.lq), clip))
        if suite.gt:
            write_png_folder(high, place(suite, tmp_path, str(OWN.gt), clip))
            write_png_folder(lowered(high), place(suite, tmp_path, str(OWN.lq), clip))
    first = load(suite, tmp_path)[0]
    assert first.source != official
    high = picture(FRAMES, HEIGHT, WIDTH, seed=100)
    assert torch.equal(whole(first.lq()), lowered(high))
    assert not suite.gt or torch.equal(read_gt(first), high)


def test_clips_can_be_videos(tmp_path: Path) -> None:
    suite = shrunk(known("vid4"))
    for index, clip in enumerate(names(suite)):
        write_video(truth(suite, index), tmp_path / "vid4" / "GT" / f"{clip}.mkv")
    clips = load(suite, tmp_path)
    assert [clip.name for clip in clips] == ["calendar", "city", "foliage", "walk"]
    assert torch.equal(read_gt(clips[1]), truth(suite, 1))
    assert torch.equal(whole(clips[1].lq()), lowered(truth(suite, 1)))


def test_captions_and_licences_of_single_clips_are_handed_on(tmp_path: Path) -> None:
    suite = replica("vid4", tmp_path)
    first = replace(suite.clips[0], caption="a calendar", licence="CC0")
    clips = load(replace(suite, clips=(first, *suite.clips[1:])), tmp_path)
    assert (clips[0].caption, clips[0].licence) == ("a calendar", "CC0")
    assert (clips[1].caption, clips[1].licence) == (None, suite.licence)


def test_vid4_bd_takes_the_ground_truth_that_vid4_has_in_our_own_layout(tmp_path: Path) -> None:
    build(shrunk(known("vid4")), tmp_path)
    suite = shrunk(known("vid4_bd"))
    clip = load(suite, tmp_path)[2]
    assert clip.degradation == degradations.get("bd").identity
    assert torch.equal(whole(clip.lq()), lowered(truth(suite, 2), 4, "bd"))


def test_other_frames_and_scales_than_the_suites_own(tmp_path: Path) -> None:
    suite = replica("vid4", tmp_path, lq=False)
    clip = load(suite, tmp_path, frames=2, scale=2.0)[0]
    assert (clip.frames, clip.scale, tuple(clip.lq().shape)) == (2, 2.0, (2, 3, HEIGHT // 2, WIDTH // 2))
    with pytest.raises(UserError, match="'calendar' has 3 frames .* and 4 are asked for"):
        load(suite, tmp_path, frames=4)
    build(suite, tmp_path, suite.layouts[0])
    with pytest.raises(UserError, match="clip 'calendar'.*do not fit scale 2"):
        load(suite, tmp_path, scale=2.0)


def test_another_degradation_takes_the_place_of_input_that_is_there(tmp_path: Path) -> None:
    suite = replica("reds4", tmp_path)
    clip = load(suite.degraded_by("bd"), tmp_path)[0]
    assert clip.degradation == degradations.get("bd").identity
    assert torch.equal(whole(clip.lq()), lowered(truth(suite, 0), 4, "bd"))
    with pytest.raises(UserError, match="'bicubik'.*did you mean 'bicubic'"):
        suite.degraded_by("bicubik")
    with pytest.raises(UserError, match="'videolq' has no ground truth"):
        known("videolq").degraded_by("bd")


def test_a_layout_is_not_hidden_by_the_folder_above_it(tmp_path: Path) -> None:
    suite = replica("videolq", tmp_path, layout=1)
    assert (tmp_path / "VideoLQ" / "Input" / "000").is_dir() and len(load(suite, tmp_path)) == 50
    shutil.rmtree(tmp_path / "VideoLQ" / "Input" / "004")
    assert f"clip '004' is missing: {tmp_path / 'VideoLQ/Input/004'}" in refused(suite, tmp_path)


@pytest.mark.parametrize("name", DATASETS)
def test_without_its_data_a_suite_says_how_to_get_it(tmp_path: Path, name: str) -> None:
    for root in (None, tmp_path):
        with pytest.raises(UserError, match=f"suite '{name}'.*`python -m benchmarks.data list {name}`"):
            load_suite(name, root)


@pytest.mark.parametrize("name", DATASETS)
def test_every_missing_clip_is_named(tmp_path: Path, name: str) -> None:
    suite = replica(name, tmp_path)
    layout = suite.layouts[0]
    gone = names(suite)[1:3]
    side = str(layout.gt or layout.lq)
    for clip in gone:
        shutil.rmtree(place(suite, tmp_path, side, clip))
    message = refused(suite, tmp_path)
    for clip in gone:
        assert f"clip '{clip}' is missing: {place(suite, tmp_path, side, clip)}" in message
    assert names(suite)[0] not in message.replace(str(tmp_path), "") and message.count(" is missing") == 2


def test_a_clip_that_lacks_its_input_is_not_degraded_in_its_place(tmp_path: Path) -> None:
    suite = replica("reds4", tmp_path)
    shutil.rmtree(tmp_path / "REDS/train_sharp_bicubic/X4/015")
    assert "clip '015' is missing" in refused(suite, tmp_path)
    assert "(LQ) is not there" in refused(suite, tmp_path)


def test_missing_frames_are_named_by_number(tmp_path: Path) -> None:
    suite = shrunk(known("reds4"), frames=14)
    build(suite, tmp_path, suite.layouts[0])
    for number in (3, 7):
        (tmp_path / f"REDS/train_sharp/011/{number:08d}.png").unlink()
    for number in range(1, 13):
        (tmp_path / f"REDS/train_sharp_bicubic/X4/020/{number:08d}.png").unlink()
    message = refused(suite, tmp_path)
    assert "clip '011'" in message and "has 12 frames of 14: 00000003, 00000007 missing" in message
    tenth = ", ".join(f"{number:08d}" for number in range(1, 11))
    assert f"X4/020 (LQ) has 2 frames of 14: {tenth} and more missing" in message


def test_frames_that_count_from_one_are_whole(tmp_path: Path) -> None:
    suite = replica("vid4", tmp_path, lq=False)
    for number in (3, 2, 1):
        (tmp_path / f"Vid4/GT/city/{number - 1:08d}.png").rename(tmp_path / f"Vid4/GT/city/{number:08d}.png")
    assert len(load(suite, tmp_path)) == 4
    (tmp_path / "Vid4/GT/city/00000003.png").unlink()
    assert "has 2 frames of 3: 00000003 missing" in refused(suite, tmp_path)


def test_frames_too_many_are_refused(tmp_path: Path) -> None:
    suite = replica("videolq", tmp_path)
    write_png_folder(picture(FRAMES + 1, HEIGHT, WIDTH), tmp_path / "VideoLQ" / "033")
    assert "clip '033'" in refused(suite, tmp_path) and "has 4 frames of 3;" in refused(suite, tmp_path)


def test_wrong_sizes_are_named_on_both_sides(tmp_path: Path) -> None:
    suite = replica("udm10", tmp_path)
    write_png_folder(picture(FRAMES, HEIGHT, WIDTH + 8), tmp_path / "UDM10/GT/band")
    write_png_folder(picture(FRAMES, 8, 8), tmp_path / "UDM10/BDx4/clap")
    message = refused(suite, tmp_path)
    assert "band (GT) is 56x32, not 48x32" in message
    assert "clap (LQ) is 8x8, not 12x8" in message and message.count("not ") == 3


@pytest.mark.parametrize("count", [29, 31])
def test_another_number_of_clips_than_the_suites_is_refused(tmp_path: Path, count: int) -> None:
    suite = shrunk(known("spmcs"))
    build(replace(suite, count=count), tmp_path, suite.layouts[0], lq=False)
    assert f"'spmcs' has 30 clips and {tmp_path / 'SPMCS/GT'} holds {count}" in refused(suite, tmp_path)


def test_an_image_without_a_readable_header_is_named_at_once(tmp_path: Path) -> None:
    suite = replica("vid4", tmp_path)
    (tmp_path / "Vid4/GT/city/00000001.png").write_bytes(b"no image")
    assert "clip 'city': GT: image" in refused(suite, tmp_path)
    assert "city/00000001.png cannot be read" in refused(suite, tmp_path)


def test_a_data_root_that_cannot_be_written_is_enough(tmp_path: Path, cache: Path) -> None:
    suite = replica("vid4", tmp_path, lq=False)
    before = snapshot(tmp_path)
    folders = [tmp_path, *(path for path in tmp_path.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    try:
        assert [len(whole(clip.lq())) for clip in load(suite, tmp_path)] == [FRAMES] * 4
        assert snapshot(tmp_path) == before and len(list((cache / "lq").iterdir())) == 4
    finally:
        for folder in folders:
            folder.chmod(0o755)


def test_the_suite_file_of_a_replica_says_what_the_suites_own_does(tmp_path: Path) -> None:
    suite = shrunk(known("videolq"))
    assert replace(read_definition(as_yaml(suite, tmp_path)), path=suite.path) == suite
