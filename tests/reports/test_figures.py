"""Figures: drawn for few and many, with no text that is cut or lies on another."""
from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from reports.figures import Figure, figures, save
from reports.figures.cost import slope
from reports.figures.crops import _largest_difference
from reports.figures.pareto import _front
from reports.figures.style import looks, shorten, styled
from reports.material import Material, collect
from reports.tables import NotHere
from tests.reports.runs import SIZE, make_run

LONG = "full:tiling=overlapped,overlap=0.5,steps={}"
NAMES = ("psnr", "lpips", "niqe", "seam", "seam_step", "seconds")


@pytest.fixture(scope="module", params=[2, 20], ids=["two variants", "twenty"])
def material(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Material:
    folder = tmp_path_factory.mktemp("runs")
    variants = ["bicubic", *(LONG.format(step) for step in range(1, request.param))]
    cost = folder / "cost.csv"
    rows = [f"{variant!r},64x64,17,dit,{index + 1}\n{variant!r},128x128,17,dit,{4.5 * (index + 1)}\n"
            for index, variant in enumerate(variants)]  # fmt: skip
    cost.write_text("variant,frame,frames,part,tflop\n" + "".join(rows).replace("'", '"'))
    clips = ["a_clip_with_a_long_name__1"] if request.param == 20 else ["a__1", "b__1", "c__1"]
    return collect([make_run(folder / "run", variants, clips, NAMES, frames=6)], costs=[cost])


def texts_of(figure: Figure) -> list[tuple[str, object]]:
    """Every text that is drawn, with its box in pixels, and the figure's own box."""
    with styled():
        canvas = figure.draw()
        renderer = FigureCanvasAgg(canvas).get_renderer()
        canvas.draw(renderer)
        unseen = {label for axes in canvas.axes for axis in (axes.xaxis, axes.yaxis) for label in outside(axis)}
        found = [(text.get_text(), text.get_window_extent(renderer)) for text in canvas.findobj(Text)
                 if text.get_text().strip() and text.get_visible() and text not in unseen]  # fmt: skip
    return [("", canvas.bbox), *found]


def outside(axis: Axis) -> set[Text]:
    """Labels of ticks beyond the ends of an axis, which exist and are not drawn; of all, where the axis is off."""
    low, high = sorted(axis.get_view_interval())
    ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
    gone = [tick for tick in ticks if not axis.axes.axison or not low <= tick.get_loc() <= high]
    return {label for tick in gone for label in (tick.label1, tick.label2)}


@pytest.mark.parametrize("name", list(figures))
def test_no_text_is_cut_or_lies_on_another(material: Material, name: str, tmp_path: Path) -> None:
    made = figures.get(name)(material)
    assert made
    for figure in made:
        (_, whole), *texts = texts_of(figure)
        shown = [(text, box) for text, box in texts if box.width > 0 and box.height > 0]
        for text, box in shown:
            inside = box.x0 >= -1 and box.y0 >= -1 and box.x1 <= whole.x1 + 1 and box.y1 <= whole.y1 + 1
            assert inside, f"{text!r} of {figure.name} is cut"
        for (first, one), (second, other) in combinations(shown, 2):
            width = min(one.x1, other.x1) - max(one.x0, other.x0)
            height = min(one.y1, other.y1) - max(one.y0, other.y0)
            turned = "rank" in figure.name and one.width > 30 and other.width > 30  # boxes of turned labels overlap
            assert width <= 1 or height <= 1 or turned, f"{first!r} and {second!r} of {figure.name} overlap"


def test_a_saved_figure_is_vector_and_picture_and_data(material: Material, tmp_path: Path) -> None:
    (figure,) = figures.get("pareto")(material)
    saved = save(figure, tmp_path)
    assert saved.pdf.read_bytes().startswith(b"%PDF") and saved.png.read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "pareto-1.csv").read_text().startswith("variant,seconds_per_frame,lpips,low,high")
    assert b"/Subtype /Image" not in saved.pdf.read_bytes()


def test_figures_that_do_not_apply_say_why(tmp_path: Path) -> None:
    bare = collect([make_run(tmp_path / "run", names=("seam",), clips=("a",))])
    reasons = {}
    for name in figures:
        with pytest.raises(NotHere) as error:
            figures.get(name)(bare)
        reasons[name] = str(error.value)
    assert "no file of counted cost" in reasons["cost"] and "5 frames" in reasons["slices"]
    assert "frames" in reasons["crops"]


def test_frames_that_are_gone_leave_a_variant_out(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", ["bicubic", "full", "no_pos"], ["a"], NAMES, frames=6)
    sorted((run / "outputs").iterdir())[0].joinpath("00000000.png").unlink()
    (figure,) = figures.get("crops")(collect([run]))
    shown = [text for text, _ in texts_of(figure)]
    assert "full" in shown and "no_pos" in shown and "bicubic" not in shown
    assert "The ground truth is not shown" in figure.caption


def test_crops_are_taken_where_variants_differ_most() -> None:
    frames = {name: np.zeros((400, 500, 3), np.uint8) for name in "ab"}
    frames["a"][300:310, 400:410] = 255
    _, top, left = _largest_difference(frames)
    assert top <= 300 and top + 144 >= 310 and left <= 400 and left + 144 >= 410
    small = {name: np.full((SIZE, SIZE, 3), value, np.uint8) for name, value in (("a", 0), ("b", 9))}
    assert _largest_difference(small)[1:] == (0, 0)


def test_the_front_holds_what_nothing_is_better_and_cheaper_than() -> None:
    assert _front([(1, 5, 50), (2, 6, 60), (3, 1, 10), (4, 1, 10)]) == [(1, 50), (3, 10)]


def test_a_slope_is_the_exponent() -> None:
    assert slope([1, 2, 4], [3, 12, 48]) == pytest.approx(2)


def test_variants_look_different_even_without_colour() -> None:
    found = looks([f"full:steps={step}" for step in range(20)])
    assert len({(str(one["marker"]), str(one["linestyle"]), one["color"]) for one in found.values()}) == 20
    assert looks(["bicubic"])["bicubic"]["color"] == "#000000"
    assert shorten("x" * 60).count("…") == 1 and len(shorten("x" * 60)) <= 34 and shorten("$a$") == r"\$a\$"
