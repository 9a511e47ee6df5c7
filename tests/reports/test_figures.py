"""Figures: drawn for few and many, with no text that is cut or lies on another, and true to the evidence."""
from __future__ import annotations

import csv
import warnings
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.image import AxesImage
from matplotlib.text import Text
from PIL import Image

from benchmarks.metrics import metrics
from benchmarks.metrics.base import Sample
from benchmarks.store import Score
from patchvsr.errors import UserError
from patchvsr.upscaler import Cuts
from reports.figures import Figure, figures, save
from reports.figures.cost import cost
from reports.figures.crops import Place, _largest_difference, crops
from reports.figures.frames import places_of
from reports.figures.pareto import _front
from reports.figures.ranks import ranks_of
from reports.figures.seams import REACH, profile_of
from reports.figures.slices import place_of
from reports.figures.style import LINES, in_lines, looks, looks_of, names_of, styled
from reports.material import Material, collect
from reports.tables import NotHere
from tests.reports.runs import SIZE, make_run, value_of

LONG = "full:tiling=overlapped,overlap=0.5,steps={}"
NAMES = ("psnr", "lpips", "niqe", "seam", "seam_step", "seconds")
HOSTILE = ["_x", "漢字 & <b>$a$\n{y}^2", "W" * 400, "W" * 401]


def cost_file(folder: Path, variants: Sequence[str], more: str = "") -> Path:
    """A cost.csv of two frame sizes, two parts and two bases."""
    path = folder / "cost.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["variant", "base", "frame", "frames", "part", "tflop"])
        writer.writerows([variant, base, frame, 17, part, tflop * times * (index + 1)]
                         for base, times in (("nano", 1), ("large", 100))
                         for index, variant in enumerate(variants)
                         for frame, tflop in (("64x64", 1.0), ("128x128", 4.0))
                         for part in ("dit", "codec"))  # fmt: skip
        file.write(more)
    return path


@pytest.fixture(scope="module", params=["two variants", "twenty", "hostile"])
def material(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Material:
    folder = tmp_path_factory.mktemp("runs")
    many = [LONG.format(step) for step in range(1, 20)]
    variants = ["bicubic", *{"two variants": many[:1], "twenty": many, "hostile": HOSTILE}[request.param]]
    clips = [f"a_clip_with_a_long_name_{i}__1" for i in range(30 if request.param == "two variants" else 2)]
    run = make_run(folder / "run", variants, clips, NAMES, frames=6)
    return collect([run], costs=[cost_file(folder, variants)])


def drawn(figure: Figure) -> tuple[Any, Any]:
    """The figure as matplotlib's, drawn, and its renderer."""
    with styled(), warnings.catch_warnings():
        warnings.simplefilter("error")  # a sign that the font has not
        canvas = figure.draw()
        renderer = FigureCanvasAgg(canvas).get_renderer()
        canvas.draw(renderer)
    return canvas, renderer


def texts_in(canvas: Any, renderer: Any) -> Iterator[tuple[str, np.ndarray]]:
    """Every text that can be seen, with the corners of its box, turned as it is, in pixels."""
    unseen = {label for axes in canvas.axes for axis in (axes.xaxis, axes.yaxis) for label in outside(axis)}
    for text in canvas.findobj(Text):
        if text.get_text().strip() and text.get_visible() and text not in unseen:
            yield text.get_text(), corners(text, renderer)


def texts_of(figure: Figure) -> list[str]:
    """What can be read in a figure."""
    return [text for text, _ in texts_in(*drawn(figure))]


def outside(axis: Any) -> set[Text]:
    """Labels of ticks beyond the ends of an axis, which exist and are not drawn; of all, where the axis is off."""
    low, high = sorted(axis.get_view_interval())
    ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
    gone = [tick for tick in ticks if not axis.axes.axison or not low <= tick.get_loc() <= high]
    return {label for tick in gone for label in (tick.label1, tick.label2)}


def corners(text: Text, renderer: Any) -> np.ndarray:
    """`[4, 2]`, around its box; of a turned one that is not the box around the corners, which is much larger."""
    angle = text.get_rotation()
    if angle % 90 == 0:
        return text.get_window_extent(renderer).corners()[[0, 1, 3, 2]]
    where = np.array(text.get_transform().transform(text.get_position()))
    assert text.get_rotation_mode() == "anchor"  # aligned first, and then turned about its place
    text.set_rotation(0)
    box = text.get_window_extent(renderer).corners()[[0, 1, 3, 2]]
    text.set_rotation(angle)
    turn = np.deg2rad(angle)
    return (box - where) @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]) + where


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    """By how many pixels two convex boxes lie on each other, along the side where they do least."""
    sides = [box[(i + 1) % 4] - box[i] for box in (one, other) for i in range(2)]
    least = float("inf")
    for side in sides:
        normal = np.array([-side[1], side[0]]) / max(np.hypot(*side), 1e-9)
        a, b = one @ normal, other @ normal
        least = min(least, min(a.max(), b.max()) - max(a.min(), b.min()))
    return least


@pytest.mark.parametrize("name", list(figures))
def test_every_variant_is_named_and_no_text_is_cut_or_lies_on_another(material: Material, name: str) -> None:
    figure, *others = figures.get(name)(material)
    assert len(others) == (name == "cost")
    canvas, renderer = drawn(figure)
    shown = list(texts_in(canvas, renderer))
    for text, box in shown:
        inside = box.min() >= -1 and box[:, 0].max() <= canvas.bbox.x1 + 1 and box[:, 1].max() <= canvas.bbox.y1 + 1
        assert inside, f"{text!r} is cut"
    for (first, one), (second, other) in combinations(shown, 2):
        assert overlap(one, other) <= 1, f"{first!r} and {second!r} lie on each other"
    variants = material.evidence.variants(material.evidence.settings[0])
    most = {"crops": 11, "slices": 10}.get(name, len(variants))
    width = {"cost": 1.7, "crops": 1.44, "slices": 1.65}.get(name, 2.1)
    names = list(names_of(material, variants, width).values())
    assert len(set(names)) == len(names)
    assert set(names[:most]) <= {text.partition("\n(slope")[0] for text, _ in shown}
    if most < len(variants):
        assert f"Not shown: {variants[most]} (no room)" in figure.caption


@pytest.mark.parametrize("name", sorted({*figures} - {"ranks", "cost"}))
def test_one_clip_is_enough(name: str, tmp_path: Path) -> None:
    (figure,) = figures.get(name)(collect([make_run(tmp_path / "run", clips=["a"], names=NAMES, frames=6)]))
    assert len(texts_of(figure)) >= 2


def test_a_saved_figure_is_vector_and_picture_and_data(tmp_path: Path) -> None:
    (figure,) = figures.get("pareto")(collect([make_run(tmp_path / "run", names=NAMES)]))
    saved = save(figure, tmp_path)
    assert saved.pdf.read_bytes().startswith(b"%PDF") and saved.png.read_bytes().startswith(b"\x89PNG")
    head = "variant,seconds_per_frame,lpips,lpips_low,lpips_high,psnr,psnr_low,psnr_high"
    assert (tmp_path / "pareto-1.csv").read_text().startswith(head)
    assert b"/Subtype /Image" not in saved.pdf.read_bytes() and b"/FontFile2" in saved.pdf.read_bytes()
    before = saved.pdf.read_bytes(), saved.png.read_bytes()
    save(figure, tmp_path)
    assert before == (saved.pdf.read_bytes(), saved.png.read_bytes())


def test_figures_that_do_not_apply_say_why(tmp_path: Path) -> None:
    bare = collect([make_run(tmp_path / "run", names=("seam", "psnr"), clips=("a",), value=lambda *_: None)])
    reasons = {}
    for name in figures:
        with pytest.raises(NotHere) as error:
            figures.get(name)(bare)
        reasons[name] = str(error.value)
    assert "no file of counted cost" in reasons["cost"] and "5 frames" in reasons["slices"]
    assert "frames" in reasons["crops"] and "two sources" in reasons["ranks"]


def test_frames_that_are_gone_leave_a_variant_out_and_say_so(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", ["bicubic", "full", "no_pos"], ["a"], NAMES, frames=6)
    sorted((run / "outputs").iterdir())[0].joinpath("00000000.png").unlink()
    for name in ("crops", "slices"):
        (figure,) = figures.get(name)(collect([run]))
        assert texts_of(figure) == ["full", "no_pos"]
        assert "Not shown: bicubic (5 of 6 frames are there)." in figure.caption
        assert "The ground truth is not shown: run.json of" in figure.caption
    (figure,) = figures.get("seams")(collect([run]))
    assert {str(row["variant"]) for row in figure.data} == {"full", "no_pos"}
    assert "Not shown: bicubic (no frames of 1 of 1 clips)." in figure.caption


def test_values_that_are_not_there_are_told(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", ["bicubic", "full", "no_pos"], ["a__1", "b__1"], NAMES, skip=[("full", "b__1")])
    material = collect([run], allowed=["incomplete"])
    (figure,) = figures.get("pareto")(material)
    assert [row["variant"] for row in figure.data] == ["bicubic", "no_pos"]
    assert "Not shown: full (lpips of b__1: not run)." in figure.caption
    with pytest.raises(NotHere):
        figures.get("ranks")(material)


def test_metrics_that_rank_nothing_are_told(tmp_path: Path) -> None:
    names = ("psnr", "lpips", "seam", "of_others")
    run = make_run(tmp_path / "run", names=names, value=lambda v, c, m: -1.0 if m == "seam" else value_of(v, c, m))
    (figure,) = figures.get("ranks")(collect([run]))
    assert list(figure.data[0]) == ["variant", "psnr", "lpips"]
    assert "Not shown: seam (no mean of bicubic and 1 more), of_others (nobody knows which way is" in figure.caption


def test_crops_are_taken_where_variants_differ_most() -> None:
    frames = {name: np.zeros((400, 500, 3), np.uint8) for name in "ab"}
    frames["a"][300:310, 400:410] = 255
    _, top, left = _largest_difference(frames)
    assert top <= 300 and top + 144 >= 310 and left <= 400 and left + 144 >= 410
    small = {name: np.full((SIZE, SIZE, 3), value, np.uint8) for name, value in (("a", 0), ("b", 9))}
    assert _largest_difference(small)[1:] == (0, 0)


def test_a_crop_is_drawn_pixel_by_pixel(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", clips=["a", "b"], names=NAMES, frames=2)
    (figure,) = crops(collect([run]), Place(clip="b", frame=1, left=0, top=0))
    assert "clip b, frame 1" in figure.caption
    canvas, _ = drawn(figure)
    saved = save(figure, tmp_path)
    overview, *parts = [image for axes in canvas.axes for image in axes.findobj(AxesImage)]
    with Image.open(saved.png) as image:
        picture = np.asarray(image.convert("RGB"))
    assert len(parts) == 2
    for part in parts:
        box = part.axes.get_position()
        x, y = round(box.x0 * picture.shape[1]), round((1 - box.y1) * picture.shape[0])
        shown = picture[y : y + 2 * SIZE, x : x + 2 * SIZE]
        assert np.array_equal(shown, np.asarray(part.get_array()).repeat(2, 0).repeat(2, 1))
    with pytest.raises(UserError, match="of frame 2 does not lie inside 'b', which is 2 frames of 64x64"):
        crops(collect([run]), Place(clip="b", frame=2, left=0, top=0))


def test_slices_are_taken_where_most_changes() -> None:
    frames = np.zeros((3, 20, 1000, 3), np.uint8)
    frames[1, 7, 700:900] = 200
    row, start, width = place_of(frames)
    assert row == 7 and width == 512 and start <= 700 and start + width >= 900


def test_the_middle_of_a_profile_is_the_metric_seam(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", ["full"], ["a"], frames=1)
    item = collect([run]).evidence.runs[0].items[0]
    assert item.output is not None
    with Image.open(run / item.output.path / "00000000.png") as image:
        frame = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)[None]
    seam = metrics.get("seam")().score(Sample(frame, None, frame, 1.0, Cuts((SIZE // 2,), (SIZE // 2,)), {}))
    profile = profile_of(item)
    assert profile is not None and profile[REACH] == pytest.approx(seam, rel=1e-6)


def test_ranks_are_shared_where_nothing_can_be_told_apart(tmp_path: Path) -> None:
    levels = {"bicubic": 20.0, "full": 30.0, "no_pos": 30.0, "shifted": 25.0}
    noise = {"a": 0.2, "b": -0.2, "c": 0.2}

    def value(variant: str, clip: str, metric: str) -> float:
        wave = noise[clip] * (-1 if variant == "no_pos" else 1)
        if metric == "seam":  # the mean of bicubic is nearer to 1, and its values are not
            return 1 + wave if variant == "bicubic" else 0.93
        return levels[variant] + wave

    material = collect([make_run(tmp_path / "run", list(levels), value=value, names=("psnr", "seam"))])
    (setting,) = material.evidence.settings
    assert ranks_of(material, setting, "psnr", list(levels)) == {"full": 1, "no_pos": 1, "shifted": 3, "bicubic": 4}
    assert ranks_of(material, setting, "seam", list(levels))["bicubic"] == 4


def test_values_stand_at_their_own_frames() -> None:
    def score(count: int, identity: str = "x | frames all") -> Score:
        return Score(metric="x", identity=identity, unit="", status="ok", value=1.0, per_frame=[1.0] * count)

    assert places_of(score(5), 5) == [0, 1, 2, 3, 4] and places_of(score(4), 5) == [1, 2, 3, 4]
    assert places_of(score(3, "x | frames 0 50 99 | mean"), 100) == [0, 50, 99]
    assert places_of(score(3), 100) is None


def test_the_front_holds_what_nothing_is_better_and_cheaper_than() -> None:
    assert _front([(1, 5, 50), (2, 6, 60), (3, 1, 10), (4, 1, 10)]) == [(1, 50), (3, 10)]


def test_cost_is_of_one_base_with_its_slope(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    small, large = cost(collect([run], costs=[cost_file(tmp_path, ["full"])]))
    assert [row["tflop"] for row in small.data] == [2, 8] and [row["tflop"] for row in large.data] == [200, 800]
    assert small.data[0]["slope"] == pytest.approx(1) and "slope 1.00" in str(texts_of(small))
    for more, why in (
        ("full,nano,64x64,17,dit,1\n", "'dit' of 'full' at 64x64 is twice"),
        ("full,nano,64,17,dit,1\n", "the frame '64'"),
        ("fast,nano,64x64,17,dit,0\n", "'fast' has a frame size that costs nothing"),
    ):
        with pytest.raises(UserError, match=why):
            cost(collect([run], costs=[cost_file(tmp_path, ["full"], more)]))


def test_variants_look_different_even_without_colour_and_alike_in_all_figures(material: Material) -> None:
    found = looks([f"full:steps={step}" for step in range(20)])
    assert len({(str(one["marker"]), str(one["linestyle"]), one["color"]) for one in found.values()}) == 20
    assert looks(["bicubic"])["bicubic"]["color"] == "#000000"
    assert looks_of(material, ["more"]).items() > looks_of(material).items()


def test_long_names_are_broken_and_shortened_only_in_need() -> None:
    broken = in_lines(LONG.format(4), 1.44)
    assert broken.replace("\n", "") == LONG.format(4) and broken.startswith("full:tiling=overlapped,\n")
    assert in_lines("x" * 300, 1.0).count("…") == 1 and in_lines("x" * 300, 1.0).count("\n") == LINES - 1
    assert in_lines("$a$ 漢\n_", 2) == r"\$a\$ (U+6F22) _"
